"""Client-side encryption of archives by age (github.com/FiloSottile/age), through pyrage, as they flow by.

What is encrypted can be decrypted without us: `age --decrypt -i key.txt NAME.dump.age | pg_restore …`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from alembic_job.errors import BackupNotProven, SettingsError

AGE = "age"
SUFFIX = ".age"
_WRONG = "No matching keys found"


class _Reader:
    """Pieces as the file that pyrage reads; keeps what was raised, because pyrage would make a text of it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), memoryview(b"")
        self.failure: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except BaseException as error:
            self.failure = error
            raise
        part = self._rest[:size] if size >= 0 else self._rest
        self._rest = self._rest[len(part) :]
        return bytes(part)


class _Writer:
    """The file that pyrage writes."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.failure: BaseException | None = None

    def write(self, piece: bytes) -> int:
        try:
            self._write(piece)
        except BaseException as error:
            self.failure = error
            raise
        return len(piece)

    def flush(self) -> None:
        pass


class _Failed(Exception):
    """What pyrage itself says."""


def encrypt(pieces: Iterable[bytes], write: Callable[[bytes], None], recipients: Sequence[str]) -> None:
    """Writes the pieces encrypted to each of the recipients. Raises what `pieces` and `write` raise."""
    _flow(_library().encrypt_io, pieces, write, _recipients(recipients))


def decrypt(pieces: Iterable[bytes], write: Callable[[bytes], None], identity: str) -> None:
    """Writes the pieces decrypted. Raises `SettingsError` for another's, `BackupNotProven` for damaged ones."""
    try:
        _flow(_library().decrypt_io, pieces, write, _identities(identity))
    except _Failed as error:
        if _WRONG in str(error):
            raise wrong_identity() from error
        raise BackupNotProven(f"the archive cannot be decrypted, it is damaged: {error}") from error


def _flow(
    program: Callable[[Any, Any, Any], None], pieces: Iterable[bytes], write: Callable[[bytes], None], keys: list[Any]
) -> None:
    reader, writer = _Reader(pieces), _Writer(write)
    try:
        program(reader, writer, keys)
    except Exception as error:
        if failure := reader.failure or writer.failure:
            raise failure from None
        raise _Failed(str(error)) from error


def check(recipients: Sequence[str]) -> None:
    """Raises `SettingsError` if one of them is none."""
    _recipients(recipients)


def opens(identity: str, recipients: Sequence[str]) -> bool:
    """True if one of the identities in the text belongs to one of the recipients. Raises `SettingsError`."""
    return any(str(each.to_public()) in recipients for each in _identities(identity))


def wrong_identity() -> SettingsError:
    return SettingsError(
        "the archive is encrypted to others than the identity in MIGRATE_BACKUP_IDENTITY",
        hint="give the identity that belongs to one of the recipients in its manifest",
    )


def _recipients(texts: Sequence[str]) -> list[Any]:
    age = _library()
    found = []
    for text in texts:
        try:
            found.append(age.x25519.Recipient.from_str(text))
        except age.RecipientError as error:
            shown = text if text.startswith("age1") else "what is given"  # it might be an identity
            raise SettingsError(
                f"MIGRATE_BACKUP_ENCRYPT_TO: {shown} is no recipient of age: {error}",
                hint="give what age-keygen calls the public key, age1…",
            ) from None
    return found


def _identities(text: str) -> list[Any]:
    """The identities in a text as age-keygen writes it. Raises `SettingsError`, which does not repeat them."""
    age = _library()
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        if lines:
            return [age.x25519.Identity.from_str(line) for line in lines]
        reason = "it is empty"
    except age.IdentityError as error:
        reason = str(error)
    raise SettingsError(
        f"MIGRATE_BACKUP_IDENTITY holds no identity of age: {reason}",
        hint="give what age-keygen writes, AGE-SECRET-KEY-1…; MIGRATE_BACKUP_IDENTITY_FILE names a file with it",
    )


def _library() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise SettingsError(
            "encrypted backups need the package pyrage", hint="pip install 'alembic-job[age]'"
        ) from error
    return pyrage
