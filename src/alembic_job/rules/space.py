"""Whether a dump, a restore or a table written anew will fit, as far as sizes tell."""

from __future__ import annotations

from typing import Literal, NamedTuple

Verdict = Literal["enough", "doubtful", "too little"]
_SLACK = 1.2  # a dump may be larger by so much than the one before says
_LEAST = 0.5  # less than this of what is expected is surely not enough


class Previous(NamedTuple):
    """The newest backup of the database: bytes of its archive and, where known, of the database then.

    `alike` if it was compressed as the next one will be.
    """

    archive: int
    database: int | None
    alike: bool


class Room(NamedTuple):
    """What a dump needs: `expected` bytes; `sure` if less than half of them cannot be enough."""

    expected: int
    sure: bool

    def verdict(self, free: int) -> Verdict:
        """Whether so many free bytes will do."""
        if self.sure and free < self.expected * _LEAST:
            return "too little"
        return "doubtful" if free < self.expected * (_SLACK if self.sure else 1) else "enough"


def room_for(database: int, previous: Previous | None) -> Room:
    """What the dump of a database of so many bytes needs.

    Without a backup to go by: as much as the database, which is more than it will be. Else what that one took, grown or
    shrunk as the database did since.
    """
    if previous is None or not previous.alike or not previous.database:
        return Room(database, False)
    return Room(round(previous.archive * database / previous.database), True)


class Rewrite(NamedTuple):
    """Tables that are written anew, in bytes: without their indexes (`heap`), and with all that belongs to them.

    The old and the new ones are both there until that is committed.
    """

    heap: int
    total: int

    def verdict(self, free: int) -> Verdict:
        """Whether so many free bytes will do; a table may shrink to half, as dead rows are not copied."""
        if free < self.heap * _LEAST:
            return "too little"
        return "doubtful" if free < self.total * _SLACK else "enough"
