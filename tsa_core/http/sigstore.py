"""The Sigstore Timestamp Authority's JSON: its request format and its error messages."""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from typing import Any, NoReturn

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
"""Of every policy that is no sequence of numbers, too."""
LENGTH = "Message digest has incorrect length for specified algorithm"
POLICY = "unaccepted policy: requested TSA policy is not supported by the TSA"
EXTENSION = "unaccepted extension: requested extensions are not supported by the TSA"

_HASHES = {h.name: h for h in (SHA256, SHA384, SHA512)}
_PLAIN_BASE64 = str.maketrans("-_", "+/", "\r\n")
"""The URL-safe alphabet becomes the standard one; line breaks mean nothing, as in Go."""
_MAX_DOTS = 128
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_FIELDS = frozenset({"artifacthash", "certificates", "hashalgorithm", "nonce", "tsapolicyoid"})


class JsonRequestError(Exception):
    """A JSON request is invalid; the text is the Sigstore Timestamp Authority's message."""

    @property
    def rejection(self) -> RequestRejected:
        """The rejection of a DER request with the same fault."""
        failures = {WEAK_HASH: PKIFailureInfo.BAD_ALG, POLICY: PKIFailureInfo.UNACCEPTED_POLICY}
        return RequestRejected(failures.get(str(self), PKIFailureInfo.BAD_DATA_FORMAT), str(self))


def read_json_request(body: bytes) -> TimeStampReq:
    """Return the TimeStampReq of a JSON body; raises JsonRequestError.

    As in Go, keys match regardless of case, unknown keys are ignored, and octets that are not UTF-8 matter only where
    they are read. The authority checks the digest's length.
    """
    if len(body) > MAX_JSON_OCTETS:
        raise JsonRequestError(TOO_LARGE)
    try:
        document = json.loads(body.decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise JsonRequestError(UNDECODABLE) from None
    if not isinstance(document, dict):
        raise JsonRequestError(UNDECODABLE)
    fields = {key.lower(): value for key, value in document.items() if key.lower() in _FIELDS and value is not None}
    nonce = fields.get("nonce")
    certificates = fields.get("certificates", False)
    if not isinstance(certificates, bool) or type(nonce) not in {int, type(None)}:
        raise JsonRequestError(UNDECODABLE)
    hash_name = str(fields.get("hashalgorithm", "")).lower().replace("-", "")
    if hash_name == "sha1":
        raise JsonRequestError(WEAK_HASH)
    algorithm = _HASHES.get(hash_name)
    if algorithm is None:
        raise JsonRequestError(UNDECODABLE)
    policy = _encode_policy(fields.get("tsapolicyoid"))
    digest = _decode_hash(fields.get("artifacthash"))
    if policy is None:
        raise JsonRequestError(POLICY if len(digest) == algorithm.digest_size else LENGTH)
    encoded = der.sequence(
        der.integer(1),
        der.sequence(
            der.sequence(algorithm.oid_der, der.null()),
            der.octet_string(digest),
        ),
        policy,
        b"" if nonce is None else _encode_nonce(nonce),
        der.boolean(True) if certificates else b"",
    )
    try:
        return read_request(encoded)
    except RequestRejected:
        raise JsonRequestError(UNDECODABLE) from None


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("JSON has no NaN and no Infinity")


def _decode_hash(value: Any) -> bytes:
    """Decode base64 in the standard alphabet, the URL-safe one or a mixture, padded or not; absent means empty."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise JsonRequestError(UNDECODABLE)
    text = value.translate(_PLAIN_BASE64).rstrip("=")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise JsonRequestError(UNDECODABLE) from None


def _encode_policy(value: Any) -> bytes | None:
    """Return the identifier, empty when there is none, None for numbers that make no identifier."""
    if value is None or value == "":
        return b""
    if not isinstance(value, str):
        raise JsonRequestError(UNDECODABLE)
    if value.count(".") > _MAX_DOTS or not all(map(_NUMBER.fullmatch, value.split("."))):
        raise JsonRequestError(TOO_MANY_ARCS)
    try:
        return der.oid(value)
    except EncodingError:
        return None


def _encode_nonce(value: int) -> bytes:
    if value.bit_length() > 8 * MAX_NONCE_OCTETS:
        raise JsonRequestError(UNDECODABLE)
    return der.integer(value)


def error_message(rejection: RequestRejected) -> tuple[int, str]:
    """Return the HTTP status and message of the Sigstore Timestamp Authority for a rejection."""
    if isinstance(rejection, DigestLengthMismatch):
        return 400, LENGTH
    if isinstance(rejection, WeakHash):
        return 400, WEAK_HASH
    match rejection.failure:
        case PKIFailureInfo.UNACCEPTED_POLICY:
            return 400, POLICY
        case PKIFailureInfo.UNACCEPTED_EXTENSION:
            return 400, EXTENSION
        case PKIFailureInfo.SYSTEM_FAILURE | PKIFailureInfo.TIME_NOT_AVAILABLE:
            return 503, UNDECODABLE
        case _:
            return 400, UNDECODABLE
