"""Sigstore's TrustedRoot: timestamp authorities, and when each was to be trusted.

The document is the JSON of the message dev.sigstore.trustroot.v1.TrustedRoot; only its `timestampAuthorities` are read.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509

from tsa_core.paths.certificate import load_certificate
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.protocol.errors import EncodingError
from tsa_core.verify.errors import PathError
from tsa_core.verify.trusted_authority import TrustedAuthority

MEDIA_TYPES: Final = (
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
)
_MAX_OCTETS: Final = 4 << 20
_MAX_AUTHORITIES: Final = 256
_MAX_CERTIFICATES: Final = 16


def read_trusted_root(data: bytes) -> list[TrustedAuthority]:
    """Return whom a TrustedRoot trusts for timestamps; raises PathError when it cannot be read or trusts nobody."""
    document = _document(data)
    authorities = document.get("timestampAuthorities")
    if authorities is None:
        authorities = []
    if not isinstance(authorities, list) or len(authorities) > _MAX_AUTHORITIES:
        raise _unreadable("timestampAuthorities is not a list of at most 256")
    if not authorities:
        raise PathError("the trusted root names no timestamp authority, so nothing can be trusted")
    return [_authority(entry, f"timestampAuthorities[{number}]") for number, entry in enumerate(authorities)]


def _document(data: bytes) -> Mapping[str, Any]:
    if len(data) > _MAX_OCTETS:
        raise _unreadable(f"it has more than {_MAX_OCTETS} bytes")
    try:
        document = json.loads(data, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise _unreadable("it is not JSON") from None
    if not isinstance(document, dict) or document.get("mediaType") not in MEDIA_TYPES:
        raise _unreadable(f"its mediaType is none of {' and '.join(MEDIA_TYPES)}")
    return document


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises PathError for two fields of one name, of which readers differ."""
    found = dict(pairs)
    if len(found) != len(pairs) or ("validFor" in found and "valid_for" in found):
        raise _unreadable("it has an object with two fields of one name")
    return found


def _authority(entry: object, place: str) -> TrustedAuthority:
    chain = _field(entry, "certChain", dict, place)
    encoded = _field(chain, "certificates", list, f"{place}.certChain")
    if not 1 <= len(encoded) <= _MAX_CERTIFICATES:
        raise _unreadable(f"{place} has {len(encoded)} certificates")
    certificates = [_certificate(each, place) for each in encoded]
    # The JSON of Protocol Buffers knows each field by two names, and a window that is not read is none.
    window = entry.get("validFor", entry.get("valid_for")) if isinstance(entry, dict) else None
    if window is None:  # which is what JSON has for a field that is absent
        window = {}
    if isinstance(window, dict) and (unknown := window.keys() - {"start", "end"}):
        # An end under another name would be none.
        raise _unreadable(f"{place}.validFor has {min(unknown)!r:.40}, and may have start and end")
    if not isinstance(window, dict):
        raise _unreadable(f"{place}.validFor is not an object")
    signer = None if len(certificates) == 1 or _is_ca(certificates[0]) else certificates[0]
    return TrustedAuthority(
        root=certificates[-1],
        signer=signer,
        intermediates=tuple(certificates[1 if signer is not None else 0 : -1]),
        trusted_from=_time(window.get("start"), f"{place}.validFor.start"),
        trusted_until=_time(window.get("end"), f"{place}.validFor.end"),
    )


def _field(entry: object, name: str, kind: type, place: str) -> Any:
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise _unreadable(f"{place} has no {name}")
    return value


def _certificate(entry: object, place: str) -> x509.Certificate:
    text = _field(entry, "rawBytes", str, place)
    try:
        return load_certificate(base64.b64decode(text, validate=True))
    except (binascii.Error, EncodingError, *PARSING_ERRORS) as error:
        raise _unreadable(f"a certificate of {place} cannot be read: {error}") from None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *PARSING_ERRORS):
        return False


def _time(text: object, place: str) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise _unreadable(f"{place} is not a time of RFC 3339 with its offset from UTC")
    return time.astimezone(UTC)


def _unreadable(reason: str) -> PathError:
    return PathError(f"the trusted root cannot be read: {reason}")
