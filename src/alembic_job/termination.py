"""How a run ended, in a few words where Kubernetes looks for them: `kubectl describe pod` shows a container's message.

This module imports next to nothing: the shortest run writes it too.
"""

from __future__ import annotations

import os
from typing import Any

DEFAULT = "/dev/termination-log"  # there in a pod, nowhere else
_MOST = 4096  # bytes, what Kubernetes takes
_HINT, _HEADS = 2048, 512  # bytes; a hint of ours is shorter, but one may list revisions


def path(flag: str | None = None) -> str:
    """Where it goes, by flag or environment alone: it is needed even where the settings are wrong."""
    return flag or os.environ.get("MIGRATE_TERMINATION_LOG") or DEFAULT


def text(fields: dict[str, Any], run_id: str = "") -> bytes:
    """The message for the fields of `job.finished`, which are redacted already: at most 4096 bytes of UTF-8.

    Long ones are cut, error and revisions before all else.
    """
    command = fields["command"] or "alembic-job"
    lines = {
        "end": _line(f"{command}: ", f"{fields['outcome']}, exit code {fields['exit_code']}"),
        "error": _line("error: ", fields.get("error")),
        "hint": _cut(_line("hint: ", fields.get("hint")), _HINT),
        "heads": _cut(_line("", _way(fields)), _HEADS),
        "done": _line("", _done(fields)),
        "run": _line("run_id ", run_id),
    }
    room = _MOST - sum(len(line) + 1 for line in lines.values())  # too much where it is negative
    for name, least in (("done", _HEADS), ("error", 0)):
        if room < 0:
            before = len(lines[name])
            lines[name] = _cut(lines[name], max(least, before + room))
            room += before - len(lines[name])
    return b"".join(line + b"\n" for line in lines.values() if line)


def write(path: str, message: bytes) -> str | None:
    """Writes it; what went wrong is only returned. The default is not made where it does not exist."""
    # Not blocking, in case it is a pipe that nobody reads.
    flags = os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC | (0 if path == DEFAULT else os.O_CREAT)
    try:
        descriptor = os.open(path, flags, 0o644)
        try:
            os.write(descriptor, message)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        return None if path == DEFAULT else error.strerror
    except OSError as error:
        return error.strerror
    return None


def _line(name: str, value: Any) -> bytes:
    return f"{name}{' '.join(str(value).split())}".encode("utf-8", "backslashreplace") if value else b""


def _way(fields: dict[str, Any]) -> str:
    before, after = (_names(fields.get(name)) for name in ("from", "to"))
    return f"from {before or 'nothing'} → {after or 'nothing'}" if before or after else ""


def _done(fields: dict[str, Any]) -> str:
    for name in ("applied", "reverted"):
        if revisions := fields.get(name):
            return f"{name} ({len(revisions)}): {_names(revisions)}"
    return ""


def _names(heads: Any) -> str:
    return ", ".join(heads) if isinstance(heads, list) else heads or ""


def _cut(line: bytes, length: int) -> bytes:
    """At most so many bytes, and no part of a character."""
    if len(line) <= length:
        return line
    return line[: max(0, length - 3)].decode("utf-8", "ignore").encode() + "…".encode() if length >= 3 else b""
