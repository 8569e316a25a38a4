"""takes any keyword"""
from alembic import op

revision = "w1"
down_revision = None


def upgrade(**kw):
    op.execute(f"CREATE TABLE {kw['tenant']}_items (id int PRIMARY KEY)")


def downgrade(**kw):
    op.execute(f"DROP TABLE {kw['tenant']}_items")
