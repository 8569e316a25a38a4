"""asks the context and the operations at import"""
import sqlalchemy as sa
from alembic import context, op

revision = "l1"
down_revision = None

config = context.config
SCHEMA = config.get_main_option("shop_schema")
PREFIX = config.attributes["prefix"]
COLOUR = context.get_x_argument(as_dictionary=True).get("colour", "red")
dialect = op.get_context().dialect.name
BIGINT = sa.BigInteger() if dialect == "postgresql" else sa.Integer()


def upgrade():
    op.create_table(PREFIX + "things", sa.Column(COLOUR, BIGINT), schema=SCHEMA)


def downgrade():
    op.drop_table(PREFIX + "things", schema=SCHEMA)
