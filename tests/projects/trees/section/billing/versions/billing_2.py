"""create billing_lines

Revision ID: billing_2

"""
import sqlalchemy as sa
from alembic import op

revision = "billing_2"
down_revision = "billing_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "billing_lines",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("billing_lines")
