"""users: full name

Revision ID: 9d2f7c3e8b34
Revises: 5b8e4d6a1c22
Create Date: 2024-03-21 16:30:00.000000

"""
import sqlalchemy as sa
from alembic import op

revision = "9d2f7c3e8b34"
down_revision = "5b8e4d6a1c22"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("full_name", sa.Text(), nullable=True))
    op.execute("UPDATE users SET full_name = split_part(email, '@', 1)")
    op.alter_column("users", "full_name", nullable=False)


def downgrade() -> None:
    op.drop_column("users", "full_name")
