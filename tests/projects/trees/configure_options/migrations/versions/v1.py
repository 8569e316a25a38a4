"""names come from the convention"""
import sqlalchemy as sa
from alembic import context, op

revision = "v1"
down_revision = None


def upgrade(by):
    assert context.get_context().opts["shop_option"] == "seen"
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("age", sa.Integer),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
        sa.CheckConstraint("age > 0", name="age_positive"),
    )
    with op.batch_alter_table("accounts") as batch_op:
        batch_op.add_column(sa.Column("parent_id", sa.Integer))
        batch_op.create_foreign_key(None, "accounts", ["parent_id"], ["id"])
        batch_op.create_index(batch_op.f("ix_accounts_age"), ["age"])


def downgrade(by):
    op.drop_table("accounts")
