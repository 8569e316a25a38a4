import ctypes
import logging
import os
import subprocess
import sys
import traceback
import warnings

from alembic import context
from sqlalchemy import create_engine

print("marker-print")
print('{"event": "job.finished", "exit_code": 99, "marker": "marker-forged"}')
print("progress   0%\rprogress  50%\rprogress marker-carriage-return", end="\n")
print("marker-two\nmarker-lines")
print("\x1b[31mmarker-colour\x1b[0m \u2603 \u0000 marker-unicode")
print("marker-stderr", file=sys.stderr)
sys.stdout.write("marker-partial-write")
sys.stdout.flush()
sys.stdout.buffer.write(b"\nmarker-\xff\xfe-bytes\n")
sys.stdout.flush()
os.write(1, b"marker-fd-1\n")
os.write(2, b"marker-fd-2\n")
subprocess.run(["sh", "-c", "echo marker-child; echo marker-child-err >&2"], check=True)
print("marker-traditional", file=sys.__stdout__, flush=True)
warnings.warn("marker-warning", stacklevel=1)
logging.getLogger("shop").error("marker-logged %s", "yes")
logging.getLogger("shop").error("marker-bad-format %d", "x")
try:
    raise LookupError("marker-traceback")
except LookupError:
    traceback.print_exc()

# C code which keeps the interpreter's lock while it writes more than a pipe holds
libc = ctypes.PyDLL(None)
block = (b"c" * 1023 + b"\n") * 1024
written = 0
while written < len(block):
    written += libc.write(1, block[written:], len(block) - written)
libc.puts(b"marker-puts")
libc.fflush(None)

with create_engine(os.environ["DATABASE_URL"], echo=True).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

os.write(1, b"marker-last-without-newline")
