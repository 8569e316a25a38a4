"""create shop_carts

Revision ID: a100000000s2

"""
import sqlalchemy as sa
from alembic import op

revision = "a100000000s2"
down_revision = "a100000000s1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shop_carts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("shop_carts")
