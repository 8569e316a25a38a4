"""Command lines as people write them: shown by `--help` and in the reference. Each is parsed by a test."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "migrate": (
        ("migrate", "to head, as at deploy time"),
        ("migrate --to 20f6c6e8d1a7", "no further than there"),
        ("migrate --backup-url s3://backups/shop --deadline 10m", "with a proven backup first"),
        ("-x tenant=acme migrate", "with an argument for env.py"),
        ('migrate -m "add an index on email"', "apply nothing: generate a revision"),
    ),
    "upgrade": (("upgrade head", "the same as migrate"), ("upgrade +1", "the next revision only")),
    "rollback": (
        ("rollback --steps 1 --dry-run", "what it would execute and lose"),
        ("rollback --steps 1", "undo the last revision, after a backup"),
        ("rollback --to 20f6c6e8d1a7 --no-backup", "back to there, without one"),
    ),
    "downgrade": (("downgrade -1", "undo the last revision"),),
    "backup": (
        ("backup --backup-url /backups", "take one now"),
        ("backup list", "those there are"),
        ("backup verify --all", "read each back to its last byte"),
        ("backup prune --backup-keep 7 --dry-run", "which would go"),
    ),
    "restore": (
        ("restore", "say what would be done with the newest"),
        ("restore --into shop_yesterday --yes", "into a new database"),
        ("restore --swap --yes", "in the place of the database"),
    ),
    "consent": (("consent 20f6c6e8d1a7", "its rollback may lose data"),),
    "repair": (("repair", "show the scripts that were edited"), ("repair --yes", "record them as they are now")),
    "stamp": (("stamp head", "the schema is there already"), ("stamp --purge base", "forget what is recorded")),
    "verify": (("verify", "at head, and no index is INVALID"),),
    "wait-for-db": (("wait-for-db --wait-timeout 2m", "until it is a writable primary"),),
    "wait-for-migrations": (("wait-for-migrations --timeout 5m", "in the application's init container"),),
    "doctor": (("doctor", "from the URL to the version table"),),
    "plan": (
        ("plan", "what is pending, and what it locks"),
        ("plan --rehearse", "run it on a copy, and measure"),
        ("plan --exit-code", "3 if something is pending, for a pipeline"),
    ),
    "status": (("status", "revisions, and who is at work"), ("status --json --exit-code", "for a program")),
    "history": (("history -i", "with the database's revision marked"), ("history --applied", "who applied what, when")),
    "show": (("show head", "the newest revision"),),
    "check": (
        ("check", "3 if models and database differ"),
        ("check --live", "3 if the database is not what its migrations make"),
    ),
    "test": (
        ("test", "each revision: up, down, up; needs no database"),
        ("test --from 20f6c6e8d1a7 --strict", "from there on, each with a way back"),
    ),
    "config": (("config", "each setting, and where it came from"),),
    "revision": (
        ('revision --autogenerate -m "add an index on email"', "from the models"),
        ('revision -m "fill in the totals"', "an empty one"),
    ),
    "merge": (('merge heads -m "merge heads"', "of all heads"),),
    "edit": (("edit head", "in $EDITOR"),),
    "completion": (("completion bash >> ~/.bashrc", "for the next shell"),),
}


def epilog(command: str) -> str | None:
    """The examples of a command for its help; none if it has no examples."""
    lines = EXAMPLES.get(command)
    if not lines:
        return None
    width = max(len(line) for line, _ in lines)
    return "\n".join(["\b", "Examples:", *(f"  alembic-job {line:<{width}}  {what}" for line, what in lines)])
