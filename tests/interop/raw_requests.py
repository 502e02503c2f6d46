"""Raw HTTP requests that are sent to the reference server and to ours, octet by octet: methods, paths and headers.

Their bodies are in raw_request_bodies.py. A request's name is what the documentation's table calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.conformance.plain_encoder import PlainRequest

ROUTE: Final = "/api/v1/timestamp"
CHAIN: Final = f"{ROUTE}/certchain"
QUERY: Final = "application/timestamp-query"
REPLY: Final = "application/timestamp-reply"
JSON: Final = "application/json"
DER: Final = PlainRequest(digest=bytes(range(32)), nonce=4711, cert_req=True).encode()
DOCUMENT: Final = (
    b'{"artifactHash": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "hashAlgorithm": "sha256", '
    b'"nonce": 4711, "certificates": true}'
)
BODY_LIMIT: Final = 1 << 20
"""Octets; the reference's default."""


@dataclass(frozen=True, kw_only=True)
class RawRequest:
    """What is sent on a connection of its own. `flags` names a row of SERVERS; `head` has no answer's body."""

    name: str
    octets: bytes
    flags: str = "default"
    head: bool = False


SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "default": ("--timestamp-signer", "memory"),
    "more": (
        "--timestamp-signer=memory",
        "--use-http-201",
        "--include-chain-in-response",
        "--allow-custom-extensions",
        "--accepted-policy-oids=1.3.6.1.4.1.57264.2,1.2.3.4",
        "--default-policy-oid=1.2.3.4",
        "--max-request-body-size=2048",
    ),
    "ping only": ("--timestamp-signer=memory", "--http-ping-only"),
}
"""Flags of the servers, which the reference and ours are given alike."""


@dataclass(frozen=True)
class Fields:
    """Header fields in order; one name may be there twice."""

    lines: tuple[tuple[str, str], ...] = field(default=(("Host", "tsa.example"), ("Connection", "close")))

    def __add__(self, other: Mapping[str, str]) -> Fields:
        return Fields((*self.lines, *other.items()))

    def encode(self) -> bytes:
        return "".join(f"{name}: {value}\r\n" for name, value in self.lines).encode("latin-1")


def http(
    name: str,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    *,
    flags: str = "default",
) -> RawRequest:
    """Return a request in HTTP/1.1; with a body its length is declared."""
    fields = Fields() + (headers or {})
    if body is not None:
        fields += {"Content-Length": str(len(body))}
    octets = f"{method} {path} HTTP/1.1\r\n".encode("latin-1") + fields.encode() + b"\r\n" + (body or b"")
    return RawRequest(name=name, octets=octets, flags=flags, head=method == "HEAD")


def post(
    name: str, body: bytes = DER, kind: str | None = QUERY, *, flags: str = "default", path: str = ROUTE, **more: str
) -> RawRequest:
    """Return a POST of a timestamp request; `more` are header fields with _ for -."""
    headers = {} if kind is None else {"Content-Type": kind}
    headers |= {key.replace("_", "-"): value for key, value in more.items()}
    return http(name, "POST", path, headers, body, flags=flags)


def _by_method_and_path() -> Iterator[RawRequest]:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        body = b"" if method in {"POST", "PUT", "PATCH"} else None
        yield http(f"{method} /ping", method, "/ping", body=body)
        yield http(f"{method} /certchain", method, CHAIN, body=body)
        if method != "POST":
            yield http(f"{method} /timestamp", method, ROUTE, body=body)
    yield http("CHECKOUT /timestamp, a method that HTTP has not", "CHECKOUT", ROUTE)
    yield http("TRACE /timestamp", "TRACE", ROUTE)
    yield http("post in small letters", "post", ROUTE, {"Content-Type": QUERY}, DER)
    for path in ("/", "/nope", "/healthz", "/readyz", "/openapi.json", "/swagger.json", "/docs", "/metrics"):
        yield http(f"GET {path}", "GET", path)
    yield http("HEAD /nope", "HEAD", "/nope")
    yield http("HEAD /swagger.json", "HEAD", "/swagger.json")
    yield http("POST /swagger.json", "POST", "/swagger.json", body=b"")
    for path in ("/", "/nope", "/tsr", "/tsa", "/tsa/default", "/api/v1"):
        yield post(f"POST {path}", path=path)
    yield post("POST /timestamp without /api/v1", path="/timestamp")


def _by_spelling_of_a_path() -> Iterator[RawRequest]:
    yield http("GET /PING", "GET", "/PING")
    yield http("POST /PING", "POST", "/PING", body=b"")
    yield http("GET /ping/", "GET", "/ping/")
    yield http("GET //ping", "GET", "//ping")
    yield http("GET /ping?a=b", "GET", "/ping?a=b")
    yield http("GET /p%69ng", "GET", "/p%69ng")
    yield http("GET /certchain/", "GET", f"{CHAIN}/")
    yield http("GET /certchain?all=true", "GET", f"{CHAIN}?all=true")
    yield http("GET /CERTCHAIN", "GET", CHAIN.upper())
    yield post("POST /timestamp/", path=f"{ROUTE}/")
    yield post("POST /timestamp//", path=f"{ROUTE}//")
    yield post("POST //api/v1/timestamp", path=f"/{ROUTE}")
    yield post("POST /api/./v1/timestamp", path="/api/./v1/timestamp")
    yield post("POST /api/v1/nope/../timestamp", path="/api/v1/nope/../timestamp")
    yield post("POST /timestamp?a=b", path=f"{ROUTE}?a=b")
    yield post("POST /timestamp?", path=f"{ROUTE}?")
    yield post("POST /API/V1/TIMESTAMP", path=ROUTE.upper())
    yield post("POST /api/v1/%74imestamp", path="/api/v1/%74imestamp")
    yield post("POST /timestamp/nope", path=f"{ROUTE}/nope")
    yield post("POST /timestamp, absolute form", path=f"http://tsa.example{ROUTE}")
    yield post("POST with a path of 300 letters", path="/" + 300 * "x")
    yield http("GET of a path with %0d%0a", "GET", "/a%0d%0aSet-Cookie:b")
    yield http("GET of a path with a quotation mark", "GET", "/a%22b")
    yield http("GET of a path in UTF-8", "GET", "/%c3%a4")
    yield http("GET of a path with half an escape", "GET", "/%4")
    yield http("OPTIONS *", "OPTIONS", "*")


def _by_media_type() -> Iterator[RawRequest]:
    for kind in (
        "application/timestamp-query; charset=utf-8",
        "application/timestamp-query;charset=binary",
        "Application/Timestamp-Query",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/timestamp-query, application/json",
        "application/json, application/timestamp-query",
        "application/timestamp-reply",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "text/html; charset=utf-8",
        "application/*",
        "*/*",
        "nonsense",
        "application/",
        "application/timestamp-query; charset",
        "",
    ):
        yield post(f"Content-Type: {kind}", DOCUMENT if "json" in kind.lower() else DER, kind)
    yield post("no Content-Type", kind=None)
    yield post("DER as JSON", DER, JSON)
    yield post("JSON as DER", DOCUMENT, QUERY)
    double = Fields() + {"Content-Type": QUERY} + {"Content-Type": JSON} + {"Content-Length": str(len(DER))}
    octets = f"POST {ROUTE} HTTP/1.1\r\n".encode() + double.encode() + b"\r\n" + DER
    yield RawRequest(name="Content-Type twice", octets=octets)


def _by_accept() -> Iterator[RawRequest]:
    for accept in (REPLY, "*/*", "application/*", JSON, "text/html", f"{JSON}, */*;q=0.1", f"{REPLY};q=0", ""):
        yield post(f"POST with Accept: {accept}", Accept=accept)
    for accept in ("application/pem-certificate-chain", "*/*", JSON, "text/html"):
        yield http(f"GET /certchain with Accept: {accept}", "GET", CHAIN, {"Accept": accept})
    yield post("refused, with Accept: application/json", b"garbage", Accept=JSON)
    yield http("GET /nope with Accept: text/html", "GET", "/nope", {"Accept": "text/html"})
    yield post("POST with Accept-Encoding: gzip", Accept_Encoding="gzip")
    yield http("GET /certchain with Accept-Encoding: gzip", "GET", CHAIN, {"Accept-Encoding": "gzip"})
    yield http("GET /certchain with If-None-Match: *", "GET", CHAIN, {"If-None-Match": "*"})
    yield http("GET /certchain with If-None-Match", "GET", CHAIN, {"If-None-Match": '"abc"'})
    since = {"If-Modified-Since": "Sun, 01 Nov 2026 00:00:00 GMT"}
    yield http("GET /certchain with If-Modified-Since", "GET", CHAIN, since)
    yield http("GET /certchain with Range", "GET", CHAIN, {"Range": "bytes=0-9"})
    yield post("POST with X-Request-Id", X_Request_Id="abc-1")


def _by_origin() -> Iterator[RawRequest]:
    page = {"Origin": "https://page.example"}
    asks = "Access-Control-Request-Method"
    wants = "Access-Control-Request-Headers"
    yield post("POST of another origin", Origin=page["Origin"])
    yield post("refused, of another origin", b"garbage", Origin=page["Origin"])
    yield http("GET /certchain of another origin", "GET", CHAIN, page)
    yield http("GET /nope of another origin", "GET", "/nope", page)
    yield http("GET /ping of another origin", "GET", "/ping", page)
    yield http("PUT of another origin", "PUT", ROUTE, page, b"")
    yield http("GET /certchain of the origin null", "GET", CHAIN, {"Origin": "null"})
    yield http("preflight for POST", "OPTIONS", ROUTE, page | {asks: "POST"})
    yield http("preflight for POST with content-type", "OPTIONS", ROUTE, page | {asks: "POST", wants: "content-type"})
    yield http("preflight for two headers", "OPTIONS", ROUTE, page | {asks: "POST", wants: "accept,content-type"})
    yield http("preflight for X-Other", "OPTIONS", ROUTE, page | {asks: "POST", wants: "x-other"})
    yield http("preflight for PUT", "OPTIONS", ROUTE, page | {asks: "PUT"})
    yield http("preflight for GET /nope", "OPTIONS", "/nope", page | {asks: "GET"})
    yield http("preflight for /ping", "OPTIONS", "/ping", page | {asks: "GET"})
    yield http("preflight without a method", "OPTIONS", ROUTE, page)
    yield http("preflight without an origin", "OPTIONS", ROUTE, {asks: "POST"})


def _ping_only() -> Iterator[RawRequest]:
    flags = "ping only"
    yield http("--http-ping-only: GET /ping", "GET", "/ping", flags=flags)
    yield http("--http-ping-only: HEAD /ping", "HEAD", "/ping", flags=flags)
    yield http("--http-ping-only: GET /PING", "GET", "/PING", flags=flags)
    yield http("--http-ping-only: GET /ping/", "GET", "/ping/", flags=flags)
    yield post("--http-ping-only: POST /timestamp", flags=flags)
    yield http("--http-ping-only: GET /certchain", "GET", CHAIN, flags=flags)
    yield http("--http-ping-only: POST /ping", "POST", "/ping", body=b"", flags=flags)
    yield http("--http-ping-only: HEAD /nope", "HEAD", "/nope", flags=flags)
    preflight = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    yield http("--http-ping-only: preflight", "OPTIONS", ROUTE, preflight, flags=flags)


def groups_by_head() -> dict[str, list[RawRequest]]:
    """Return the requests that differ in method, path and header fields, by titles."""
    return {
        "Methods and paths": list(_by_method_and_path()),
        "Spellings of paths": list(_by_spelling_of_a_path()),
        "Media types of requests": list(_by_media_type()),
        "Accept and conditions": list(_by_accept()),
        "Other origins": list(_by_origin()),
        "`--http-ping-only`": list(_ping_only()),
    }
