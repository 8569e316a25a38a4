"""No program outlives its run."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from alembic_job.gateways import children
from tests.waiting import until


class Stopped(BaseException):
    pass


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_signal_while_a_program_is_being_started(tmp_path: Path) -> None:
    """The exception comes before anybody has the process at hand; it is ended all the same."""
    note = tmp_path / "pid"

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Stopped):
            children.start(["sh", "-c", f"echo $$ > {note}; exec sleep 60"], preexec_fn=lambda: time.sleep(0.6))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    until(lambda: note.exists() and note.read_text().strip())
    pid = int(note.read_text())
    assert is_running(pid)
    children.end_all()
    until(lambda: not is_running(pid))


def test_one_that_cannot_be_started() -> None:
    with pytest.raises(FileNotFoundError):
        children.start(["/no/such/program"])


def test_one_that_does_not_listen(tmp_path: Path) -> None:
    """It and what it has started are killed a moment later."""
    note = tmp_path / "ready"
    process = children.start(["sh", "-c", f"trap '' TERM; sleep 60 & echo $! > {note}; wait; wait"])
    until(lambda: note.exists() and note.read_text().strip())
    below = int(note.read_text())
    children.end(process)
    assert process.returncode == -signal.SIGKILL
    until(lambda: not is_running(below))
