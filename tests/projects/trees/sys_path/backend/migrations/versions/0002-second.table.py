"""second table"""
import sqlalchemy as sa
from alembic import op
from backend.migrations.common import stamp_columns

revision = "2"
down_revision = "1"


def upgrade():
    op.create_table("more_things", sa.Column("id", sa.Integer, primary_key=True), *stamp_columns())


def downgrade():
    op.drop_table("more_things")
