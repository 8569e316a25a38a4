"""posts: author

Revision ID: f2b0author
Revises: f1a0posts

"""
import sqlalchemy as sa
from alembic import op
from flask import current_app

revision = "f2b0author"
down_revision = "f1a0posts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("posts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("author", sa.String(length=80), nullable=True))
        batch_op.create_index(batch_op.f("ix_posts_author"), ["author"], unique=False)
    op.execute(sa.text("INSERT INTO posts (id, name, author) VALUES (1, 'first', :author)").bindparams(
        author=current_app.config["EDITOR"]
    ))


def downgrade() -> None:
    op.execute("DELETE FROM posts WHERE id = 1")
    with op.batch_alter_table("posts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_posts_author"))
        batch_op.drop_column("author")
