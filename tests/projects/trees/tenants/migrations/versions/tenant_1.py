"""table 1 of each tenant"""
import sqlalchemy as sa
from alembic import op

revision = "tenant_1"
down_revision = None


def upgrade(tenant):
    op.create_table("table_1", sa.Column("id", sa.Integer, primary_key=True))
    op.execute(f"INSERT INTO table_1 VALUES ({len(tenant)})")


def downgrade(tenant):
    op.drop_table("table_1")
