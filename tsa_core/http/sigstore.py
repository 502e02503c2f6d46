"""The Sigstore Timestamp Authority's JSON: its request format and its error messages."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from typing import Any

from tsa_core.api import PKIFailureInfo, RequestRejected
from tsa_core.protocol import der
from tsa_core.protocol.errors import DigestLengthMismatch, EncodingError, WeakHash
from tsa_core.protocol.hashes import SHA256, SHA384, SHA512
from tsa_core.protocol.request import MAX_NONCE_OCTETS, TimeStampReq, read_request

MAX_JSON_OCTETS = 1024
"""A longer body is refused before it is parsed: the time to read a decimal nonce is quadratic in its length."""

UNDECODABLE = "Error generating timestamp response"
WEAK_HASH = "Weak hash algorithm in timestamp request"
TOO_LARGE = "timestamp request is too large"
TOO_MANY_ARCS = "OID should be comprised of at most 128 components"

_HASHES = {h.name: h for h in (SHA256, SHA384, SHA512)}
_URL_SAFE = str.maketrans("-_", "+/")
_FIELDS = frozenset({"artifacthash", "certificates", "hashalgorithm", "nonce", "tsapolicyoid"})


class JsonRequestError(Exception):
    """A JSON request is invalid; the text is the Sigstore Timestamp Authority's message."""

    @property
    def rejection(self) -> RequestRejected:
        """The rejection of a DER request with the same fault."""
        failure = PKIFailureInfo.BAD_ALG if str(self) == WEAK_HASH else PKIFailureInfo.BAD_DATA_FORMAT
        return RequestRejected(failure, str(self))


def read_json_request(body: bytes) -> TimeStampReq:
    """Return the TimeStampReq of a JSON body; raises JsonRequestError.

    As in Go, keys match regardless of case, and unknown keys are ignored. The authority checks the digest's length.
    """
    if len(body) > MAX_JSON_OCTETS:
        raise JsonRequestError(TOO_LARGE)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise JsonRequestError(UNDECODABLE) from None
    if not isinstance(document, dict):
        raise JsonRequestError(UNDECODABLE)
    fields = {key.lower(): value for key, value in document.items() if key.lower() in _FIELDS and value is not None}
    hash_name = str(fields.get("hashalgorithm", "")).lower().replace("-", "")
    if hash_name == "sha1":
        raise JsonRequestError(WEAK_HASH)
    algorithm = _HASHES.get(hash_name)
    nonce = fields.get("nonce")
    certificates = fields.get("certificates", False)
    if algorithm is None or not isinstance(certificates, bool) or type(nonce) not in {int, type(None)}:
        raise JsonRequestError(UNDECODABLE)
    encoded = der.sequence(
        der.integer(1),
        der.sequence(
            der.sequence(algorithm.oid_der, der.null()), der.octet_string(_decode_hash(fields.get("artifacthash")))
        ),
        _encode_policy(fields.get("tsapolicyoid")),
        b"" if nonce is None else _encode_nonce(nonce),
        der.boolean(True) if certificates else b"",
    )
    try:
        return read_request(encoded)
    except RequestRejected:
        raise JsonRequestError(UNDECODABLE) from None


def _decode_hash(value: Any) -> bytes:
    """Decode base64 in the standard alphabet, the URL-safe one or a mixture, padded or not; absent means empty."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise JsonRequestError(UNDECODABLE)
    text = value.translate(_URL_SAFE).rstrip("=")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise JsonRequestError(UNDECODABLE) from None


def _encode_policy(value: Any) -> bytes:
    if value is None or value == "":
        return b""
    if not isinstance(value, str):
        raise JsonRequestError(UNDECODABLE)
    if value.count(".") >= der.MAX_OID_ARCS:
        raise JsonRequestError(TOO_MANY_ARCS)
    try:
        return der.oid(value)
    except EncodingError:
        raise JsonRequestError(UNDECODABLE) from None


def _encode_nonce(value: int) -> bytes:
    if value.bit_length() > 8 * MAX_NONCE_OCTETS:
        raise JsonRequestError(UNDECODABLE)
    return der.integer(value)


def error_message(rejection: RequestRejected) -> tuple[int, str]:
    """Return the HTTP status and message of the Sigstore Timestamp Authority for a rejection."""
    if isinstance(rejection, DigestLengthMismatch):
        return 400, "Message digest has incorrect length for specified algorithm"
    if isinstance(rejection, WeakHash):
        return 400, WEAK_HASH
    match rejection.failure:
        case PKIFailureInfo.UNACCEPTED_POLICY:
            return 400, "unaccepted policy: requested TSA policy is not supported by the TSA"
        case PKIFailureInfo.UNACCEPTED_EXTENSION:
            return 400, "unaccepted extension: requested extensions are not supported by the TSA"
        case PKIFailureInfo.SYSTEM_FAILURE | PKIFailureInfo.TIME_NOT_AVAILABLE:
            return 503, UNDECODABLE
        case _:
            return 400, UNDECODABLE
