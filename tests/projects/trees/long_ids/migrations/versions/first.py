"""an id longer than 32 characters"""
from alembic import op

revision = "2024_03_01_create_the_table_of_all_the_things_that_we_sell_or_sold"
down_revision = None


def upgrade():
    op.execute("CREATE TABLE things (id int PRIMARY KEY)")


def downgrade():
    op.execute("DROP TABLE things")
