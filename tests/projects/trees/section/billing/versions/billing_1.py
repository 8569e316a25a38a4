"""create billing_accounts

Revision ID: billing_1

"""
import sqlalchemy as sa
from alembic import op

revision = "billing_1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "billing_accounts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("billing_accounts")
