"""The way to a server, step by step as libpq goes it: name, port, TLS. Nothing is logged in."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from alembic_job.dsn import Dsn

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # documentation, "Message Formats": SSLRequest
_SOCKET_FOLDERS = ("/var/run/postgresql", "/run/postgresql", "/tmp")
_REQUIRING = ("require", "verify-ca", "verify-full")


class Place(NamedTuple):
    """One host of a URL: a name, an address, or the folder of a Unix socket."""

    host: str
    port: str
    address: str = ""  # libpq's hostaddr, which no name is looked up for

    @property
    def is_socket(self) -> bool:
        return self.host.startswith(("/", "@"))

    def __str__(self) -> str:
        return f"{self.host}/.s.PGSQL.{self.port}" if self.is_socket else f"{self.host}:{self.port}"


class Knock(NamedTuple):
    """What a port answered: how it `failed`, or whether TLS is `offered` (a socket has none)."""

    failed: str = ""
    offered: bool = False


def places(dsn: Dsn, variables: Mapping[str, str] = os.environ) -> list[Place]:
    """The hosts that libpq would try, with its PG* variables for what the URL leaves out.

    None if a service file, which only libpq reads, says where the server is.
    """
    get = {name: dsn.parameters.get(name) or variables.get(f"PG{name.upper()}", "") for name in ("hostaddr", "port")}
    if (dsn.parameters.get("service") or variables.get("PGSERVICE")) and "host" not in dsn.parameters:
        return []
    addresses = get["hostaddr"].split(",")
    host = dsn.parameters.get("host") or variables.get("PGHOST", "") or get["hostaddr"] or _socket_folder(get["port"])
    hosts, ports = host.split(","), (get["port"] or "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    addresses = addresses if len(addresses) == len(hosts) else [""] * len(hosts)
    return [Place(*each) for each in zip(hosts, ports, addresses, strict=True)]


def _socket_folder(port: str) -> str:
    there = [folder for folder in _SOCKET_FOLDERS if Path(folder, f".s.PGSQL.{port or 5432}").exists()]
    return (there or _SOCKET_FOLDERS)[0]


def resolve(place: Place) -> list[str]:
    """Addresses of a host, without repetition. Raises `OSError`."""
    if place.is_socket:
        return [place.host]
    found = socket.getaddrinfo(place.address or place.host, int(place.port), type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def knock(place: Place, address: str, timeout: float) -> Knock:
    """Connects to an address (a socket's folder) within `timeout` seconds and asks whether the server has TLS."""
    try:
        with _connected(place, address, timeout) as connection:
            if place.is_socket:
                return Knock()
            connection.sendall(_SSL_REQUEST)
            answer = connection.recv(1)
    except TimeoutError:
        return Knock(f"no answer within {timeout:g} s")
    except OSError as error:
        return Knock(error.strerror or str(error))
    if answer not in (b"S", b"N"):
        return Knock("something answers that is not PostgreSQL" if answer else "it closes the connection at once")
    return Knock(offered=answer == b"S")


def _connected(place: Place, address: str, timeout: float) -> socket.socket:
    if not place.is_socket:
        return socket.create_connection((address, int(place.port)), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(str(place).replace("@", "\0", 1) if place.host.startswith("@") else str(place))
    except BaseException:
        connection.close()
        raise
    return connection


def wants_tls(dsn: Dsn, variables: Mapping[str, str] = os.environ) -> bool:
    """Whether sslmode refuses a connection without TLS."""
    return (dsn.parameters.get("sslmode") or variables.get("PGSSLMODE", "")) in _REQUIRING
