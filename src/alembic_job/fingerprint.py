"""Two numbers: of a request (command line, settings, packages), and of everything its answer depended on.

Imports next to nothing: the shortest run needs it. See `shortcut`.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from alembic_job import __version__

try:
    from _blake2 import blake2b  # hashlib imports OpenSSL first: 4 ms
except ImportError:  # pragma: no cover - other builds of Python
    from hashlib import blake2b

_FORMAT = "1"
_WITH_VALUE = frozenset(("-c", "--config", "-n", "--name", "-x", "--tag"))
_WAITING = "wait-for-migrations"
_WAITING_WITH_VALUE = frozenset(("--timeout", "--migrations-timeout", "--when-ahead", "--to"))
_PREFIXES = ("MIGRATE_", "ALEMBIC_", "DATABASE_", "PG", "PYTHON", "LC_", "LANG", "VIRTUAL_ENV")
# Read by nobody who reads them all: a pod's name must not send every pod down the slow path.
VOLATILE = frozenset(("HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_", "TERM", "COLUMNS", "LINES"))
_UNSUITED = ("MIGRATE_SKIP", "MIGRATE_SKIP_FILE", "MIGRATE_TO_FILE", "MIGRATE_BEFORE_WHEN_FILE", "MIGRATE_HISTORY_FILE")
# They decide nothing, and no digest of them shall be kept anywhere.
_SECRETS = "PGPASSWORD MIGRATE_NOTIFY MIGRATE_NOTIFY_FILE MIGRATE_BACKUP_IDENTITY MIGRATE_BACKUP_IDENTITY_FILE".split()
# Settings that decide how a run goes, but not which revisions these scripts need nor where: the Job's pod and the
# application's may differ in them. MIGRATE_TO is part of what is asked; where DATABASE_DIRECT_URL led, the record says.
_INDIFFERENT = frozenset(
    name + suffix
    for name in "DATABASE_DIRECT_URL MIGRATE_TO MIGRATE_WAIT_TIMEOUT MIGRATE_LOGIN_GRACE MIGRATE_RUN_LOCK_TIMEOUT "
    "MIGRATE_MIGRATIONS_TIMEOUT MIGRATE_DEADLINE MIGRATE_TRANSACTION MIGRATE_BACKUP MIGRATE_BACKUP_URL "
    "MIGRATE_PG_BINDIR MIGRATE_WHEN_AHEAD MIGRATE_NEW_DATABASE MIGRATE_HISTORY MIGRATE_BEFORE MIGRATE_BEFORE_WHEN "
    "MIGRATE_AFTER MIGRATE_LOG_FORMAT MIGRATE_LOG_LEVEL MIGRATE_PASSWORD_COMMAND MIGRATE_TERMINATION_LOG "
    "MIGRATE_LOCK_POLICY MIGRATE_TABLE_LOCK_TIMEOUT MIGRATE_MAX_LOCK_HOLD MIGRATE_TERMINATE_BLOCKERS "
    "MIGRATE_LOG_QUERIES MIGRATE_HEARTBEAT MIGRATE_SERVER_DISK MIGRATE_IMAGE MIGRATE_ARCHIVE MIGRATE_WHEN_EDITED "
    "MIGRATE_LINT MIGRATE_FOREIGN "
    "MIGRATE_NOTIFY MIGRATE_NOTIFY_ON MIGRATE_REPORT".split()
    for suffix in ("", "_FILE")
)


class Inputs(NamedTuple):
    """What an answer depended on, as names; `digest_of` makes one number of what they hold now."""

    files: list[str]  # by content; absent ones count as absent
    installed: list[str]  # modules of installed packages: by size and time of change
    trees: list[str]  # script folders: every file below them by content
    listings: list[str]  # directories that were listed: by names
    modules: list[str]  # directories that modules may come from: by names of modules
    variables: list[str]  # environment values; "*" stands for all of them


def request_key(arguments: list[str], environ: dict[str, str] | os._Environ[str]) -> str | None:
    """Names a request: command line, working directory, interpreter, settings, installed packages.

    `None` if it is of a kind that is never decided here.
    """
    if not _is_plain(arguments) or _is_unsuited(environ) or environ.get("MIGRATE_REPORT"):
        return None
    if environ.get("MIGRATE_BEFORE_WHEN", "pending").strip().lower() != "pending":
        return None
    if any(sign in environ.get("MIGRATE_TO", "") for sign in "+-"):  # relative: the next one is another every time
        return None
    return _key(arguments, environ, frozenset())


def waiting_key(arguments: list[str], environ: dict[str, str] | os._Environ[str]) -> str | None:
    """Names what `wait-for-migrations` wants to know, as a run of `migrate` that answers it records it: which target,
    which project, which place; whatever else the two command lines and environments differ in.

    `None` if it is of a kind that is never decided here.
    """
    asked = _asked(arguments, environ.get("MIGRATE_TO", "").strip())
    if asked is None or _is_unsuited(environ):
        return None
    return _key([_WAITING, *asked], environ, _INDIFFERENT)


def target_of(arguments: list[str], environ: dict[str, str] | os._Environ[str]) -> str:
    """What a wait that has a key waits for: a revision, or `heads`."""
    return (_asked(arguments, environ.get("MIGRATE_TO", "").strip()) or ["heads"])[-1]


def _is_unsuited(environ: dict[str, str] | os._Environ[str]) -> bool:
    off = environ.get("MIGRATE_HISTORY", "auto").strip().lower() == "off"
    return off or any(environ.get(name) for name in _UNSUITED)


def _key(words: list[str], environ: dict[str, str] | os._Environ[str], without: frozenset[str]) -> str:
    mark = blake2b(digest_size=20)
    for text in (_FORMAT, __version__, sys.version, sys.prefix, os.getcwd(), *words):
        _add(mark, text)
    for name in sorted(environ):
        if name.startswith(_PREFIXES) and name not in _SECRETS and name not in without:
            _add(mark, f"{name}={_without_password(environ[name])}")
            if name.endswith("_FILE"):
                _add(mark, _without_password(text_of(environ[name])))
    for folder in sys.path:
        _add(mark, folder)
        for name in _distributions(folder):
            _add(mark, name)
    return mark.hexdigest()


def _is_plain(arguments: list[str]) -> bool:
    """`migrate` or `upgrade head`, with Alembic's own options at most."""
    _, rest, whole = _parted(arguments, _WITH_VALUE)
    return whole and rest in (["migrate"], ["upgrade"], ["upgrade", "head"], ["upgrade", "heads"])


def _parted(arguments: list[str], with_value: frozenset[str]) -> tuple[list[tuple[str, str]], list[str], bool]:
    """The options that have a value, the other words, and whether no value is missing."""
    options: list[tuple[str, str]] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in with_value:
            value = next(words, None)
            if value is None:
                return options, rest, False
            options.append((word, value))
        else:
            rest.append(word)
    return options, rest, True


def _asked(arguments: list[str], to: str) -> list[str] | None:
    """Alembic's own options and the target, of a run that answers or of a wait that asks; `None` for anything else.

    All heads are the target where none is named: a run to `head` is recorded only if there is just one. A wait for
    `head` is not decided here, since several heads are an error then.
    """
    options, rest, whole = _parted(arguments, _WITH_VALUE | _WAITING_WITH_VALUE)
    if not whole or not rest:
        return None
    if rest == [_WAITING]:
        target = dict(options).get("--to", to) or "heads"
        if target == "head":
            return None
    elif _is_plain(arguments):
        target = (rest[1] if len(rest) > 1 else "head") if rest[0] == "upgrade" else to or "head"
        target = "heads" if target == "head" else target
    else:
        return None
    if any(sign in target for sign in "+-"):
        return None
    return [*(word for pair in options if pair[0] in _WITH_VALUE for word in pair), target]


def _distributions(folder: str) -> list[str]:
    """The installed packages with their versions, as their metadata folders are called."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info", ".pth")))
    except OSError:
        return []


def digest_of(inputs: Inputs, environ: dict[str, str] | os._Environ[str]) -> str:
    """One number of what these inputs hold now. Passwords are left out of it: they decide nothing."""
    mark = blake2b(digest_size=20)
    for path in inputs.files:
        _add_file(mark, path)
    for path in inputs.installed:
        _add_stat(mark, path)
    for folder in inputs.trees:
        _add_tree(mark, folder)
    for folder in inputs.listings:
        _add(mark, folder + "|" + "|".join(_names(folder)))
    for folder in inputs.modules:
        _add(mark, folder + "|" + "|".join(name for name in _names(folder) if _may_be_module(name)))
    names = sorted(environ) if "*" in inputs.variables else inputs.variables
    for name in names:
        if name not in VOLATILE or name in inputs.variables:
            value = environ.get(name)
            _add(mark, f"{name} is absent" if value is None else f"{name}={_without_password(value)}")
    return mark.hexdigest()


def _add(mark: Any, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    mark.update(len(data).to_bytes(8, "big"))
    mark.update(data)


def _add_file(mark: Any, path: str) -> None:
    _add(mark, path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        _add(mark, "absent")
        return
    try:
        while data := os.read(descriptor, 1 << 20):
            mark.update(data)
        mark.update(os.fstat(descriptor).st_size.to_bytes(8, "big"))
    except OSError:  # a directory, or no longer readable
        _add(mark, "unreadable")
    finally:
        os.close(descriptor)


def _add_stat(mark: Any, path: str) -> None:
    try:
        found = os.stat(path)
    except OSError:
        _add(mark, path + " absent")
    else:
        _add(mark, f"{path} {found.st_size} {found.st_mtime_ns}")


def _add_tree(mark: Any, folder: str) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        _add(mark, folder + " absent")
        return
    for entry in entries:
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _add_tree(mark, entry.path)
        else:
            _add_file(mark, entry.path)


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name != "__pycache__")
    except OSError:
        return ["/absent/"]


def _may_be_module(name: str) -> bool:
    return name.endswith((".py", ".so")) or ("." not in name)


def text_of(path: str) -> str:
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError:
        return ""


def _without_password(text: str) -> str:
    """A URL without its password: it is rotated, and no digest of it shall be kept anywhere."""
    if "://" not in text or "@" not in text:
        return text
    head, _, rest = text.partition("://")
    login, _, place = rest.rpartition("@")
    return f"{head}://{login.partition(':')[0]}@{place}"
