"""more"""
import sqlalchemy as sa
from alembic import op
from shop.migrations.versions.k1_things import PREFIX

revision = "k2"
down_revision = "k1"


def upgrade():
    op.add_column(PREFIX + "things", sa.Column("name", sa.Text))


def downgrade():
    op.drop_column(PREFIX + "things", "name")
