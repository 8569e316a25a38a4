"""an enum, and its table"""
import sqlalchemy as sa
from alembic import op

revision = "t1"
down_revision = None


def upgrade():
    op.create_table("jobs", sa.Column("state", sa.Enum("new", "done", name="job_state"), nullable=False))


def downgrade():
    op.drop_table("jobs")
    op.execute("DROP TYPE job_state")
