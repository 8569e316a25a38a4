import atexit
import itertools
import os
import subprocess
import threading
import time

from alembic import context
from sqlalchemy import create_engine

atexit.register(print, "marker-at-exit")
atexit.register(lambda: os.write(2, b"marker-at-exit-err"))
subprocess.Popen(["sh", "-c", "sleep 40; echo marker-too-late"])


def tick() -> None:
    for n in itertools.count():
        print("marker-tick", n)
        time.sleep(0.01)


threading.Thread(target=tick, daemon=True).start()

with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
