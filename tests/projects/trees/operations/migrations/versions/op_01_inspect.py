"""get_bind, inspect, reflection"""
import sqlalchemy as sa
from alembic import op

revision = "op01"
down_revision = None


def upgrade():
    bind = op.get_bind()
    assert bind.dialect.name == "postgresql"
    if not sa.inspect(bind).has_table("books"):
        op.create_table(
            "books",
            sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
            sa.Column("title", sa.Text, nullable=False),
            sa.Column("price", sa.Numeric(8, 2), server_default=sa.text("0")),
            sa.Column("data", sa.dialects.postgresql.JSONB, server_default="{}"),
            comment="what we sell",
        )
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("books")}
    if "isbn" not in columns:
        op.add_column("books", sa.Column("isbn", sa.String(13), unique=True))
    reflected = sa.Table("books", sa.MetaData(), autoload_with=bind)
    assert "isbn" in reflected.c


def downgrade():
    if sa.inspect(op.get_bind()).has_table("books"):
        op.drop_table("books")
