"""create shop_items

Revision ID: a100000000s1

"""
import sqlalchemy as sa
from alembic import op

revision = "a100000000s1"
down_revision = None
branch_labels = ("shop",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shop_items",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("shop_items")
