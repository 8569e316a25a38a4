"""connects at import"""
import os

import sqlalchemy as sa
from alembic import op

revision = "l2"
down_revision = "l1"

with sa.create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    MAJOR = connection.dialect.server_version_info[0]


def upgrade():
    op.execute(f"COMMENT ON SCHEMA store IS 'made on {MAJOR}'")


def downgrade():
    op.execute("COMMENT ON SCHEMA store IS NULL")
