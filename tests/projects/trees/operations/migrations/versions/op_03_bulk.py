"""bulk_insert, SQL with %, :, quotes and dollars"""
import sqlalchemy as sa
from alembic import op

revision = "op03"
down_revision = "op02"


def upgrade():
    books = sa.table("books", sa.column("id"), sa.column("title"), sa.column("price"), sa.column("data"))
    op.bulk_insert(books, [{"title": "100 % of it's \"all\"", "price": 1}, {"title": ":not_bound", "price": 2}])
    op.bulk_insert(books, [{"title": "alone", "price": 3}], multiinsert=False)
    op.execute("UPDATE books SET title = title || ' 50%' WHERE title LIKE '%all%' AND price % 2 = 1")
    op.execute(r'''UPDATE books SET data = '{"a"\: 1}' WHERE title LIKE '%all%' ''')
    op.execute("UPDATE books SET data = '{\"k\": \"v\"}'::jsonb WHERE title = 'alone'")
    op.execute(sa.text("UPDATE books SET title = :t WHERE title = :old").bindparams(t="it's %s :x", old="alone"))
    op.execute(books.update().where(books.c.title == ":not_bound").values(price=books.c.price * 2))
    op.get_bind().exec_driver_sql("UPDATE books SET title = replace(title, 'Volume', 'Vol.') WHERE title LIKE '%%dear%%'")
    op.execute(
        """
        CREATE FUNCTION shout(word text) RETURNS text LANGUAGE plpgsql AS $fn$
        BEGIN
            -- a ; in a comment, a 'quote' and a $$
            RETURN upper(word) || format('%s; %I', 'x', word);
        END;
        $fn$
        """
    )
    op.get_bind().exec_driver_sql("CREATE TABLE multi (a int); INSERT INTO multi VALUES (1); ALTER TABLE multi ADD b int")
    op.execute("CREATE VIEW dear_books AS SELECT * FROM books WHERE price > 2")
    op.execute("CREATE MATERIALIZED VIEW book_prices AS SELECT price, count(*) FROM books GROUP BY price")


def downgrade():
    op.execute("DROP MATERIALIZED VIEW book_prices")
    op.execute("DROP VIEW dear_books")
    op.drop_table("multi")
    op.execute("DROP FUNCTION shout(text)")
    op.execute("DELETE FROM books WHERE price < 4 AND title NOT LIKE 'Vol%'")
