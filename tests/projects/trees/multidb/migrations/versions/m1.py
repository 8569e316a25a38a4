"""both databases, 1"""
import sqlalchemy as sa
from alembic import op

revision = "m1"
down_revision = None


def upgrade(engine_name: str) -> None:
    globals()[f"upgrade_{engine_name}"]()


def downgrade(engine_name: str) -> None:
    globals()[f"downgrade_{engine_name}"]()


def upgrade_engine1() -> None:
    op.create_table("front_1", sa.Column("id", sa.Integer, primary_key=True))


def downgrade_engine1() -> None:
    op.drop_table("front_1")


def upgrade_engine2() -> None:
    op.create_table("warehouse_1", sa.Column("id", sa.Integer, primary_key=True))


def downgrade_engine2() -> None:
    op.drop_table("warehouse_1")
