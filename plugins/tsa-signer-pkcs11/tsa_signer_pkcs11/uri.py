"""Reads PKCS#11 URIs (RFC 7512)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from pydantic import SecretStr

from tsa_core.api import ConfigError, read_file

_PATH: Final = ("token", "serial", "manufacturer", "model", "slot-id", "object", "id", "type")
_QUERY: Final = ("module-path", "pin-source", "pin-value")
_MAX_PIN_OCTETS: Final = 4096
_EXAMPLE: Final = "pkcs11:token=TSA;object=tsa-2026"


@dataclass(frozen=True, kw_only=True)
class KeyUri:
    """What a PKCS#11 URI says; None for what it leaves open."""

    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None
    object: str | None = None
    """CKA_LABEL of the private key."""
    id: bytes | None = None
    """CKA_ID of the private key."""
    module_path: Path | None = None
    pin_source: Path | None = None
    pin_value: SecretStr | None = field(default=None, repr=False)

    @property
    def key_text(self) -> str:
        """How messages name the key."""
        parts = [f"label {self.object!r}"] if self.object is not None else []
        parts += [f"id {self.id.hex()}"] if self.id is not None else []
        return " and ".join(parts) or "any name"

    @property
    def token_text(self) -> str:
        """How messages name the token."""
        wanted = (
            ("label", self.token),
            ("serial", self.serial),
            ("manufacturer", self.manufacturer),
            ("model", self.model),
            ("slot", self.slot_id),
        )
        return " and ".join(f"{name} {value!r}" for name, value in wanted if value is not None) or "any name"

    def pin(self) -> SecretStr | None:
        """Return the PIN that the URI gives; raises ConfigError when its file cannot be read."""
        if self.pin_source is None:
            return self.pin_value
        data = read_file(self.pin_source, "PIN", limit=_MAX_PIN_OCTETS, private=True)
        try:
            return SecretStr(data.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError:
            raise ConfigError("the PIN's file is not UTF-8 text", path=str(self.pin_source)) from None


def read_key_uri(text: str) -> KeyUri:
    """Return what the URI says; raises ConfigError for one that is malformed or asks for what is not supported.

    An attribute that is not understood is refused and never passed over: it could have meant another key.
    """
    scheme, separator, rest = text.partition(":")
    if scheme.lower() != "pkcs11" or not separator:
        raise ConfigError(f"the key URI must begin with pkcs11:, for example {_EXAMPLE}")
    path, _, query = rest.partition("?")
    found = {
        **dict(_attributes(path, separator=";", known=_PATH, kind="path")),
        **dict(_attributes(query, separator="&", known=_QUERY, kind="query")),
    }
    if found.get("type", "private") != "private":
        raise ConfigError(f"the key URI asks for type={found['type']}; only type=private can sign")
    if "pin-source" in found and "pin-value" in found:
        raise ConfigError("the key URI has both pin-source and pin-value; give one")
    return KeyUri(
        token=_text(found, "token"),
        serial=_text(found, "serial"),
        manufacturer=_text(found, "manufacturer"),
        model=_text(found, "model"),
        slot_id=_slot(found.get("slot-id")),
        object=_text(found, "object"),
        id=unquote_to_bytes(found["id"]) if "id" in found else None,
        module_path=_file(found, "module-path"),
        pin_source=_file(found, "pin-source"),
        pin_value=SecretStr(unquote(found["pin-value"])) if "pin-value" in found else None,
    )


def _attributes(text: str, *, separator: str, known: tuple[str, ...], kind: str) -> Iterator[tuple[str, str]]:
    """Yield names and still encoded values; the values of a PIN never reach a message."""
    seen: set[str] = set()
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if name not in known or not equals:
            # What follows a stray & may be the rest of a PIN, so a query is not quoted.
            shown = repr(name[:40]) if kind == "path" else "an attribute"
            raise ConfigError(
                f"the key URI's {kind} has {shown}, which is not understood; known there: {', '.join(known)}. "
                f"Write {separator} between attributes, and % and two digits for characters that have a meaning"
            )
        if name in seen:
            raise ConfigError(f"the key URI says {name} twice")
        seen.add(name)
        yield name, value


def _text(found: dict[str, str], name: str) -> str | None:
    if name not in found:
        return None
    try:
        return unquote(found[name], errors="strict")
    except UnicodeDecodeError:
        raise ConfigError(f"the key URI's {name} is not UTF-8 text") from None


def _slot(value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 20:
        raise ConfigError(f"the key URI's slot-id {value[:40]!r} is not a decimal number")
    return int(value)


def _file(found: dict[str, str], name: str) -> Path | None:
    """Return an absolute path that stands there plainly or as a file: URI."""
    text = _text(found, name)
    if text is None:
        return None
    plain = text.removeprefix("file:")
    if plain.startswith("//"):
        plain = "/" + plain.removeprefix("//localhost").lstrip("/") if plain.startswith(("///", "//localhost/")) else ""
    if not plain.startswith("/"):
        raise ConfigError(f"the key URI's {name} must be an absolute path, /PATH or file:///PATH; no program is run")
    return Path(plain)
