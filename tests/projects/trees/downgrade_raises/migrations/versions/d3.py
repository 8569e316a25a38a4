"""a downgrade which leaves Python"""
import sys

import sqlalchemy as sa
from alembic import op

revision = "d3"
down_revision = "d2"


def upgrade():
    op.add_column("things", sa.Column("size", sa.Integer))


def downgrade():
    sys.exit("we never go back")
