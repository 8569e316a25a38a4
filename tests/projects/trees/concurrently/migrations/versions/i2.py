"""an index in an autocommit block, work around it"""
import sqlalchemy as sa
from alembic import op

revision = "ca02"
down_revision = "ca01"


def upgrade():
    op.add_column("orders", sa.Column("note", sa.Text))
    with op.get_context().autocommit_block():
        op.create_index("ix_orders_note", "orders", ["note"], postgresql_concurrently=True, if_not_exists=True)
    op.execute("COMMENT ON COLUMN orders.note IS 'by the customer'")


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("ix_orders_note", table_name="orders", postgresql_concurrently=True)
    op.drop_column("orders", "note")
