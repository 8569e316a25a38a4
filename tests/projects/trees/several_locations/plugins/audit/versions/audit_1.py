"""create audit_log

Revision ID: audit_1

"""
import sqlalchemy as sa
from alembic import op

revision = "audit_1"
down_revision = None
branch_labels = ("audit",)
depends_on = "core_1"


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("audit_log")
