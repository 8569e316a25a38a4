"""drops what the convention named"""
from alembic import op

revision = "v2"
down_revision = "v1"


def upgrade(by):
    op.drop_constraint("uq_accounts_email", "accounts", type_="unique")
    op.create_unique_constraint(None, "accounts", ["email", "age"])


def downgrade(by):
    op.drop_constraint("uq_accounts_email", "accounts", type_="unique")
    op.create_unique_constraint(None, "accounts", ["email"])
