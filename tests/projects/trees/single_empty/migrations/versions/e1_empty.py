"""Initial

Revision ID: 0e0e0e0e0e0e
Revises:

"""

revision = "0e0e0e0e0e0e"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
