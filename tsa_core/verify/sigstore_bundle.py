"""The RFC 3161 timestamps in a Sigstore bundle, and the signature that they are about.

The document is the JSON of the message dev.sigstore.bundle.v1.Bundle. Nothing else of it is read or verified: neither
the signature itself nor its certificate nor transparency logs.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from tsa_core.values import Value
from tsa_core.verify.errors import MalformedTimestamp

MAX_TIMESTAMPS: Final = 32
_MAX_OCTETS: Final = 64 << 20
_TYPE: Final = "application/vnd.dev.sigstore.bundle"
_CONTENTS: Final = frozenset({"messageSignature", "dsseEnvelope", "message_signature", "dsse_envelope"})
"""The kinds of what is signed, of which a bundle has one; the JSON of Protocol Buffers knows each by two names."""


class SigstoreBundle(Value):
    """`signature` are the octets whose digest each of the `timestamps`, DER replies, holds."""

    signature: bytes
    timestamps: tuple[bytes, ...]


def read_bundle(data: bytes) -> SigstoreBundle:
    """Return the timestamps of a bundle; raises MalformedTimestamp when it cannot be read or has none."""
    if len(data) > _MAX_OCTETS:
        raise _unreadable("it is too large")
    try:
        document = json.loads(data, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise _unreadable("it is not JSON") from None
    if not isinstance(document, dict) or not str(document.get("mediaType")).startswith(_TYPE):
        raise _unreadable(f"its mediaType does not begin with {_TYPE}")
    entries = _at(document, "verificationMaterial", "timestampVerificationData", "rfc3161Timestamps")
    if not isinstance(entries, list) or not entries:
        raise _unreadable("it holds no RFC 3161 timestamp")
    if len(entries) > MAX_TIMESTAMPS:
        raise _unreadable(f"it holds more than {MAX_TIMESTAMPS} timestamps")
    timestamps = [_octets(_at(entry, "signedTimestamp"), "a signedTimestamp") for entry in entries]
    return SigstoreBundle(signature=_signature(document), timestamps=tuple(timestamps))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raises MalformedTimestamp for two fields of one name, of which readers differ."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _unreadable("it has an object with two fields of one name")
    return found


def _signature(document: dict[str, Any]) -> bytes:
    if len(_CONTENTS & document.keys()) > 1:
        raise _unreadable("it has two signatures, of which each reader may take another")
    if "messageSignature" in document:
        return _octets(_at(document, "messageSignature", "signature"), "messageSignature.signature")
    signatures = _at(document, "dsseEnvelope", "signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise _unreadable("it has neither a messageSignature nor a dsseEnvelope with one signature")
    return _octets(_at(signatures[0], "sig"), "the signature of dsseEnvelope")


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _octets(text: Any, what: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        octets = b""
    if not octets:
        raise _unreadable(f"{what} is not base64")
    return octets


def _unreadable(reason: str) -> MalformedTimestamp:
    return MalformedTimestamp(f"the bundle cannot be read: {reason}")
