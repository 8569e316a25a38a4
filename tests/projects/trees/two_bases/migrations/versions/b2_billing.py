"""create billing_invoices

Revision ID: b100000000b2

"""
import sqlalchemy as sa
from alembic import op

revision = "b100000000b2"
down_revision = "b100000000b1"
branch_labels = None
depends_on = "a100000000s2"


def upgrade() -> None:
    op.create_table(
        "billing_invoices",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("billing_invoices")
