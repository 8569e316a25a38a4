"""A TCP proxy in front of a server that can stop forwarding, without anybody being told, or reset connections."""

from __future__ import annotations

import queue
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


@dataclass(eq=False)
class _Link:
    """A connection: the client's side and the server's."""

    client: socket.socket
    server: socket.socket

    def other(self, side: socket.socket) -> socket.socket:
        return self.server if side is self.client else self.client


class Proxy:
    """Forwards 127.0.0.1:`port` to a port of the same host from a thread. Every method may be called from any thread.

    A connection is named by the port that the server sees as its client's; `None` means all, and those to come.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._links: list[_Link] = []
        self._hole = False
        self._commands: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._commands.put(None)
        self._wake.send(b"\0")
        self._thread.join()
        for link in list(self._links):
            self._drop(link, reset=True)
        for end in (self._listener, self._wake, self._woken):
            end.close()
        self._selector.close()

    def hole(self, port: int | None = None) -> None:
        """Forwards nothing any more, and does not notice who hangs up."""
        self._do(lambda: self._set_hole(port, True))

    def heal(self, port: int | None = None) -> None:
        """Forwards again, what came meanwhile first."""
        self._do(lambda: self._set_hole(port, False))

    def reset(self, port: int | None = None) -> None:
        """Ends connections with a TCP reset on both sides; new ones are welcome."""
        self._do(lambda: self._reset(port))

    def _do(self, command: Callable[[], None]) -> None:
        done = threading.Event()

        def then_tell() -> None:
            command()
            done.set()

        self._commands.put(then_tell)
        self._wake.send(b"\0")
        if not done.wait(10):
            raise RuntimeError("the proxy does not answer")

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._woken:
                    self._woken.recv(1)
                    command = self._commands.get()
                    if command is None:
                        return
                    command()
                elif key.data in self._links:  # not dropped by what came before it
                    assert isinstance(key.fileobj, socket.socket)
                    self._forward(key.data, key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        self._links.append(link)
        if not self._hole:
            self._attend(link, True)

    def _attend(self, link: _Link, on: bool) -> None:
        for side in (link.client, link.server):
            registered = side in self._selector.get_map()
            if on and not registered:
                self._selector.register(side, selectors.EVENT_READ, link)
            elif not on and registered:
                self._selector.unregister(side)

    def _forward(self, link: _Link, side: socket.socket) -> None:
        try:
            data = side.recv(_CHUNK)
            if data:
                link.other(side).sendall(data)
                return
        except OSError:
            pass
        self._drop(link, reset=False)

    def _drop(self, link: _Link, *, reset: bool) -> None:
        self._attend(link, False)
        self._links.remove(link)
        for side in (link.client, link.server):
            if reset:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.close()

    def _chosen(self, port: int | None) -> list[_Link]:
        return [link for link in self._links if port is None or link.server.getsockname()[1] == port]

    def _set_hole(self, port: int | None, on: bool) -> None:
        if port is None:
            self._hole = on
        for link in self._chosen(port):
            self._attend(link, not on)

    def _reset(self, port: int | None) -> None:
        for link in self._chosen(port):
            self._drop(link, reset=True)
