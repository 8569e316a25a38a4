"""both databases, 2"""
import sqlalchemy as sa
from alembic import op

revision = "m2"
down_revision = "m1"


def upgrade(engine_name: str) -> None:
    globals()[f"upgrade_{engine_name}"]()


def downgrade(engine_name: str) -> None:
    globals()[f"downgrade_{engine_name}"]()


def upgrade_engine1() -> None:
    op.create_table("front_2", sa.Column("id", sa.Integer, primary_key=True))


def downgrade_engine1() -> None:
    op.drop_table("front_2")


def upgrade_engine2() -> None:
    op.create_table("warehouse_2", sa.Column("id", sa.Integer, primary_key=True))


def downgrade_engine2() -> None:
    op.drop_table("warehouse_2")
