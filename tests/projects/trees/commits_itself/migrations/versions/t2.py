"""a value for the enum, outside the transaction as one had to before PostgreSQL 12"""
from alembic import op

revision = "t2"
down_revision = "t1"


def upgrade():
    op.execute("COMMIT")
    op.execute("ALTER TYPE job_state ADD VALUE IF NOT EXISTS 'failed'")


def downgrade():
    op.execute("COMMENT ON TYPE job_state IS 'a value cannot be taken away'")
