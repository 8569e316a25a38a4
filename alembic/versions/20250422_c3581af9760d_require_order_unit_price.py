"""Require the unit price of new orders.

NOT VALID: checked for every row written from now on, without a look at those there are.

Revision ID: c3581af9760d
Revises: 60d7b8f2e4a9
Create Date: 2025-04-22 09:47:26.384570

"""

from collections.abc import Sequence

from alembic import op

revision: str = "c3581af9760d"
down_revision: str | Sequence[str] | None = "60d7b8f2e4a9"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONSTRAINT = "ck_orders_unit_price_present"


def upgrade() -> None:
    op.create_check_constraint(op.f(CONSTRAINT), "orders", "unit_price IS NOT NULL", postgresql_not_valid=True)


def downgrade() -> None:
    op.drop_constraint(op.f(CONSTRAINT), "orders", type_="check")
