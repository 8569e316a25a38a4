"""create right_more

Revision ID: 0003_right

"""
import sqlalchemy as sa
from alembic import op

revision = "0003_right"
down_revision = "0002_right"
branch_labels = None
depends_on = "0002_left"


def upgrade() -> None:
    op.create_table(
        "right_more",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("right_more")
