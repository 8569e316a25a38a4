"""Validate that every order has a unit price.

Its own revision, so that the scan runs under a lock that neither readers nor writers notice.

Revision ID: 94eb20c7d1a6
Revises: c3581af9760d
Create Date: 2025-04-23 09:15:03.507226

"""

from collections.abc import Sequence

from alembic import op

revision: str = "94eb20c7d1a6"
down_revision: str | Sequence[str] | None = "c3581af9760d"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CONSTRAINT = "ck_orders_unit_price_present"


def upgrade() -> None:
    op.execute(f"ALTER TABLE orders VALIDATE CONSTRAINT {CONSTRAINT}")


def downgrade() -> None:
    """Back to NOT VALID, for which PostgreSQL has no command: dropped and added again."""
    op.drop_constraint(op.f(CONSTRAINT), "orders", type_="check")
    op.create_check_constraint(op.f(CONSTRAINT), "orders", "unit_price IS NOT NULL", postgresql_not_valid=True)
