"""Set the unit price of orders NOT NULL.

The validated constraint proves it, so PostgreSQL does not scan the table; after that it is no longer needed.

Revision ID: 27af6d84be13
Revises: 94eb20c7d1a6
Create Date: 2025-04-24 10:33:50.829164

"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "27af6d84be13"
down_revision: str | Sequence[str] | None = "94eb20c7d1a6"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONSTRAINT = "ck_orders_unit_price_present"


def upgrade() -> None:
    op.alter_column("orders", "unit_price", existing_type=sa.Numeric(10, 2), nullable=False)
    op.drop_constraint(op.f(CONSTRAINT), "orders", type_="check")


def downgrade() -> None:
    op.create_check_constraint(op.f(CONSTRAINT), "orders", "unit_price IS NOT NULL")
    op.alter_column("orders", "unit_price", existing_type=sa.Numeric(10, 2), nullable=True)
