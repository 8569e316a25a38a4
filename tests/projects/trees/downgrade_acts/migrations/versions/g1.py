"""things"""
import os

import psycopg2
import sqlalchemy as sa
from alembic import op

revision = "g1"
down_revision = None


def upgrade():
    op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))


def downgrade():
    op.get_bind()
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    connection.autocommit = True
    connection.cursor().execute("SET lock_timeout = '2s'; DROP TABLE IF EXISTS precious")
    op.drop_table("things")
