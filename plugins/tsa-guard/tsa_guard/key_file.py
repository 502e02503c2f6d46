"""The file of API keys: one JSON object in a line for each key, with its hash and never the key itself.

A key is `tsak_ID_SECRET`. The identifier is public, and finds the key among a hundred thousand in the time of one. The
secret has 256 random bits, so one SHA-256 protects it: there is nothing to guess that a slow hash would make slower.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tsa_core.api import ConfigError, Identity, read_file, replace_file

PREFIX: Final = "tsak_"
_KEY: Final = re.compile(r"tsak_([a-z0-9]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_ID_LETTERS: Final = "abcdefghijkmnopqrstuvwxyz23456789"
_MODE: Final = 0o640
_MAX_OCTETS: Final = 256 * 1_048_576


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """What is kept of a key. `sha256` is that of the whole text, times are ISO 8601 in UTC."""

    id: str
    sha256: str
    name: str
    tenant: str = ""
    created: str = ""
    expires: str = ""
    revoked: str = ""

    def __post_init__(self) -> None:
        """Check what whoever edits the file may get wrong; raises ValueError."""
        if not re.fullmatch(r"[a-z0-9]{12}", self.id) or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("its id or its sha256 is none")
        Identity(name=self.name, tenant=self.tenant)
        for text in (self.created, self.expires, self.revoked):
            if text and datetime.fromisoformat(text).tzinfo is None:
                raise ValueError(f"the time {text} has no zone")

    def state(self, now: datetime) -> str:
        """Return `valid`, `revoked` or `expired`."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and datetime.fromisoformat(self.expires) <= now else "valid"


def key_id(text: str) -> str | None:
    """Return the identifier in a key's text, None when it is no key."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def digest_of(text: str) -> str:
    """Return what is kept of a key's text."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def matches(key: ApiKey, text: str) -> bool:
    """Say whether this is the text of the key, in a time that tells nothing."""
    return hmac.compare_digest(digest_of(text), key.sha256)


def new_key(*, name: str, tenant: str = "", expires: datetime | None = None) -> tuple[str, ApiKey]:
    """Return the text of a new key, which is shown once, and what is kept of it; raises ValueError for a bad name."""
    identifier = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
    text = f"{PREFIX}{identifier}_{secrets.token_urlsafe(32)}"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    kept = ApiKey(
        id=identifier,
        sha256=digest_of(text),
        name=name,
        tenant=tenant,
        created=now,
        expires=expires.isoformat(timespec="seconds") if expires else "",
    )
    return text, kept


def read_keys(path: Path) -> dict[str, ApiKey]:
    """Return the keys by identifier; raises ConfigError, with the line, for a file that cannot be used."""
    if not path.exists():
        raise ConfigError("there is no such file; `timestamp-server keys new` makes it", path=str(path))
    return _parse(read_file(path, "file of API keys", limit=_MAX_OCTETS).splitlines(), path)


def _parse(lines: Iterable[bytes], path: Path) -> dict[str, ApiKey]:
    keys: dict[str, ApiKey] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            key = ApiKey(**fields)
        except (ValueError, TypeError, RecursionError) as error:
            said = str(error).replace("ApiKey.__init__() ", "")
            raise ConfigError(f"line {number} is no key: {said}", path=str(path)) from None
        if key.id in keys:
            raise ConfigError(f"line {number}: the id {key.id} stands there twice", path=str(path))
        keys[key.id] = key
    return keys


@contextmanager
def changed_keys(path: Path) -> Iterator[dict[str, ApiKey]]:
    """Yield the keys to change, and put the changed file in place of the old one; raises ConfigError.

    One process at a time; a reader sees the old file or the new one.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise ConfigError(f"the keys cannot be changed: {error.strerror or error}", path=str(path)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read_keys(path) if path.exists() else {}
        before = dict(keys)
        yield keys
        if keys != before:
            _write(path, keys)
    finally:
        os.close(lock)


def _write(path: Path, keys: Mapping[str, ApiKey]) -> None:
    present = ({name: text for name, text in asdict(key).items() if text} for key in keys.values())
    lines = (json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n" for fields in present)
    try:
        old = path.stat() if path.exists() else path.parent.stat()
        # Whatever the umask: root makes keys, and the server's group reads them.
        mode = (old.st_mode & 0o777) if path.exists() else _MODE
        owner = (old.st_uid, old.st_gid) if os.geteuid() == 0 else None
        replace_file(path, lines, mode=mode, owner=owner)
    except OSError as error:
        raise ConfigError(f"the keys cannot be written: {error.strerror or error}", path=str(path)) from None


def revoked(key: ApiKey) -> ApiKey:
    """Return the key as it is once revoked."""
    return replace(key, revoked=datetime.now(UTC).isoformat(timespec="seconds"))
