"""One upload in parts, fed piece by piece, in memory that does not grow with its size."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

_PART = 8 << 20  # bytes; S3 wants 5 MiB or more
_PARTS = 9_000  # S3 takes 10,000
_IN_FLIGHT = 32 << 20  # bytes
_PIECE = 1 << 20
_PIECES = 4  # that wait
_ABORTED = 15.0  # seconds


def part_size(expected: int) -> int:
    """Bytes a part of an upload of so many: as small as the number of parts allows, in whole megabytes."""
    needed = -(-expected // _PARTS)
    return max(_PART, -(-needed // _PIECE) * _PIECE)


class Abandoned(Exception):
    """Ends an upload that is not to be completed."""


class Upload:
    """Uploads what is written, by a thread. Its methods raise what the store refused with."""

    def __init__(self, store: Any, key: str, part: int) -> None:
        self._store, self._key, self._part = store, key, part
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_PIECES)
        self._gathered = bytearray()
        self._abandoned = threading.Event()
        self._failure: BaseException | None = None
        self._etag: str | None = None
        self._thread = threading.Thread(target=self._run, name="alembic-job-upload", daemon=True)
        self._thread.start()

    def write(self, piece: bytes) -> None:
        """Blocks as long as too much is on its way."""
        self._gathered += piece
        if len(self._gathered) >= _PIECE:
            self._hand_over(bytes(self._gathered))
            self._gathered.clear()

    def finish(self) -> str | None:
        """Completes the upload, after which the object is there; returns its ETag."""
        if self._gathered:
            self._hand_over(bytes(self._gathered))
        self._hand_over(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._etag

    def abort(self) -> bool:
        """Lets the store forget what it has. True if that took no longer than it may, and nothing else failed."""
        self._abandoned.set()
        try:
            self._pieces.put_nowait(None)  # it may wait for a piece; where it does not, it looks at the event
        except queue.Full:
            pass
        self._thread.join(_ABORTED)
        return not self._thread.is_alive() and isinstance(self._failure, Abandoned)

    def _hand_over(self, piece: bytes | None) -> None:
        while self._thread.is_alive():
            try:
                self._pieces.put(piece, timeout=0.5)
                return
            except queue.Full:
                continue
        raise self._failure or RuntimeError("the upload ended before its time")

    def _run(self) -> None:
        in_flight = max(1, _IN_FLIGHT // self._part)
        try:
            result = self._store.put(
                self._key, self._fed(), use_multipart=True, chunk_size=self._part, max_concurrency=in_flight
            )
            self._etag = result.get("e_tag")
        except BaseException as error:
            self._failure = error

    def _fed(self) -> Iterator[bytes]:
        """What obstore draws from; what is raised here aborts the upload."""
        while True:
            piece = self._pieces.get()
            if self._abandoned.is_set():
                raise Abandoned
            if piece is None:
                return
            yield piece
