"""inspects on the way down, and leaves a file"""
import pathlib

import sqlalchemy as sa
from alembic import op

revision = "g3"
down_revision = "g2"


def upgrade():
    op.add_column("things", sa.Column("name", sa.Text))


def downgrade():
    if "name" in [column["name"] for column in sa.inspect(op.get_bind()).get_columns("things")]:
        op.drop_column("things", "name")
