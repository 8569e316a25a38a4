"""precious"""
import os

import sqlalchemy as sa
from alembic import op

revision = "g2"
down_revision = "g1"


def upgrade():
    op.create_table("precious", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("INSERT INTO precious VALUES (1)")


def downgrade():
    with sa.create_engine(os.environ["DATABASE_URL"]).begin() as connection:
        connection.execute(sa.text("SET lock_timeout = '2s'"))
        connection.execute(sa.text("DELETE FROM precious"))
    op.drop_table("precious")
