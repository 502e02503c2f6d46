"""A protocol as a file: JSON, whose content is signed by the key that it is about and stamped by another authority.

    {"format": "tsa-core key ceremony 1",
     "content": {...},
     "signature": {"scheme": "ecdsa", "digest": "sha256", "value": "BASE64"},
     "timestamp": {"url": "https://...", "reply": "BASE64"}}

The signature is over the line of `format`, a line feed, and the content as JSON in ASCII with sorted names and without
spaces. The timestamp is over the same octets with the signature behind the content. An octet `t` comes first, so that
what is signed can never be the signed attributes of a timestamp, whose first octet is 0x31.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tsa_core.api import PublicKey, Signer, SignerError, TsaError, UnsupportedKey, signature_algorithm
from tsa_core.protocol.signatures import key_fingerprint, public_key_info

FORMAT: Final = "tsa-core key ceremony 1"
MAX_OCTETS: Final = 4 * 1_048_576
MADE, TAKEN, DESTROYED = "made", "taken", "destroyed"
"""What became of the key: made in this ceremony, made elsewhere and taken into this protocol, or destroyed."""


class BrokenProtocolError(TsaError):
    """A file that is no protocol, or whose signature does not fit."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """How the key signed; `scheme` and `digest` are those of `tsa_core.api.SignatureAlgorithm`."""

    scheme: str
    digest: str
    value: bytes


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is in the file. `content` holds texts, lists and objects alone."""

    content: dict[str, Any]
    signature: Signature | None = None
    timestamp: tuple[str, bytes] | None = None
    """Address of the authority and DER of its TimeStampResp."""

    def signed_octets(self) -> bytes:
        """Return what the key signs."""
        return f"{FORMAT}\n{_canonical(self.content)}".encode("ascii")

    def stamped_octets(self) -> bytes:
        """Return what the other authority stamps: the content and the signature."""
        return f"{FORMAT}\n{_canonical({'content': self.content, **self._signature_fields()})}".encode("ascii")

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of `stamped_octets`, by which the audit trail names the protocol."""
        return hashlib.sha256(self.stamped_octets()).hexdigest()

    def signed(self, signer: Signer, *, timeout: float) -> Protocol:
        """Return the protocol with the signer's signature, which is verified; raises SignerError."""
        octets = self.signed_octets()
        value = signer.sign(octets, timeout=timeout)
        if not signer.algorithm.is_valid(signer.public_key, value, octets):
            raise SignerError("the key's signature of the protocol does not verify with its public key")
        algorithm = signer.algorithm
        return replace(self, signature=Signature(scheme=algorithm.scheme, digest=algorithm.digest.name, value=value))

    def public_key(self) -> PublicKey:
        """Return the key that the protocol is about; raises BrokenProtocolError."""
        try:
            found = load_der_public_key(base64.b64decode(self.content["key"]["public_key"], validate=True))
        except (KeyError, TypeError, ValueError, binascii.Error, UnsupportedAlgorithm):
            raise BrokenProtocolError("it has no public key that can be read") from None
        if not isinstance(found, PublicKey):
            raise BrokenProtocolError("its public key is of a kind that signs no timestamps")
        if self.content["key"].get("sha256") != key_fingerprint(found):
            raise BrokenProtocolError("the fingerprint that it states is not that of its public key")
        return found

    def check_signature(self) -> None:
        """Raise BrokenProtocolError unless the signature is one of the content by the key that it is about."""
        if self.signature is None:
            raise BrokenProtocolError("it is not signed")
        public_key = self.public_key()
        signature = self.signature
        try:
            algorithm = signature_algorithm(public_key, digest=signature.digest, pss=signature.scheme == "rsa-pss")
        except UnsupportedKey as error:
            try:  # a key with one digest of its own
                algorithm = signature_algorithm(public_key)
            except UnsupportedKey:
                raise BrokenProtocolError(str(error)) from None
        named = (algorithm.scheme, algorithm.digest.name) == (signature.scheme, signature.digest)
        if not named or not algorithm.is_valid(public_key, signature.value, self.signed_octets()):
            raise BrokenProtocolError("its signature does not fit: the protocol is not what the key signed")

    def to_json(self) -> bytes:
        """Return the file."""
        document: dict[str, Any] = {"format": FORMAT, "content": self.content, **self._signature_fields()}
        if self.timestamp is not None:
            document["timestamp"] = {"url": self.timestamp[0], "reply": _base64(self.timestamp[1])}
        return f"{json.dumps(document, indent=1)}\n".encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Protocol:
        """Return the protocol of a file; raises BrokenProtocolError for anything else. Nothing is verified."""
        try:
            document = json.loads(data, parse_float=_refuse, parse_constant=_refuse, object_pairs_hook=_object)
            if document["format"] != FORMAT:
                raise BrokenProtocolError("it is no protocol of a key ceremony, or of another version")
            content, signature, timestamp = (document.get(name) for name in ("content", "signature", "timestamp"))
            if not isinstance(content, dict) or set(document) - {"format", "content", "signature", "timestamp"}:
                raise BrokenProtocolError("it has no content, or more than a protocol has")
            return cls(
                content=content,
                signature=None
                if signature is None
                else Signature(
                    scheme=str(signature["scheme"]),
                    digest=str(signature["digest"]),
                    value=base64.b64decode(signature["value"], validate=True),
                ),
                timestamp=None
                if timestamp is None
                else (str(timestamp["url"]), base64.b64decode(timestamp["reply"], validate=True)),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
            raise BrokenProtocolError("it is no protocol of a key ceremony") from None

    def _signature_fields(self) -> dict[str, Any]:
        if (signature := self.signature) is None:
            return {}
        fields = {"scheme": signature.scheme, "digest": signature.digest, "value": _base64(signature.value)}
        return {"signature": fields}


def key_fields(public_key: PublicKey) -> dict[str, str]:
    """Return what identifies a key in a protocol: its SubjectPublicKeyInfo, and the SHA-256 of that."""
    return {"public_key": _base64(public_key_info(public_key)), "sha256": key_fingerprint(public_key)}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of one that has a name twice, two readers would make two things."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(text: str) -> object:
    raise ValueError(text)
