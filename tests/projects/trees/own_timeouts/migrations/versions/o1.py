"""looks at the session's settings"""
from alembic import op
from sqlalchemy import text

revision = "o1"
down_revision = None


def upgrade():
    bind = op.get_bind()
    found = {
        name: bind.scalar(text(f"SHOW {name}"))
        for name in ("statement_timeout", "search_path", "idle_in_transaction_session_timeout", "application_name")
    }
    if found != {
        "statement_timeout": "61s",
        "search_path": "store,public",
        "idle_in_transaction_session_timeout": "62s",
        "application_name": "shop-migrations",
    }:
        raise ValueError(f"somebody changed the session: {found}")
    op.execute("CREATE TABLE looked (id int PRIMARY KEY)")


def downgrade():
    op.execute("DROP TABLE looked")
