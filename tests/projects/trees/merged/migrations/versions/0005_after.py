"""create after_merge

Revision ID: 0005_after

"""
import sqlalchemy as sa
from alembic import op

revision = "0005_after"
down_revision = "0004_merge"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "after_merge",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("after_merge")
