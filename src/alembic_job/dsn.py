"""Where a database is: parsed from a URL as SQLAlchemy reads it, given to psycopg2 as libpq wants it.

Kept free of SQLAlchemy (130 ms to import), because a run that finds nothing to do needs no more than this.
"""

from __future__ import annotations

from collections.abc import Mapping

_QUERY_TO_LIBPQ = {"ssl": "sslmode", "timeout": "connect_timeout"}  # asyncpg's and pg8000's names
_LIBPQ = frozenset(
    "host hostaddr port dbname user password passfile channel_binding connect_timeout client_encoding options "
    "application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count "
    "tcp_user_timeout sslmode sslcompression sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir sslsni "
    "sslnegotiation requiressl require_auth ssl_min_protocol_version ssl_max_protocol_version gssencmode krbsrvname "
    "gsslib gssdelegation service target_session_attrs load_balance_hosts requirepeer".split()
)
_SSL_WORDS = {"true": "require", "false": "disable", "1": "require", "0": "disable"}


class MalformedUrl(ValueError):
    """The message says what is wrong and never repeats the URL, which may hold a password."""


class Dsn:
    """One database. `scheme` is the URL's, with the driver (`postgresql+asyncpg`); `parameters` are libpq's.

    Where there is a `password_command` its output is the password: see `gateways.password`.
    """

    __slots__ = ("parameters", "password_command", "query", "scheme")

    def __init__(
        self,
        parameters: Mapping[str, str],
        scheme: str = "postgresql",
        query: str = "",
        password_command: tuple[str, ...] = (),
    ) -> None:
        self.parameters = dict(parameters)
        self.scheme = scheme
        self.query = query
        self.password_command = password_command

    @property
    def driver(self) -> str:
        """The driver named in the URL, `""` where it names none."""
        return self.scheme.partition("+")[2]

    @property
    def password(self) -> str:
        return self.parameters.get("password", "")

    @property
    def place(self) -> tuple[str, str, str]:
        """Host, port and database: what two URLs must share to lead to the same place."""
        get = self.parameters.get
        return get("host", ""), get("port", "5432"), get("dbname", get("user", ""))

    def redacted(self) -> str:
        """For people: user, host, port and database, never a secret."""
        host, port, name = self.place
        user = self.parameters.get("user", "")
        return f"{self.scheme}://{user + '@' if user else ''}{host}:{port}/{name}"

    def at(self, other: Dsn) -> Dsn:
        """The same login at another server (around a pooler); other parts of the other URL win where given."""
        return Dsn(self.parameters | other.parameters, self.scheme, password_command=self.password_command)

    def asking(self, command: tuple[str, ...]) -> Dsn:
        """The same with a command for its password, which goes over one that is given."""
        return Dsn(_without(self.parameters, "password"), self.scheme, self.query, command)

    def is_login_of(self, other: Dsn, variables: Mapping[str, str]) -> bool:
        """True if both lead to the same place as the same user; what is left out is in libpq's PG* variables."""
        one, two = (_completed(dsn, variables) for dsn in (self, other))
        users = {dsn.parameters.get("user", "") for dsn in (one, two)} - {""}
        return _spread(one.place) == _spread(two.place) and len(users) < 2


def _without(parameters: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in parameters.items() if key != name}


def _completed(dsn: Dsn, variables: Mapping[str, str]) -> Dsn:
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER"}
    given = {key: variables[name] for key, name in names.items() if variables.get(name)}
    return Dsn(given | dsn.parameters)


def _spread(place: tuple[str, str, str]) -> tuple[str, str, str]:
    """With a port for each of several hosts."""
    hosts, ports = place[0].split(","), place[1].split(",")
    return place[0], ",".join(ports * len(hosts) if len(ports) == 1 else ports), place[2]


def parse(url: str) -> Dsn:
    """Parses `postgresql[+driver]://user:password@host:port/database?key=value` leniently, as SQLAlchemy does.

    Several hosts (`h1:5432,h2:5433`), IPv6 in brackets, sockets (`?host=/dir`) are understood. Raises `MalformedUrl`.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        raise MalformedUrl("it has no scheme: a database URL begins with postgresql://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise MalformedUrl(f"its scheme is {_safe(scheme)!r}: only PostgreSQL is supported (postgresql://…)")
    login, at, rest = _split_login(rest)
    rest, _, query = rest.partition("?")
    hosts, _, path = rest.partition("/")
    if "@" in hosts or "@" in path:  # what we take for host or database may be part of a password
        raise MalformedUrl("it has an unescaped @ or / in its password")
    parameters: dict[str, str] = {}
    if at:
        user, colon, password = login.partition(":")
        _put(parameters, "user", _unquote(user))
        if colon:
            _put(parameters, "password", _unquote(password))
    _put_hosts(parameters, hosts)
    _put(parameters, "dbname", _unquote(path))
    _put_query(parameters, query)
    return Dsn(parameters, scheme, query)


def _split_login(rest: str) -> tuple[str, bool, str]:
    """Login, whether there is one, and what follows its `@`.

    An unescaped `/` or `?` in a password is accepted, as SQLAlchemy does, and an unescaped `@` too.
    """
    at = rest.find("@")
    if at < 0 or ("/" in rest[:at] and ":" not in rest[: rest.find("/")]):
        return "", False, rest
    while "@" in (more := rest[at + 1 :].partition("/")[0].partition("?")[0]):
        at += 1 + more.find("@")
    return rest[:at], True, rest[at + 1 :]


def _put_hosts(parameters: dict[str, str], hosts: str) -> None:
    names, ports = [], []
    for entry in hosts.split(",") if hosts else ():
        name, port = _host_and_port(entry)
        names.append(_unquote(name))
        ports.append(port)
    if any(names):
        parameters["host"] = ",".join(names)
    if any(ports):
        parameters["port"] = ",".join(port or "5432" for port in ports)


def _host_and_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, bracket, port = entry[1:].partition("]")
        if not bracket:
            raise MalformedUrl("an IPv6 host lacks its closing bracket")
        port = port.removeprefix(":")
    else:
        name, _, port = entry.partition(":")
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise MalformedUrl("its port is not a number from 1 to 65535")
    return name, port


def _put_query(parameters: dict[str, str], query: str) -> None:
    for pair in query.split("&") if query else ():
        key, equals, value = pair.partition("=")
        key = _QUERY_TO_LIBPQ.get(key, key)
        if not equals or key not in _LIBPQ:
            continue  # an option of the project's own driver
        value = _unquote(value.replace("+", " "))
        if key == "sslmode":
            value = _SSL_WORDS.get(value.lower(), value)
        if key == "host" and parameters.get("host") and "host=" in query:
            _add_host(parameters, value)
        elif key == "host":
            _put_hosts(parameters, value) if not value.startswith("/") else _put(parameters, key, value)
        else:
            _put(parameters, key, value)


def _add_host(parameters: dict[str, str], value: str) -> None:
    """`?host=a:5432&host=b:5432`, SQLAlchemy's own spelling of several hosts."""
    name, port = _host_and_port(value)
    ports = parameters.get("port", "5432").split(",")
    parameters["host"] += f",{name}"
    parameters["port"] = ",".join([*ports, port or "5432"])


def _put(parameters: dict[str, str], key: str, value: str) -> None:
    if value:
        parameters[key] = value


def _unquote(text: str) -> str:
    """Percent-decoding; a `%` that starts no escape stays (people forget to escape it). urllib costs 10 ms."""
    if "%" not in text:
        return text
    head, *parts = text.encode().split(b"%")
    decoded = [head]
    for part in parts:
        try:
            decoded.append(bytes([int(part[:2].decode("ascii"), 16)]) + part[2:] if len(part) >= 2 else b"%" + part)
        except ValueError:
            decoded.append(b"%" + part)
    return b"".join(decoded).decode("utf-8", "replace")


def _safe(text: str) -> str:
    return text[:20] if text.replace("+", "").replace("_", "").isalnum() else "…"


def quote(text: str) -> str:
    """Percent-encoding for a URL's user, password or database."""
    from urllib.parse import quote as encode

    return encode(text, safe="")


def sqlalchemy_url(dsn: Dsn, scheme: str) -> str:
    """The URL for SQLAlchemy: several hosts as `?host=a:1&host=b:2`, which its own parser understands."""
    parameters = dict(dsn.parameters)
    login = quote(parameters.pop("user", ""))
    if "password" in parameters:
        login += ":" + quote(parameters.pop("password"))
    hosts = parameters.pop("host", "").split(",")
    ports = parameters.pop("port", "").split(",")
    name = quote(parameters.pop("dbname", ""))
    query = [pair for pair in dsn.query.split("&") if pair and pair.partition("=")[0] not in ("host", "port")]
    if len(hosts) > 1:
        ports = ports if len(ports) == len(hosts) else [ports[0] or "5432"] * len(hosts)
        query += [f"host={quote(host)}:{port}" for host, port in zip(hosts, ports, strict=True)]
        place = ""
    elif hosts[0].startswith("/"):
        query += [f"host={quote(hosts[0])}"] + ([f"port={ports[0]}"] if ports[0] else [])
        place = ""
    else:
        place = (f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]) + (f":{ports[0]}" if ports[0] else "")
    return f"{scheme}://{login + '@' if login else ''}{place}/{name}" + ("?" + "&".join(query) if query else "")
