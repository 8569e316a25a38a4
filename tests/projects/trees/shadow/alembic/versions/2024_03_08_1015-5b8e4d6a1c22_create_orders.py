"""create orders

Revision ID: 5b8e4d6a1c22
Revises: 3f1c9a2b7d10
Create Date: 2024-03-08 10:15:00.000000

"""
import sqlalchemy as sa
from alembic import op

revision = "5b8e4d6a1c22"
down_revision = "3f1c9a2b7d10"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.Enum("open", "paid", "shipped", name="order_status"), nullable=False),
        sa.Column("total", sa.Numeric(precision=12, scale=2), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("total >= 0", name="ck_orders_total"),
    )
    op.create_index("ix_orders_user_id_status", "orders", ["user_id", "status"])
    op.execute("INSERT INTO users (id, email, created_at) VALUES (1, 'ada@example.com', '2024-03-08 10:15:00+00')")


def downgrade() -> None:
    op.execute("DELETE FROM users WHERE id = 1")
    op.drop_table("orders")
    op.execute("DROP TYPE order_status")
