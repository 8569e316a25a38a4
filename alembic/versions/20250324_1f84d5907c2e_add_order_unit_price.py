"""Add the unit price to orders.

Prices of products change; what was paid does not. First of five steps to a required column: this one lets new code
write it, the next fills the old rows, the last three make it required without a scan under a strong lock.

Revision ID: 1f84d5907c2e
Revises: e7306bd2a418
Create Date: 2025-03-24 11:20:47.930861

"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "1f84d5907c2e"
down_revision: str | Sequence[str] | None = "e7306bd2a418"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("unit_price", sa.Numeric(10, 2), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "unit_price")
