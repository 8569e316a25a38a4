"""create mail_outbox

Revision ID: mail_1

"""
import sqlalchemy as sa
from alembic import op

revision = "mail_1"
down_revision = "core_1"
branch_labels = ("mail",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mail_outbox",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("mail_outbox")
