"""makes noise"""
import sys

import sqlalchemy as sa
from alembic import op

revision = "n1"
down_revision = None
print("marker-import")


def upgrade():
    sys.stdout.write("marker-before-table ")
    op.create_table("noise", sa.Column("id", sa.Integer, primary_key=True))
    for percent in range(0, 101, 10):
        sys.stderr.write(f"\rcopying {percent}%")
    sys.stderr.write(" marker-copied")
    op.get_bind().exec_driver_sql("DO $$ BEGIN RAISE NOTICE 'marker-notice'; END $$")


def downgrade():
    print("marker-downgrade")
    op.drop_table("noise")
