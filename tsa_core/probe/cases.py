"""The requests that a probe sends, in the order of their worth: a small budget ends early in this list."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from tsa_core.client.transport import QUERY_TYPE, REPLY_TYPE
from tsa_core.probe import bodies
from tsa_core.protocol import der
from tsa_core.protocol.hashes import (
    MD5,
    SHA1,
    SHA3_256,
    SHA3_384,
    SHA3_512,
    SHA256,
    SHA384,
    SHA512,
    HashAlgorithm,
)
from tsa_core.protocol.status import PKIFailureInfo

TRUE: Final = der.boolean(True)
_TYPES: Final = MappingProxyType({"Content-Type": QUERY_TYPE, "Accept": REPLY_TYPE})
BIG_OCTETS: Final = 256 << 10
"""More than any request needs, and little to send."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request. `make` gets the policy of the first token, empty when there was none, and returns the body.

    `failure` is what RFC 3161 2.4.2 wants a refusal to say; None for requests that are to be granted, or that are no
    TimeStampReq over HTTP POST. `raw` cases need a connection of their own (see `wire`).
    """

    name: str
    title: str
    make: Callable[[str], bytes | None]
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: _TYPES)
    granted: bool = False
    """Whether a good authority grants it."""
    failure: PKIFailureInfo | None = None
    raw: str = ""
    nonce: int | None = None
    hash_algorithm: HashAlgorithm = SHA256


def _fixed(body: bytes | None) -> Callable[[str], bytes | None]:
    return lambda _policy: body


def _granted(
    name: str, title: str, *, nonce: int | None = None, hash_algorithm: HashAlgorithm = SHA256, **fields: Any
) -> Case:
    if hash_algorithm is not SHA256:
        fields |= {"hash_oid": hash_algorithm.oid, "digest": hash_algorithm.digest(b"tsa-core probe")}
    body = bodies.request(nonce=nonce, **fields)
    return Case(name=name, title=title, make=_fixed(body), granted=True, nonce=nonce, hash_algorithm=hash_algorithm)


def _refused(name: str, title: str, body: bytes, failure: PKIFailureInfo) -> Case:
    return Case(name=name, title=title, make=_fixed(body), failure=failure)


def _http(name: str, title: str, *, granted: bool = False, nonce: int | None = None, **request: Any) -> Case:
    make = request.pop("make", None) or _fixed(bodies.request(nonce=nonce, cert_req=TRUE))
    return Case(name=name, title=title, make=make, granted=granted, nonce=nonce, **request)


def _own_policy(policy: str) -> bytes | None:
    return bodies.request(policy=policy, cert_req=TRUE, nonce=_OWN_POLICY_NONCE) if policy else None


_OWN_POLICY_NONCE: Final = 0x5EED
NONCES: Final = (
    ("nonce-0", "nonce 0", 0),
    ("nonce-1", "nonce of 1 octet", 0x71),
    ("nonce-8", "nonce of 8 octets", 2**63 - 1),
    ("nonce-9", "64 bit nonce in 9 octets", 2**64 - 1),
    ("nonce-20", "nonce of 20 octets", 2**159 - 1),
    ("nonce-33", "256 bit nonce in 33 octets", 2**256 - 1),
    ("nonce-64", "nonce of 64 octets", 2**511 - 1),
    ("nonce-negative", "negative nonce", -(2**63)),
)
STRONG_HASHES: Final = (SHA384, SHA512)
SHA3_HASHES: Final = (SHA3_256, SHA3_384, SHA3_512)
IMPRINTS: Final = (
    ("digest-zeros", "digest of zeros", bytes(32)),
    ("digest-ones", "digest of ones", b"\xff" * 32),
    ("digest-empty-text", "digest of the empty text", SHA256.digest(b"")),
)
REPEATS: Final = 4


def all_cases() -> tuple[Case, ...]:
    """Return the requests of one probe; the nonce of the first is new each time."""
    nonce = secrets.randbits(62) | 1 << 62
    plain = partial(_granted, nonce=nonce, cert_req=TRUE)
    good = bodies.request(nonce=1, cert_req=TRUE)
    bad_request, bad_data = PKIFailureInfo.BAD_REQUEST, PKIFailureInfo.BAD_DATA_FORMAT
    bad_alg, unaccepted = PKIFailureInfo.BAD_ALG, PKIFailureInfo.UNACCEPTED_EXTENSION
    return (
        plain("plain", "SHA-256 with a nonce and certReq"),
        _granted("bare", "neither nonce nor certReq"),
        Case(
            name="own-policy",
            title="the policy of the first token",
            make=_own_policy,
            granted=True,
            nonce=_OWN_POLICY_NONCE,
        ),
        _refused(
            "foreign-policy",
            "a policy that nobody has",
            bodies.request(policy=bodies.FOREIGN_POLICY, cert_req=TRUE),
            PKIFailureInfo.UNACCEPTED_POLICY,
        ),
        plain("repeat-1", "the first request again"),
        _refused("version-2", "version 2", bodies.request(version=2), bad_request),
        _refused("short-digest", "a SHA-256 digest of 31 bytes", bodies.request(digest=bytes(31)), bad_data),
        _refused("unknown-hash", "a hash that nobody knows", bodies.request(hash_oid=bodies.UNKNOWN_HASH), bad_alg),
        _refused("sha1", "SHA-1", bodies.request(hash_oid=SHA1.oid, digest=bytes(20)), bad_alg),
        _refused("md5", "MD5", bodies.request(hash_oid=MD5.oid, digest=bytes(16)), bad_alg),
        _refused(
            "extension",
            "an unknown extension",
            bodies.request(extensions=bodies.extension(critical=False)),
            unaccepted,
        ),
        _refused(
            "critical-extension",
            "an unknown critical extension",
            bodies.request(extensions=bodies.extension(critical=True)),
            unaccepted,
        ),
        _refused("text", "text instead of a request", b"GET / HTTP/1.1\r\n", bad_data),
        *(_granted(name, title, nonce=number, cert_req=TRUE) for name, title, number in NONCES),
        *(_granted(h.name, h.name.upper(), hash_algorithm=h, cert_req=TRUE) for h in (*STRONG_HASHES, *SHA3_HASHES)),
        _granted("absent-parameters", "hash parameters absent", parameters=b"", cert_req=TRUE),
        plain("repeat-2", "the first request again"),
        *(_granted(name, title, digest=digest, nonce=7) for name, title, digest in IMPRINTS),
        _granted("false-written", "certReq FALSE written out", cert_req=der.boolean(False)),
        _refused("version-0", "version 0", bodies.request(version=0), bad_request),
        _refused("empty-digest", "an empty digest", bodies.request(digest=b""), bad_data),
        _refused("long-digest", "a SHA-256 digest of 33 bytes", bodies.request(digest=bytes(33)), bad_data),
        _refused(
            "other-parameters",
            "a hash with parameters that it does not have",
            bodies.request(parameters=der.integer(1)),
            bad_alg,
        ),
        _refused("empty", "an empty body", b"", bad_data),
        _refused("wrong-tag", "a SET instead of a SEQUENCE", der.tlv(der.SET, bodies.content_of(good)), bad_data),
        _refused("truncated", "a request cut off", good[:-7], bad_data),
        _refused("trailing", "a byte after the request", good + b"\x00", bad_data),
        _refused("indefinite", "an indefinite length", bodies.indefinite(good), bad_data),
        _refused("long-length", "a length in too many octets", bodies.long_length(good), bad_data),
        Case(
            name="nonce-65", title="nonce of 65 octets", make=_fixed(bodies.request(nonce=2**519 - 1)), nonce=2**519 - 1
        ),
        plain("repeat-3", "the first request again"),
        _http("get", "GET", method="GET", make=_fixed(None)),
        _http("head", "HEAD", method="HEAD", make=_fixed(None)),
        _http("put", "PUT", method="PUT"),
        _http("wrong-type", "Content-Type text/plain", headers={"Content-Type": "text/plain"}),
        _http("no-type", "no Content-Type", headers={}),
        _http(
            "type-parameter",
            "Content-Type in other case, with a parameter",
            headers={"Content-Type": "Application/Timestamp-Query; charset=binary"},
            granted=True,
            nonce=11,
        ),
        _http(
            "chunked",
            "a request in chunks",
            headers={**_TYPES, "Transfer-Encoding": "chunked"},
            make=_fixed(bodies.chunked(bodies.request(nonce=12, cert_req=TRUE))),
            nonce=12,
        ),
        _http("http10", "HTTP/1.0, as osslsigncode sends it", raw="1.0", granted=True, nonce=13),
        _http("kept-1", "HTTP/1.1 on a connection of its own", raw="1.1", granted=True, nonce=14),
        _http("kept-2", "a second request on that connection", raw="again", granted=True, nonce=15),
        _http("big", "256 KiB that are no request", make=_fixed(bytes(BIG_OCTETS))),
        plain("repeat-4", "the first request again"),
    )


CASE_NAMES: Final = tuple(case.name for case in all_cases())
