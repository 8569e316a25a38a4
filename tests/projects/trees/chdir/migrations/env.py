import os
import signal
import tempfile

from alembic import context
from sqlalchemy import create_engine

url = os.environ.pop("DATABASE_URL")
os.chdir(tempfile.gettempdir())
os.environ["TZ"] = "Pacific/Apia"
os.umask(0o077)
signal.signal(signal.SIGTERM, signal.SIG_DFL)

engine = create_engine(url)
connection = engine.connect()  # never closed
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
