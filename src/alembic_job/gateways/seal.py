"""Takes from the present process every way to act: for running code that is to be looked at only.

It reaches no database, starts no program, and changes no file.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

# AUDIT_ARCH_* and the numbers of system calls that reach or change something: connect, sendto, sendmsg, execve,
# execveat, kill, unlink, unlinkat, rename, renameat, renameat2, rmdir, truncate; then those that open a file, with the
# place of their flags among the arguments.
_CALLS: dict[str, tuple[int, tuple[int, ...], tuple[tuple[int, int], ...]]] = {
    "x86_64": (0xC000003E, (42, 44, 46, 59, 322, 62, 87, 263, 82, 264, 316, 84, 76), ((2, 1), (257, 2))),
    "aarch64": (0xC00000B7, (203, 206, 211, 221, 281, 129, 35, 38, 276, 45), ((56, 2),)),
}
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_FILTER, _ALLOW, _REFUSE = 2, 0x7FFF0000, 0x00050001  # SECCOMP_MODE_FILTER, RET_ALLOW, RET_ERRNO | EPERM
_LOAD, _IF_EQUAL, _IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF


class Sealed(Exception):
    """The code wants a connection to a database."""


def seal(keep: int) -> None:
    """From now on this process and its children reach nobody; only the descriptor `keep` leads out.

    For a forked child: connections that were open before lead nowhere, without the server's noticing.
    """
    _cut(keep)
    _refuse_drivers()
    _refuse_calls()


def _cut(keep: int) -> None:
    """Inherited descriptors are led to /dev/null, not closed: a driver would write into a file that gets its number."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for path in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(path.name)
        if descriptor not in (keep, nothing):
            try:
                os.fstat(descriptor)
            except OSError:
                continue
            os.dup2(nothing, descriptor)


def _refuse_drivers() -> None:
    """In the words of Python, for drivers that are loaded."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise Sealed("it connects to a database by itself")

    for module, names in {
        "psycopg2": ("connect", "_connect"),
        "psycopg": ("connect",),
        "asyncpg": ("connect",),
    }.items():
        if module in sys.modules:
            for name in names:
                setattr(sys.modules[module], name, refuse)
    if "psycopg" in sys.modules:
        sys.modules["psycopg"].Connection.connect = refuse
        sys.modules["psycopg"].AsyncConnection.connect = refuse


def _refuse_calls() -> bool:
    """In the kernel (seccomp), whatever the language. True if the kernel took it; some sandboxes do not."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return False
    code = b"".join(struct.pack("HBBI", *step) for step in _program(*_CALLS[platform.machine()]))
    buffer = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)))
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return False
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


def _program(
    architecture: int, refused: tuple[int, ...], opening: tuple[tuple[int, int], ...]
) -> list[tuple[int, ...]]:
    """Steps of BPF: code, steps to pass over if true, if false, value."""
    steps: list[tuple[int, ...]] = [(_LOAD, 0, 0, 4), (_IF_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_LOAD, 0, 0, 0))
    for number in refused:
        steps += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    for number, place in opening:
        steps += [(_IF_EQUAL, 0, 4, number), (_LOAD, 0, 0, 16 + 8 * place), (_IF_SET, 0, 1, _TO_WRITE)]
        steps += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    return [*steps, (_RETURN, 0, 0, _ALLOW)]
