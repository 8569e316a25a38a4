"""an operation of the project's own, and a coroutine"""
import sqlalchemy as sa
from alembic import op

revision = "ao1"
down_revision = None


async def fill(connection, name):
    await connection.execute(sa.text("INSERT INTO words VALUES (:word)"), [{"word": name}, {"word": "other"}])
    raw = await connection.get_raw_connection()
    await raw.driver_connection.execute("INSERT INTO words VALUES ('driver')")


def upgrade():
    op.create_sequence("numbers")
    op.create_table("words", sa.Column("word", sa.Text, primary_key=True))
    op.run_async(fill, "first")


def downgrade():
    op.execute("DROP SEQUENCE numbers")
    op.drop_table("words")
