"""a Session over the migration's connection, with a model of its own"""
import sqlalchemy as sa
from alembic import op
from sqlalchemy import orm

revision = "op02"
down_revision = "op01"

Base = orm.declarative_base()


class Book(Base):
    __tablename__ = "books"
    id = sa.Column(sa.Integer, sa.Identity(), primary_key=True)
    title = sa.Column(sa.Text)
    price = sa.Column(sa.Numeric(8, 2))


def upgrade():
    session = orm.Session(bind=op.get_bind())
    session.add_all([Book(title=f"Volume {n}", price=n) for n in range(5)])
    session.commit()
    with orm.Session(bind=op.get_bind()) as second:
        for book in second.query(Book).filter(Book.price > 2):
            book.title += " (dear)"
        second.flush()
        with second.begin_nested():
            second.execute(sa.text("DELETE FROM books WHERE price = 0"))
        second.commit()


def downgrade():
    op.execute("DELETE FROM books")
