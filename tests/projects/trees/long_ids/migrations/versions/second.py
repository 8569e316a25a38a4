"""another, not quite ASCII"""
from alembic import op

revision = "2024_03_02_größe_und_länge_der_dinge sowie farbe"
down_revision = "2024_03_01_create_the_table_of_all_the_things_that_we_sell_or_sold"


def upgrade():
    op.execute("ALTER TABLE things ADD COLUMN size int")


def downgrade():
    op.execute("ALTER TABLE things DROP COLUMN size")
