"""Fill the unit price of earlier orders.

Data only, apart from the change of the schema: it locks rows, not the table, and can be run again.

Revision ID: a92c6e3b05f1
Revises: 1f84d5907c2e
Create Date: 2025-03-25 08:58:31.246093

"""

from collections.abc import Sequence

from alembic import op

revision: str = "a92c6e3b05f1"
down_revision: str | Sequence[str] | None = "1f84d5907c2e"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("""
        UPDATE orders SET unit_price = products.price
        FROM products
        WHERE products.id = orders.product_id AND orders.unit_price IS NULL
    """)


def downgrade() -> None:
    """Nothing to do: filled prices are as good as those the application wrote, and cannot be told from them."""
