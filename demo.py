"""`make demo`: the job on an embedded PostgreSQL with the sample application, as a newcomer should see it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2

from alembic_job.gateways.embedded import Server

ROOT = Path(__file__).parent
HALF_WAY = "e7306bd2a418"  # orders exist, their unit price does not yet


def say(text: str) -> None:
    """A line of the story, set apart from the job's own output."""
    begin, end = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{begin}# {text}{end}", flush=True)


def job(command: str, environment: dict[str, str]) -> None:
    """Shows a command and runs it; the demo ends with the job's exit code if that is not 0."""
    print(f"$ alembic-job {command}", flush=True)
    argv = [sys.executable, "-m", "alembic_job", *shlex.split(command)]
    done = subprocess.run(argv, env=environment, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def add_data(url: str) -> None:
    """Rows that the later data migration has to fill in."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO users (email, name) VALUES ('ada@example.com', 'Ada') RETURNING id")
        [user] = cursor.fetchone()
        cursor.execute("INSERT INTO products (sku, name, price) VALUES ('TEA-1', 'Tea', 4.20) RETURNING id")
        [product] = cursor.fetchone()
        cursor.execute("INSERT INTO orders (user_id, product_id, quantity) VALUES (%s, %s, 3)", (user, product))
    connection.close()


def show_order(url: str) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT quantity, unit_price FROM orders")
        quantity, price = cursor.fetchone()
    connection.close()
    print(f"the order from before: quantity {quantity}, unit price {price}", flush=True)


def main() -> None:
    begun = time.monotonic()
    with Server(18) as server, tempfile.TemporaryDirectory() as backups:
        url = server.url()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MIGRATE_", "PG"))}
        environment |= {"DATABASE_URL": url, "MIGRATE_PG_BINDIR": str(server.bin)}
        say(f"An empty PostgreSQL {server.major}, and the sample application's migrations: half of them first.")
        job(f"migrate --to {HALF_WAY}", environment)
        say("The application writes data, then the rest is deployed, with a proven backup before the first change.")
        add_data(url)
        job(f"migrate --backup-url {backups}", environment)
        show_order(url)
        say("The next deploy finds nothing to do.")
        job("migrate", environment)
        say("Where are we?")
        job("status", environment)
        say("One step back, and forward again.")
        job(f"rollback --steps 1 --backup-url {backups} --allow-data-loss", environment)
        job("migrate", environment)
    say(f"That was the demo, in {time.monotonic() - begun:.0f} s; the server and its data are gone again.")


if __name__ == "__main__":
    main()
