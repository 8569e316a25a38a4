"""batches committed on the way"""
import sqlalchemy as sa
from alembic import op

revision = "t3"
down_revision = "t2"


def upgrade():
    bind = op.get_bind()
    bind.execute(sa.text("ALTER TABLE jobs ADD COLUMN note text"))
    for number in range(3):
        bind.exec_driver_sql(f"INSERT INTO jobs (state, note) VALUES ('new', 'n{number}')")
        bind.connection.commit()
    bind.execute(sa.text("UPDATE jobs SET note = 'old' WHERE note IS NULL"))


def downgrade():
    op.drop_column("jobs", "note")
    op.execute("DELETE FROM jobs WHERE state = 'new'")
