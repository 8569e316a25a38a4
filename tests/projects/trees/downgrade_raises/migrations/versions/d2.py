"""no downgrade at all"""
import sqlalchemy as sa
from alembic import op

revision = "d2"
down_revision = "d1"


def upgrade():
    op.add_column("things", sa.Column("name", sa.Text))
