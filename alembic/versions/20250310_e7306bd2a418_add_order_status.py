"""Add a status to orders.

A constant default fills the existing rows without rewriting the table.

Revision ID: e7306bd2a418
Revises: 5c9a13e8f640
Create Date: 2025-03-10 16:41:18.055312

"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "e7306bd2a418"
down_revision: str | Sequence[str] | None = "5c9a13e8f640"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The type is made and dropped by hand: dropping the column would leave it behind.
STATUS = postgresql.ENUM("pending", "paid", "shipped", "cancelled", name="order_status", create_type=False)


def upgrade() -> None:
    op.execute("CREATE TYPE order_status AS ENUM ('pending', 'paid', 'shipped', 'cancelled')")
    op.add_column("orders", sa.Column("status", STATUS, server_default="pending", nullable=False))


def downgrade() -> None:
    op.drop_column("orders", "status")
    op.execute("DROP TYPE order_status")
