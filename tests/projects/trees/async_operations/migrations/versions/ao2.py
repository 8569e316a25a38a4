"""CONCURRENTLY over asyncpg"""
from alembic import op

revision = "ao2"
down_revision = "ao1"


def upgrade():
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY ix_words ON words (lower(word))")


def downgrade():
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY ix_words")
