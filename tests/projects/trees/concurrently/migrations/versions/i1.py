"""an index on a second connection"""
import sqlalchemy as sa
from alembic import op

revision = "ca01"
down_revision = "9d2f7c3e8b34"


def _run(sql):
    engine = op.get_bind().engine
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(sql))


def upgrade():
    _run("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_orders_total ON orders (total)")


def downgrade():
    _run("DROP INDEX CONCURRENTLY IF EXISTS ix_orders_total")
