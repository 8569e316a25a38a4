"""things"""
import sqlalchemy as sa
from alembic import op
from shop.migrations import PREFIX

revision = "k1"
down_revision = None


def upgrade():
    op.create_table(PREFIX + "things", sa.Column("id", sa.Integer, primary_key=True))


def downgrade():
    op.drop_table(PREFIX + "things")
