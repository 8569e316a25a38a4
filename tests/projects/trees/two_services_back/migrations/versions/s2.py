"""only back has it"""
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.add_column("back_things", sa.Column("name", sa.Text))


def downgrade():
    op.drop_column("back_things", "name")
