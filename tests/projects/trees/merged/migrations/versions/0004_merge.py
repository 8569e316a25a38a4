"""merge left and right

Revision ID: 0004_merge
Revises: 0002_left, 0003_right

"""

revision = "0004_merge"
down_revision = ("0002_left", "0003_right")
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
