"""Command lines as people write them: shown by `--help` and in the reference. Each is parsed by a test."""

from __future__ import annotations

_WIDTH = 80
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "migrate": (
        ("migrate", "to head, as at deploy time"),
        ("migrate --to 20f6c6e8d1a7", "no further than there"),
        ("migrate --backup-url s3://backups/shop --deadline 10m", "with a proven backup first"),
        ("-x tenant=acme migrate", "with an argument for env.py"),
        ('migrate -m "add an index on email"', "apply nothing: generate a revision"),
    ),
    "upgrade": (
        ("upgrade head", "the same as migrate"),
        ("upgrade +1", "the next revision only"),
        ("upgrade 20f6c6e8d1a7:head --sql", "no database: print the SQL from there"),
    ),
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
    "backup list": (("backup list --backup-url /backups", "the oldest first"),),
    "backup verify": (("backup verify", "the newest"), ("backup verify --all", "each of them")),
    "backup prune": (("backup prune --backup-keep 7 --dry-run", "which would go"),),
    "restore": (
        ("restore", "say what would be done with the newest"),
        ("restore --into shop_yesterday --yes", "into a new database"),
        ("restore --swap --yes", "in the place of the database"),
    ),
    "consent": (("consent 20f6c6e8d1a7", "its rollback may lose data"),),
    "repair": (("repair", "show the scripts that were edited"), ("repair --yes", "record them as they are now")),
    "stamp": (("stamp head", "the schema is there already"), ("stamp --purge base", "forget what is recorded")),
    "seed": (("seed", "by what MIGRATE_SEED names, in one transaction"),),
    "reset": (
        ("reset", "at a terminal it asks first"),
        ("reset --force --seed", "without a question, with first rows"),
    ),
    "verify": (("verify", "at head, and no index is INVALID"),),
    "wait-for-db": (("wait-for-db --wait-timeout 2m", "until it is a writable primary"),),
    "wait-for-migrations": (("wait-for-migrations --timeout 5m", "in the application's init container"),),
    "doctor": (("doctor", "from the URL to the version table"),),
    "plan": (
        ("plan", "what is pending, and what it locks"),
        ("plan --rehearse", "run it on a copy, and measure"),
        ("plan --exit-code", "3 if something is pending, for a pipeline"),
        ("plan --format html > plan.html", "one page for whoever reviews it"),
    ),
    "report": (
        ("report job.log > run.html", "the last run in a JSON log as one page"),
        ("report --run 4d7367e782e3 job.log > run.html", "that run"),
    ),
    "status": (("status", "revisions, and who is at work"), ("status --json --exit-code", "for a program")),
    "current": (("current -v", "the revision, its file and its parents"),),
    "history": (
        ("history -i", "with the database's revision marked"),
        ("history --tree -i", "as a tree, with what is applied marked"),
        ("history --applied", "who applied what, when"),
    ),
    "heads": (("heads -v", "with the files"),),
    "branches": (("branches --tree", "forks, merges and ends as a tree"),),
    "show": (("show head", "the newest revision"),),
    "check": (
        ("check", "3 if models and database differ"),
        ("check --live", "3 if the database is not what its migrations make"),
    ),
    "test": (
        ("test", "each revision: up, down, up; needs no database"),
        ("test --from 20f6c6e8d1a7 --strict", "from there on, each with a way back"),
        ("test --data", "what is pending, on some of the database's rows"),
        ("test --data --data-rows 50 --to 20f6c6e8d1a7", "on fewer, no further than there"),
    ),
    "config": (("config", "each setting, and where it came from"),),
    "lint": (
        ("lint", "what is wrong, by the line of the Python file"),
        ("lint --since 20f6c6e8d1a7 --format github", "for a pull request"),
    ),
    "init": (
        ("init", "in this folder"),
        ("init --template async --with-deploy", "for asyncpg, with an image and a chart"),
    ),
    "revision": (
        ('revision --autogenerate -m "add an index on email"', "from the models"),
        ('revision -m "fill in the totals"', "an empty one"),
    ),
    "merge": (('merge heads -m "merge heads"', "of all heads"),),
    "edit": (("edit head", "in $EDITOR"),),
    "completion": (("completion bash >> ~/.bashrc", "for the next shell"),),
}


def epilog(command: str) -> str | None:
    """The examples of a command for its help, within 80 columns; none if it has no examples."""
    lines = EXAMPLES.get(command)
    if not lines:
        return None
    width = max(len(line) for line, _ in lines)
    beside = all(len(f"    alembic-job   {what}") + width <= _WIDTH for _, what in lines)
    shown = [f"{line:<{width}}  {what}" if beside else f"{line}\n      {what}" for line, what in lines]
    return "\n".join(["\b", "Examples:", *(f"  alembic-job {each}" for each in shown)])
