"""Who a run is, as others see it in `pg_stat_activity` and `pg_locks`."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket


def key_of(text: str) -> int:
    """A 31-bit key for an advisory lock; two names that share one only wait for each other."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") & 0x7FFFFFFF


class Identity:
    """A run's id, its key for advisory locks, and the name its connections carry."""

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id or secrets.token_hex(6)
        self.key = key_of(self.run_id)
        self.application_name = f"alembic-job {self.run_id} {os.environ.get('HOSTNAME') or socket.gethostname()}"
