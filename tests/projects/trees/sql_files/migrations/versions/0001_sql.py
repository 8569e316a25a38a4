"""runs a dump, as a project does that came to Alembic late"""
from pathlib import Path

from alembic import op

revision = "0001_sql"
down_revision = None

SQL = Path(__file__).parents[1] / "sql"


def upgrade():
    op.get_bind().exec_driver_sql((SQL / "0001_up.sql").read_text().replace("%", "%%"))
    op.execute("RESET ALL")


def downgrade():
    op.get_bind().exec_driver_sql((SQL / "0001_down.sql").read_text())
