"""table 2 of each tenant"""
import sqlalchemy as sa
from alembic import op

revision = "tenant_2"
down_revision = "tenant_1"


def upgrade(tenant):
    op.create_table("table_2", sa.Column("id", sa.Integer, primary_key=True))
    op.execute(f"INSERT INTO {tenant}.table_2 VALUES ({len(tenant)})")


def downgrade(tenant):
    op.drop_table("table_2")
