"""Planted defects that `alembic-job test` is there to find; what of them lint sees too has its rule."""

from __future__ import annotations

from typing import NamedTuple

from tests.lint.defects import Defect

INVERSE = "downgrade-not-inverse"


def forgets(up: str, words: str, down: str = 'op.execute("SELECT 1")', rule: str = "") -> Defect:
    """A downgrade that leaves something, of which the difference tells in these words."""
    return Defect(rule, up, down, tested="downgrade_differs", words=words)


def colour(number: int) -> tuple[str, str]:
    """Something that comes and goes as it should."""
    column = f'"products", sa.Column("colour{number}", sa.Text())'
    return f"op.add_column({column})", f'op.drop_column("products", "colour{number}")'


UP, DOWN = colour(1)
PAYMENTS = """
op.create_table("payments", sa.Column("id", sa.BigInteger(), primary_key=True))
op.create_table("refunds", sa.Column("payment_id", sa.BigInteger(), sa.ForeignKey("payments.id")))
"""
STOCK = """
count = op.get_bind().execute(sa.text("SELECT count(*) FROM products WHERE sku = 'stock'")).scalar()
if not count:
    op.create_table("stock", sa.Column("id", sa.BigInteger(), primary_key=True))
    op.execute("INSERT INTO products (sku, name, price) VALUES ('stock', 'stock', 1)")
"""
TRIGGER = """
op.execute("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
op.execute("CREATE TRIGGER touched BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()")
"""
FOREIGN_KEY = 'op.drop_constraint("fk_orders_user_id_users", "orders")'
BACK = 'op.create_foreign_key("fk_orders_user_id_users", "orders", "users", ["user_id"], ["id"])'

# Their first upgrade succeeds, so that they can follow each other.
TRIED = (
    forgets(
        f'{UP}\nop.create_index("ix_products_name", "products", ["name"])  # !',
        "+CREATE INDEX ix_products_name ON public.products",
        DOWN,
        INVERSE,
    ),
    forgets(
        'op.create_table("tempers", sa.Column("temper", sa.Enum("good", "bad", name="temper")))  # !',
        "+CREATE TYPE public.temper AS ENUM (",
        'op.drop_table("tempers")',
        INVERSE,
    ),
    forgets(f"{colour(2)[0]}\n{colour(3)[0]}", "+    colour3 text", colour(2)[1], INVERSE),
    forgets(
        'op.create_check_constraint("ck_users_name_given", "users", "name <> \'\'")',
        "CONSTRAINT ck_users_ck_users_name_given CHECK",
    ),
    forgets('op.alter_column("products", "name", server_default="?")', "DEFAULT '?'::text NOT NULL"),
    forgets('op.create_table_comment("orders", "of the shop")', "+COMMENT ON TABLE public.orders IS 'of the shop'"),
    forgets('op.execute("CREATE SEQUENCE invoice_numbers")', "+CREATE SEQUENCE public.invoice_numbers"),
    forgets(TRIGGER, "+CREATE FUNCTION public.touch()", 'op.execute("DROP TRIGGER touched ON orders")'),
    forgets('op.execute("GRANT SELECT ON orders TO PUBLIC")', "+GRANT SELECT ON TABLE public.orders TO PUBLIC"),
    forgets(
        'op.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY")', "+ALTER TABLE public.users ENABLE ROW LEVEL SECUR"
    ),
    forgets("op.execute(\"ALTER TYPE order_status ADD VALUE 'mislaid'\")", "+    'mislaid'"),
    forgets(
        'op.drop_constraint("uq_products_sku", "products")',
        "+    ADD CONSTRAINT unique_sku UNIQUE (sku)",
        'op.create_unique_constraint("unique_sku", "products", ["sku"])',
    ),
    forgets(FOREIGN_KEY, "REFERENCES public.users(id) ON DELETE CASCADE", BACK),
    forgets(
        'op.drop_column("users", "name")',
        "+    name text",
        'op.add_column("users", sa.Column("name", sa.Text()))',
    ),
    forgets(
        'op.alter_column("products", "price", type_=sa.Numeric(12, 2))',
        "+    price numeric(14,2)",
        'op.alter_column("products", "price", type_=sa.Numeric(14, 2))',
    ),
    Defect("", UP.replace("1", "4"), 'op.drop_column("products", "color4")', tested="downgrade_failed", words="color4"),
    Defect("", PAYMENTS, 'op.drop_table("payments")', tested="downgrade_failed", words="because other objects depend"),
    Defect(
        "",
        "op.execute(\"INSERT INTO products (id, sku, name, price) VALUES (0, 'gift', 'Gift', 1)\")",
        'op.execute("SELECT 1")',
        tested="upgrade_again_failed",
        words="duplicate key value",
    ),
    Defect(
        "",
        STOCK,
        'op.execute("DROP TABLE IF EXISTS stock")',
        tested="upgrade_again_differs",
        words="-CREATE TABLE public.stock",
    ),
)
# Nothing can follow these.
STUCK = (
    Defect(
        "", 'op.execute("ALTER TABLE user ADD b int")', tested="upgrade_failed", words='syntax error at or near "user"'
    ),
    Defect("", 'op.drop_index("ix_users_nobody")', tested="upgrade_failed", words="ix_users_nobody"),
    Defect("", "import os\nos.environ['THE_TENANT']", tested="upgrade_failed", words="KeyError: 'THE_TENANT'"),
)


class Edit(NamedTuple):
    """An edit of a model, and what `test` has to say of it."""

    file: str
    old: str
    new: str
    words: str


MODELS = (
    Edit(
        "user",
        "    name: Mapped",
        "    nick: Mapped[str] = mapped_column(Text)\n    name: Mapped",
        "add column users.nick",
    ),
    Edit("user", '"users"\n', '"users"\n    __table_args__ = {"comment": "Customers"}\n', "comment on table users"),
    Edit(
        "product",
        "sku: Mapped[str] = mapped_column(Text, unique=True)",
        "sku: Mapped[str] = mapped_column(Text)",
        "drop constraint uq_products_sku on products",
    ),
    Edit("product", "name: Mapped[str] ", "name: Mapped[str | None] ", "drop NOT NULL of products.name"),
    Edit(
        "product",
        'Mapped[int] = mapped_column(Integer, server_default="0")',
        'Mapped[int] = mapped_column(BigInteger, server_default="1")',
        "change type of products.quantity from INTEGER to BIGINT",
    ),
    Edit("product", "import CheckConstraint", "import BigInteger, CheckConstraint", "set default of products.quantity"),
    Edit(
        "order",
        '        Index(None, "user_id", "created_at"),\n',
        "",
        "drop index ix_orders_user_id_created_at on orders",
    ),
    Edit("order", ', ondelete="CASCADE"', "", "add foreign key fk_orders_user_id_users from orders to users"),
    Edit(
        "order",
        '    CANCELLED = "cancelled"',
        '    CANCELLED = "cancelled"\n    LOST = "lost"',
        "add value 'lost' to type order_status",
    ),
    Edit(
        "order",
        '"quantity > 0"',
        '"quantity > 1"',
        "change check constraint ck_orders_quantity_positive on orders"
        " from CHECK (quantity > 0) to CHECK (quantity > 1)",
    ),
    Edit(
        "order",
        "class Order(Base)",
        'class Cart(Base):\n    __tablename__ = "carts"\n\n\nclass Order(Base)',
        "create table carts",
    ),
)
