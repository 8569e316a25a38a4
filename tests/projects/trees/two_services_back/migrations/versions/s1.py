"""the first of back; the other tree has the same revision id"""
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table("back_things", sa.Column("id", sa.Integer, primary_key=True))


def downgrade():
    op.drop_table("back_things")
