"""names in capitals, with quotes, spaces, other scripts: Größe, 表, таблица"""
import sqlalchemy as sa
from alembic import op

revision = "op04"
down_revision = "op03"

NAMES = ["Mixed Case", 'with "quotes"', "it's", "表_таблица_Größe", "order", "per%cent", "dot.ted", "semi;colon"]


def upgrade():
    op.execute('CREATE SCHEMA "Odd Schema"')
    for name in NAMES:
        op.create_table(
            name,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column('col "q" %', sa.Text, quote=True),
            sa.Column("größe", sa.Integer),
            schema="Odd Schema",
        )
        op.create_index(f"ix {name}", name, ["größe"], schema="Odd Schema")
    op.rename_table("order", "select", schema="Odd Schema")
    op.alter_column("Mixed Case", "größe", new_column_name="größe (m²)", schema="Odd Schema")
    op.execute("""COMMENT ON TABLE "Odd Schema"."Mixed Case" IS 'ü; ''x'' -- no comment /* at all */'""")


def downgrade():
    op.execute('DROP SCHEMA "Odd Schema" CASCADE')
