"""create right_side

Revision ID: 0002_right

"""
import sqlalchemy as sa
from alembic import op

revision = "0002_right"
down_revision = "0001_base"
branch_labels = ("right",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "right_side",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("right_side")
