"""Why our server's answers differ from the reference's: each difference has a reason, and each reason is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SIGSTORE, RFC3161 = "sigstore", "rfc3161"
ALWAYS: Final = frozenset({SIGSTORE, RFC3161})
RESTORED: Final = frozenset({RFC3161})
"""Where --rejections=sigstore, or another flag of the table's second column, gives the reference's answer back."""
_ANSWER: Final = frozenset({"status", "body", "content-type"})
_NO_CACHE: Final = frozenset({"cache-control", "pragma", "expires", "x-accel-expires"})
_PAGE: Final = frozenset({"content-security-policy", "referrer-policy", "x-content-type-options", "cache-control"})


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why `what` (status, body, names of header fields) differs in answers to the requests that these patterns name."""

    text: str
    requests: tuple[str, ...] = ("*",)
    what: frozenset[str] = _ANSWER
    rejections: frozenset[str] = ALWAYS

    @property
    def is_general(self) -> bool:
        """Whether it is about all requests; the table's rows do not repeat it."""
        return self.requests == ("*",)


_GENERAL: Final = (
    Reason(text="Every answer has `Server: tsa-core`; the reference names nothing.", what=frozenset({"server"})),
    Reason(
        text="The timestamp route returns the request's id, the client's or a new one; the reference only logs it.",
        what=frozenset({"x-request-id"}),
    ),
    Reason(
        text="Answers to a POST say `no-cache, no-store, max-age=0`; the reference has more for HTTP/1.0 and nginx.",
        what=_NO_CACHE,
        rejections=RESTORED,
    ),
    Reason(
        text="Answers to a POST do not say that they vary with the origin: nothing may store them.",
        what=frozenset({"vary"}),
        rejections=RESTORED,
    ),
)

_ROUTES: Final = (
    Reason(
        text="HTTP asks for HEAD where GET is answered (RFC 9110 9.1).",
        requests=("HEAD /certchain",),
        what=_ANSWER | {"allow", "cache-control"},
    ),
    Reason(
        text="The chain has an ETag, so that a client asks for it again at little cost.",
        requests=("* /certchain*",),
        what=frozenset({"etag"}),
    ),
    Reason(
        text="The chain may be kept for an hour, because keys rotate; the reference says a day, immutable.",
        requests=("* /certchain*",),
        what=frozenset({"cache-control"}),
        rejections=RESTORED,
    ),
    Reason(
        text="The client has the chain already: 304.",
        requests=("GET /certchain with If-None-Match: *",),
        what=_ANSWER,
    ),
    Reason(
        text="A route that the reference does not have: a page, probes, another description, every profile's address.",
        requests=("GET /", "GET /healthz", "GET /readyz", "GET /openapi.json", "POST /tsa/default"),
        what=_ANSWER | _PAGE | _NO_CACHE,
    ),
    Reason(
        text="A bare host is what clients are given often; POST / issues a timestamp.",
        requests=("POST /",),
        what=_ANSWER | _NO_CACHE,
    ),
    Reason(
        text="The page has no scripts and loads nothing from elsewhere; both descriptions may be kept for an hour.",
        requests=("* /swagger.json", "GET /docs"),
        what=_PAGE | {"body"},
    ),
    Reason(
        text="A description is read by GET; the reference gives it for every method.",
        requests=("POST /swagger.json",),
        what=_ANSWER | {"allow"},
    ),
    Reason(
        text="405 with the methods that there are: a path that exists is not called missing.",
        requests=("* /ping",),
        what=_ANSWER | {"allow"},
        rejections=RESTORED,
    ),
    Reason(
        text="OPTIONS lists the methods, and every list has OPTIONS and HEAD.",
        requests=(
            "* /ping",
            "* /certchain",
            "* /timestamp",
            "* /timestamp, *",
            "PUT of another origin",
            "preflight without a method",
        ),
        what=_ANSWER | {"allow"},
        rejections=RESTORED,
    ),
    Reason(
        text="Methods are written in capitals (RFC 9110 9.1).",
        requests=("post in small letters",),
        what=_ANSWER | _NO_CACHE | {"vary"},
    ),
    Reason(
        text="404 says where timestamps are issued.",
        requests=(
            "* /nope*",
            "POST /tsr",
            "POST /tsa",
            "POST /timestamp without *",
            "POST /api/v1",
            "GET /metrics",
            "*path*",
            "GET /CERT*",
            "POST /API/*",
            "POST /timestamp/nope",
        ),
        rejections=RESTORED,
    ),
    Reason(
        text="A path is what it spells (RFC 3986 6.2.2.2), and a slash at its end means nothing.",
        requests=("GET /ping/", "GET //ping", "POST /api/v1/%74imestamp", "--http-ping-only: GET /ping/"),
        what=_ANSWER | _NO_CACHE,
    ),
    Reason(
        text="`//`, `/./` and `/../` are not resolved.",
        requests=("POST /timestamp//", "POST /api/./v1/timestamp", "POST /api/v1/nope/../timestamp"),
        what=_ANSWER,
        rejections=RESTORED,
    ),
    Reason(
        text="/ping has one spelling.",
        requests=("* /PING", "--http-ping-only: GET /PING"),
        what=_ANSWER | {"allow"},
        rejections=RESTORED,
    ),
    Reason(
        text="A target that no client sends; 404 as for any path that is not there.",
        requests=("GET of a path with half an escape", "OPTIONS [*]"),
        what=_ANSWER | {"vary", "allow"},
    ),
)

_NEGOTIATION: Final = (
    Reason(
        text="A media type is read as HTTP has it: parameters allowed, case ignored (RFC 9110 8.3.1).",
        requests=(
            "Content-Type: application/timestamp-query;*",
            "Content-Type: application/json;*",
            "Content-Type: Application/*",
            "Content-Type: APPLICATION/*",
        ),
        what=_ANSWER | _NO_CACHE,
    ),
    Reason(
        text="Another media type is 415, however it is written; the reference has 400 and 500 as well.",
        requests=(
            "Content-Type: application/timestamp-query, *",
            "Content-Type: application/json, *",
            "Content-Type: application/[*]",
            "Content-Type: [*]/[*]",
            "Content-Type: nonsense",
            "Content-Type: application/",
        ),
    ),
    Reason(
        text="Content-Type twice has no meaning; the reference takes the first.",
        requests=("Content-Type twice",),
        what=_ANSWER | _NO_CACHE,
    ),
    Reason(
        text="The answer has one media type, whatever Accept says; the reference answers 500 or 406.",
        requests=("*Accept: *",),
        what=_ANSWER | {"cache-control"},
    ),
    Reason(
        text="A preflight's answer lists all that is allowed and may be kept for a day, so the next ones need none.",
        requests=("preflight *", "--http-ping-only: preflight"),
        what=frozenset({"access-control-allow-headers", "access-control-allow-methods", "access-control-max-age"}),
    ),
)

_REFUSED_QUERIES: Final = (
    "DER, *",
    "DER *",
    "garbage",
    "one zero",
    "an empty SEQUENCE",
    "BER, *",
    "gzip *",
    "JSON as DER",
    "1 MiB of zeros",
    "201: *",
    "refused, *",
    "Content-Type: *",
)

_CONTENT: Final = (
    Reason(
        text="A DER request that is refused gets HTTP 200 and a TimeStampResp with the reason (RFC 3161 3.4).",
        requests=_REFUSED_QUERIES,
        rejections=RESTORED,
    ),
    Reason(
        text="A JSON request that is refused gets the same JSON, with the media type of JSON.",
        requests=("JSON, *", "DER as JSON"),
        what=frozenset({"content-type"}),
        rejections=RESTORED,
    ),
    Reason(
        text="The token repeats the imprint as it was sent (RFC 3161 2.4.2), without parameters if it had none.",
        requests=("DER, sha* without NULL",),
        what=frozenset({"body"}),
    ),
    Reason(text="SHA-3 is accepted; `[profiles.default] hashes` decides.", requests=("DER, SHA3-*",)),
    Reason(
        text="An empty digest has the wrong length.",
        requests=("DER, sha256 of 0 octets",),
        what=frozenset({"body"}),
    ),
    Reason(
        text="A nonce has 64 octets at most (decision 22).",
        requests=(
            "DER, nonce of 65 octets",
            "DER, nonce of 256 octets",
            "JSON, nonce 10^400",
            "201: DER, nonce of 256 octets",
        ),
    ),
    Reason(
        text="An arc of more than 31 bits is read; no profile has this policy.",
        requests=("DER, a policy with an arc of 40 bits",),
    ),
    Reason(
        text="Not a TimeStampReq of RFC 3161 2.4.1; the reference does not look, and stamps it.",
        requests=(
            "DER, parameters of the hash are an empty INTEGER",
            "DER, empty extensions",
            "DER, version 0",
            "DER, version 2",
            "DER, a field too many",
            "DER, nonce after certReq",
            "201: DER, one extension twice",
        ),
    ),
    Reason(
        text="Accepted, too: base64url as in the reference's own documentation, no padding, the name `sha-256`.",
        requests=(
            "JSON, hashAlgorithm sha-256",
            "JSON, artifactHash in base64url",
            "JSON, artifactHash without padding",
        ),
        what=_ANSWER | _NO_CACHE,
    ),
    Reason(
        text="An empty body is refused like another one that cannot be read.",
        requests=("*, empty", "empty, chunked", "POST without a length"),
        rejections=RESTORED,
    ),
    Reason(
        text="A body that is too large is 413; 64 KiB is the limit unless `--max-request-body-size` says another.",
        requests=("1 MiB *", "2 KiB *", "DER, 70,000 *"),
        rejections=RESTORED,
    ),
    Reason(
        text="The HTTP server counts chunks itself, and refuses with 413 before there is a request.",
        requests=("2 KiB and an octet of zeros, chunked, *",),
        what=_ANSWER | _NO_CACHE | {"vary"},
    ),
)

_HTTP: Final = (
    Reason(
        text="Not HTTP: refused as there, with JSON in place of plain text.",
        requests=(
            "Content-Length: *",
            "two Content-Lengths",
            "Transfer-Encoding: gzip",
            "no HTTP at all",
            "HTTP/1.1 with*",
            "HTTP/3.0",
            "a space before a colon",
        ),
        what=_ANSWER | {"vary"},
    ),
    Reason(
        text="A way to hide one request in another (RFC 9112 2.2, 5.2, 6.3): refused, where the reference goes on.",
        requests=(
            "one Content-Length twice",
            "Content-Length and chunked",
            "a folded header line",
            "a header line that ends with LF only",
        ),
        what=_ANSWER | _NO_CACHE | {"vary"},
    ),
)

REASONS: Final = _GENERAL + _ROUTES + _NEGOTIATION + _CONTENT + _HTTP
