"""Index orders by user and time.

Built CONCURRENTLY: the application reads and writes meanwhile.

Revision ID: 60d7b8f2e4a9
Revises: a92c6e3b05f1
Create Date: 2025-04-07 13:02:09.618745

"""

from collections.abc import Sequence

from alembic import op

revision: str = "60d7b8f2e4a9"
down_revision: str | Sequence[str] | None = "a92c6e3b05f1"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEX = "ix_orders_user_id_created_at"


def upgrade() -> None:
    # CONCURRENTLY cannot run in a transaction. if_not_exists is for a run that ended before the version table knew of the
    # finished index; it would pass an unfinished (INVALID) one too, so look for those afterwards: alembic-job does.
    with op.get_context().autocommit_block():
        op.create_index(
            op.f(INDEX), "orders", ["user_id", "created_at"], postgresql_concurrently=True, if_not_exists=True
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(op.f(INDEX), table_name="orders", postgresql_concurrently=True, if_exists=True)
