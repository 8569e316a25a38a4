"""create shop_lines

Revision ID: shop_2

"""
import sqlalchemy as sa
from alembic import op

revision = "shop_2"
down_revision = "shop_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shop_lines",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("shop_lines")
