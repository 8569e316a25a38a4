"""create core_more

Revision ID: core_2

"""
import sqlalchemy as sa
from alembic import op

revision = "core_2"
down_revision = "core_1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "core_more",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("core_more")
