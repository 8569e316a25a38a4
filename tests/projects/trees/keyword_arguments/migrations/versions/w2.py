"""takes some by name, dispatches on one"""
from alembic import op

revision = "w2"
down_revision = "w1"


def upgrade(engine_name, tenant, dry=True):
    assert not dry
    globals()[f"upgrade_{engine_name}"](tenant)


def downgrade(engine_name, tenant, **_):
    globals()[f"downgrade_{engine_name}"](tenant)


def upgrade_shop(tenant):
    op.execute(f"ALTER TABLE {tenant}_items ADD COLUMN price numeric")


def downgrade_shop(tenant):
    op.execute(f"ALTER TABLE {tenant}_items DROP COLUMN price")
