"""Raw HTTP requests that are sent to the reference server and to ours: their bodies and how these are framed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any, Final

from asn1crypto import core, tsp

from tests.conformance.plain_encoder import PlainRequest
from tests.interop.raw_requests import (
    BODY_LIMIT,
    DER,
    DOCUMENT,
    JSON,
    QUERY,
    ROUTE,
    Fields,
    RawRequest,
    groups_by_head,
    http,
    post,
)

_DIGEST: Final = bytes(range(64))
_OTHER_HASHES: Final = {
    "MD5": ("1.2.840.113549.2.5", 16),
    "SHA-1": ("1.3.14.3.2.26", 20),
    "SHA-224": ("2.16.840.1.101.3.4.2.4", 28),
    "SHA-512/256": ("2.16.840.1.101.3.4.2.6", 32),
    "SHA3-256": ("2.16.840.1.101.3.4.2.8", 32),
    "SHA3-512": ("2.16.840.1.101.3.4.2.10", 64),
    "RIPEMD-160": ("1.3.36.3.2.1", 20),
    "an unknown hash": ("1.2.3.4.5", 32),
}
_EXTENSION: Final = ("1.2.3.4.5", False, b"\x04\x01x")
_CRITICAL: Final = ("1.2.3.4.6", True, b"\x05\x00")


def _plain(**values: Any) -> bytes:
    hash_name = values.get("hash_name", "sha256")
    size = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}[hash_name]
    return PlainRequest(**{"digest": _DIGEST[:size], **values}).encode()


def _other_hash(identifier: str, size: int) -> bytes:
    imprint = {"hash_algorithm": {"algorithm": identifier}, "hashed_message": _DIGEST[:size]}
    encoded: bytes = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint}).dump()
    return encoded


def _sequence(*parts: bytes) -> bytes:
    encoded: bytes = core.Sequence(contents=b"".join(parts)).dump()
    return encoded


_VERSION: Final = b"\x02\x01\x01"
_IMPRINT: Final = DER[5 : 5 + 2 + DER[6]]
_NULL_PARAMETERS_AT: Final = _IMPRINT.index(b"\x05\x00")


def _hashes() -> Iterator[RawRequest]:
    for name in ("sha256", "sha384", "sha512"):
        yield post(f"DER, {name}", _plain(hash_name=name))
        yield post(f"DER, {name} without NULL", _plain(hash_name=name, null_parameters=False))
    for title, (identifier, size) in _OTHER_HASHES.items():
        yield post(f"DER, {title}", _other_hash(identifier, size))
    for size in (0, 20, 31, 33, 64):
        yield post(f"DER, sha256 of {size} octets", _plain(digest=_DIGEST[:size]))
    yield post("DER, sha512 of 32 octets", _plain(hash_name="sha512", digest=_DIGEST[:32]))
    yield post("DER, SHA-1 of 32 octets", _plain(hash_name="sha1", digest=_DIGEST[:32]))
    parameters = _IMPRINT[:_NULL_PARAMETERS_AT] + b"\x02\x00" + _IMPRINT[_NULL_PARAMETERS_AT + 2 :]
    yield post("DER, parameters of the hash are an empty INTEGER", _sequence(_VERSION, parameters))


def _nonces() -> Iterator[RawRequest]:
    for title, nonce in (
        ("0", 0),
        ("1", 1),
        ("-1", -1),
        ("of 8 octets", 2**63 - 1),
        ("of 9 octets", 2**64 - 1),
        ("of 20 octets", 2**159 - 1),
        ("of 64 octets", 2**511 - 1),
        ("of 65 octets", 2**519 - 1),
        ("of 256 octets", 2**2047 - 1),
    ):
        yield post(f"DER, nonce {title}", _plain(nonce=nonce))
    yield post("DER, nonce with a zero too many", _sequence(_VERSION, _IMPRINT, b"\x02\x02\x00\x01"))
    yield post("DER, empty nonce", _sequence(_VERSION, _IMPRINT, b"\x02\x00"))


def _fields() -> Iterator[RawRequest]:
    yield post("DER, certReq", _plain(cert_req=True))
    yield post("DER, certReq FALSE", _sequence(_VERSION, _IMPRINT, b"\x01\x01\x00"))
    yield post("DER, certReq 01", _sequence(_VERSION, _IMPRINT, b"\x01\x01\x01"))
    yield post("DER, the default policy", _plain(policy="1.3.6.1.4.1.57264.2"))
    yield post("DER, another policy", _plain(policy="1.2.3.4"))
    yield post("DER, a policy with an arc of 40 bits", _plain(policy=f"1.2.{2**40}"))
    yield post("DER, extension", _plain(extensions=(_EXTENSION,)))
    yield post("DER, critical extension", _plain(extensions=(_CRITICAL,)))
    yield post("DER, policy and extension", _plain(policy="1.2.3.4", extensions=(_EXTENSION,)))
    yield post("DER, SHA-1, policy and extension", _plain(hash_name="sha1", policy="1.2.3.4", extensions=(_EXTENSION,)))
    yield post("DER, short digest and policy", _plain(digest=_DIGEST[:31], policy="1.2.3.4"))
    yield post("DER, empty extensions", _sequence(_VERSION, _IMPRINT, b"\xa0\x00"))
    yield post("DER, version 0", _sequence(b"\x02\x01\x00", _IMPRINT))
    yield post("DER, version 2", _sequence(b"\x02\x01\x02", _IMPRINT))
    yield post("DER, without version", _sequence(_IMPRINT))
    yield post("DER, a field too many", _sequence(_VERSION, _IMPRINT, b"\x05\x00"))
    yield post("DER, nonce after certReq", _sequence(_VERSION, _IMPRINT, b"\x01\x01\xff", b"\x02\x01\x05"))


def _encodings() -> Iterator[RawRequest]:
    yield post("garbage", b"garbage")
    yield post("one zero", b"\x00")
    yield post("an empty SEQUENCE", b"\x30\x00")
    yield post("DER and a zero after it", DER + b"\x00")
    yield post("DER without its last octet", DER[:-1])
    yield post("DER twice", DER + DER)
    yield post("BER, indefinite length", b"\x30\x80" + DER[2:] + b"\x00\x00")
    yield post("BER, a length longer than needed", b"\x30\x81" + DER[1:])
    yield post("DER in base64", base64.b64encode(DER))
    yield post("DER in PEM", b"-----BEGIN TIMESTAMP QUERY-----\n" + base64.b64encode(DER) + b"\n-----END-----\n")
    yield post("gzip of DER, Content-Encoding: gzip", gzip.compress(DER, mtime=0), Content_Encoding="gzip")
    yield post("DER, Content-Encoding: identity", Content_Encoding="identity")


def _framing() -> Iterator[RawRequest]:
    yield post("DER, empty", b"")
    yield post("JSON, empty", b"", JSON)
    yield post("no Content-Type, empty", b"", None)
    yield http("POST without a length", "POST", ROUTE, {"Content-Type": QUERY})
    chunks = f"{len(DER):x}\r\n".encode() + DER + b"\r\n0\r\n\r\n"
    chunked = Fields() + {"Content-Type": QUERY, "Transfer-Encoding": "chunked"}
    start = f"POST {ROUTE} HTTP/1.1\r\n".encode()
    yield RawRequest(name="DER, chunked", octets=start + chunked.encode() + b"\r\n" + chunks)
    yield RawRequest(name="empty, chunked", octets=start + chunked.encode() + b"\r\n0\r\n\r\n")
    yield post("1 MiB of zeros", bytes(BODY_LIMIT))
    yield post("1 MiB and an octet of zeros", bytes(BODY_LIMIT + 1))
    yield post("DER, 70,000 zeros after it", DER + bytes(70_000))
    yield post("2 KiB and an octet of zeros, --max-request-body-size=2048", bytes(2049), flags="more")
    big = f"{2049:x}\r\n".encode() + bytes(2049) + b"\r\n0\r\n\r\n"
    name = "2 KiB and an octet of zeros, chunked, --max-request-body-size=2048"
    yield RawRequest(name=name, octets=start + chunked.encode() + b"\r\n" + big, flags="more")
    for length in ("abc", "-1", "+5", "1" * 30):
        fields = Fields() + {"Content-Type": QUERY, "Content-Length": length}
        yield RawRequest(name=f"Content-Length: {length}", octets=start + fields.encode() + b"\r\n" + DER)
    plain = Fields() + {"Content-Type": QUERY}
    for title, lengths in (
        ("two Content-Lengths", (str(len(DER)), "5")),
        ("one Content-Length twice", (str(len(DER)),) * 2),
    ):
        fields = plain
        for length in lengths:
            fields += {"Content-Length": length}
        yield RawRequest(name=title, octets=start + fields.encode() + b"\r\n" + DER)
    both = chunked + {"Content-Length": "3"}
    yield RawRequest(name="Content-Length and chunked", octets=start + both.encode() + b"\r\n" + chunks)
    coded = plain + {"Transfer-Encoding": "gzip"}
    yield RawRequest(name="Transfer-Encoding: gzip", octets=start + coded.encode() + b"\r\n" + DER)
    yield RawRequest(name="no HTTP at all", octets=b"\x16\x03\x01\x00\x05hello\r\n\r\n")
    head = b"Content-Type: application/timestamp-query\r\nContent-Length: %d\r\n\r\n" % len(DER)
    yield RawRequest(name="HTTP/1.0", octets=f"POST {ROUTE} HTTP/1.0\r\n".encode() + head + DER)
    yield RawRequest(name="HTTP/1.1 without Host", octets=start + b"Connection: close\r\n" + head + DER)
    yield RawRequest(name="HTTP/1.1 with two Hosts", octets=start + b"Host: a\r\nHost: b\r\n" + head + DER)
    yield RawRequest(name="HTTP/3.0", octets=f"POST {ROUTE} HTTP/3.0\r\nHost: a\r\n".encode() + head + DER)
    yield RawRequest(name="a space before a colon", octets=start + b"Host: a\r\nX-A : b\r\n" + head + DER)
    yield RawRequest(name="a folded header line", octets=start + b"Host: a\r\nX-A: b\r\n c\r\n" + head + DER)
    yield RawRequest(name="a header line that ends with LF only", octets=start + b"Host: a\nX-A: b\r\n" + head + DER)


def _json(**values: Any) -> bytes:
    document = {"artifactHash": _hash(32), "hashAlgorithm": "sha256", **values}
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


def _hash(size: int) -> str:
    return base64.b64encode(bytes(255 - n for n in range(size))).decode()


def _documents() -> Iterator[tuple[str, bytes]]:
    yield "as in its README", DOCUMENT
    for name, size in (("sha256", 32), ("sha384", 48), ("sha512", 64), ("SHA256", 32), ("sha-256", 32), ("Sha512", 64)):
        yield f"hashAlgorithm {name}", _json(hashAlgorithm=name, artifactHash=_hash(size))
    for name, size in (("sha1", 20), ("SHA1", 20), ("md5", 16), ("sha224", 28), ("sha3-256", 32), ("", 32)):
        yield f"hashAlgorithm {name!r}, refused", _json(hashAlgorithm=name, artifactHash=_hash(size))
    yield "no hashAlgorithm", _json(hashAlgorithm=...)
    yield "hashAlgorithm 256", _json(hashAlgorithm=256)
    yield "no artifactHash", _json(artifactHash=...)
    yield "artifactHash of 31 octets", _json(artifactHash=_hash(31))
    yield "artifactHash in base64url", _json(artifactHash=_hash(32).translate(str.maketrans("+/", "-_")))
    yield "artifactHash without padding", _json(artifactHash=_hash(32).rstrip("="))
    yield "artifactHash with a line break", _json(artifactHash=_hash(32)[:20] + "\n" + _hash(32)[20:])
    yield "artifactHash with a space", _json(artifactHash=_hash(32)[:20] + " " + _hash(32)[20:])
    yield "artifactHash in hexadecimal", _json(artifactHash="ab" * 32)
    yield "artifactHash no base64", _json(artifactHash="not*base64*encoded")
    yield "artifactHash a number", _json(artifactHash=5)
    for nonce in (0, 1, -1, 2**64, 10**150, 10**400, "5", 1.5, None, True):
        title = f"10^{len(str(nonce)) - 1}" if type(nonce) is int and nonce > 2**100 else json.dumps(nonce)
        yield f"nonce {title}", _json(nonce=nonce)
    yield "nonce 1e3", _json().replace(b"}", b', "nonce": 1e3}')
    yield "nonce 007", _json().replace(b"}", b', "nonce": 007}')
    for value in (True, False, None, "true", 1):
        yield f"certificates {json.dumps(value)}", _json(certificates=value)
    policies = (
        "1.3.6.1.4.1.57264.2",
        "1.2.3.4",
        "",
        "nonsense",
        "1",
        "1.",
        "1..2",
        "3.1.1",
        "1.2.-3",
        " 1.2",
        "1.99.1",
    )
    for policy in policies:
        yield f"tsaPolicyOID {policy!r}", _json(tsaPolicyOID=policy)
    yield "tsaPolicyOID of 128 arcs", _json(tsaPolicyOID=".".join(["1"] * 128))
    yield "tsaPolicyOID of 129 arcs", _json(tsaPolicyOID=".".join(["1"] * 129))
    yield "tsaPolicyOID of 130 arcs", _json(tsaPolicyOID=".".join(["1"] * 130))
    yield "tsaPolicyOID a number", _json(tsaPolicyOID=5)
    yield "an unknown field", _json(extra={"a": [1]})
    yield "names in capitals", _json().replace(b"artifactHash", b"ARTIFACTHASH").replace(b"hashAlg", b"HASHALG")
    yield "a name twice", _json().replace(b"{", b'{"hashAlgorithm": "md5", ')
    yield "an empty object", b"{}"
    yield "null", b"null"
    yield "an array", b"[]"
    yield "a string", b'"x"'
    yield "no JSON", b"{"
    yield "single quotes", b"{'hashAlgorithm': 'sha256'}"
    yield "something after it", _json() + b" x"
    yield "white space around it", b"\r\n\t " + _json() + b"\n"
    yield "a byte order mark", b"\xef\xbb\xbf" + _json()
    yield "UTF-16", _json().decode().encode("utf-16")
    yield "no UTF-8 in a field that nobody reads", _json().replace(b"}", b', "x": "\xff"}')
    yield "NaN in a field that nobody reads", _json().replace(b"}", b', "x": NaN}')
    yield "400 arrays in one another", _json().replace(b"}", b', "x": ' + b"[" * 400 + b"]" * 400 + b"}")
    yield "1024 octets", _json(x="").replace(b'"x": "', b'"x": "' + b"x" * (1024 - len(_json(x=""))))
    yield "1025 octets", _json(x="").replace(b'"x": "', b'"x": "' + b"x" * (1025 - len(_json(x=""))))


def _json_requests() -> Iterator[RawRequest]:
    for title, body in _documents():
        yield post(f"JSON, {title}", body, JSON)


def _more() -> Iterator[RawRequest]:
    """Requests to servers that accept more."""
    flags = "more"
    yield post("201: DER", _plain(), flags=flags)
    yield post("201: DER, certReq", _plain(cert_req=True), flags=flags)
    yield post("201: DER, extension", _plain(extensions=(_EXTENSION,)), flags=flags)
    yield post("201: DER, critical extension", _plain(extensions=(_CRITICAL,)), flags=flags)
    yield post("201: DER, two extensions", _plain(extensions=(_CRITICAL, _EXTENSION)), flags=flags)
    yield post("201: DER, one extension twice", _plain(extensions=(_EXTENSION, _EXTENSION)), flags=flags)
    yield post("201: DER, an accepted policy", _plain(policy="1.3.6.1.4.1.57264.2"), flags=flags)
    yield post(
        "201: DER, an unaccepted policy and an extension", _plain(policy="1.2.3", extensions=(_EXTENSION,)), flags=flags
    )
    yield post("201: DER, nonce of 256 octets", _plain(nonce=2**2047 - 1), flags=flags)
    yield post("201: JSON", DOCUMENT, JSON, flags=flags)
    yield post("201: JSON, an accepted policy", _json(tsaPolicyOID="1.2.3.4"), JSON, flags=flags)
    yield post("201: refused", b"garbage", flags=flags)


def all_groups() -> dict[str, list[RawRequest]]:
    """Return every request, by titles; names are unique."""
    groups = groups_by_head() | {
        "Hashes": list(_hashes()),
        "Nonces": list(_nonces()),
        "Fields of a TimeStampReq": list(_fields()),
        "Encodings": list(_encodings()),
        "Lengths and HTTP's own rules": list(_framing()),
        "JSON": list(_json_requests()),
        "Servers that accept more": list(_more()),
    }
    names = [request.name for group in groups.values() for request in group]
    assert len(set(names)) == len(names), "a name stands for one request"
    return groups


def all_requests() -> list[RawRequest]:
    """Return every request."""
    return [request for group in all_groups().values() for request in group]
