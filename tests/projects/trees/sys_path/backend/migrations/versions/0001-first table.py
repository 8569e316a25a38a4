"""first table"""
import sqlalchemy as sa
from alembic import op
from migrations.common import stamp_columns

revision = "1"
down_revision = None


def upgrade():
    op.create_table("things", sa.Column("id", sa.Integer, primary_key=True), *stamp_columns())


def downgrade():
    op.drop_table("things")
