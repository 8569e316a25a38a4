"""triggers, partitions, sequences, domains, temporary tables, COPY"""
import io

import sqlalchemy as sa
from alembic import op

revision = "op05"
down_revision = "op04"


def upgrade():
    op.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    op.execute("CREATE SEQUENCE invoice_number START 1000")
    op.execute("CREATE TABLE events (id bigint, at date NOT NULL, n positive) PARTITION BY RANGE (at)")
    op.execute("CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
    op.execute("CREATE TABLE events_rest (LIKE events INCLUDING ALL)")
    op.execute("ALTER TABLE events ATTACH PARTITION events_rest DEFAULT")
    op.execute(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := trim(NEW.title); RETURN NEW; END $$"
    )
    op.execute("CREATE TRIGGER touch BEFORE INSERT ON books FOR EACH ROW EXECUTE FUNCTION touch()")
    op.execute("CREATE TEMPORARY TABLE copied (id bigint, at date, n int) ON COMMIT DROP")
    raw = op.get_bind().connection.dbapi_connection
    cursor = raw.cursor()
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert("COPY copied FROM STDIN", io.StringIO("1\t2024-05-01\t5\n2\t2026-05-01\t6\n"))
    else:
        with cursor.copy("COPY copied FROM STDIN") as copy:
            copy.write("1\t2024-05-01\t5\n2\t2026-05-01\t6\n")
    op.execute("INSERT INTO events SELECT * FROM copied")
    op.create_index("ix_events_at", "events", [sa.text("at DESC")], postgresql_where=sa.text("n > 1"))
    op.execute("ALTER TABLE books ADD CONSTRAINT price_sane CHECK (price < 1000) NOT VALID")
    op.execute("ALTER TABLE books VALIDATE CONSTRAINT price_sane")
    with op.get_bind().begin_nested() as savepoint:
        op.execute("CREATE TABLE never (id int)")
        savepoint.rollback()


def downgrade():
    op.drop_constraint("price_sane", "books")
    op.drop_table("events")
    op.execute("DROP TRIGGER touch ON books")
    op.execute("DROP FUNCTION touch()")
    op.execute("DROP SEQUENCE invoice_number")
    op.execute("DROP DOMAIN positive")
