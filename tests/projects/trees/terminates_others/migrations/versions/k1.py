"""alone in the database"""
from alembic import op

revision = "k1"
down_revision = None


def upgrade():
    op.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    op.execute("CREATE TABLE alone (id int PRIMARY KEY)")


def downgrade():
    op.execute("DROP TABLE alone")
