"""Routes: pages, and other paths of the HTTP server, that plugins add."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from tsa_core.api.errors import ConfigError
from tsa_core.api.http_headers import refuse_server_headers, refuse_unsendable
from tsa_core.api.identity import Identity

IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""The `cache` of what never changes under its path, such as a tile of a log, or a file whose name has its hash."""
NOT_CACHED: Final = "no-store"

METHODS: Final = ("GET", "POST")
"""What a route may answer. HEAD is answered wherever GET is."""

_PART: Final = re.compile(r"[A-Za-z0-9._~-]+|\{[a-z][a-z0-9_]*\}", re.ASCII)
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+", re.ASCII)
_REST: Final = re.compile(r"\{[a-z][a-z0-9_]*:path\}", re.ASCII)


def _no_header(_name: str) -> str | None:
    """Return a header of the request by its name; there is none."""
    return None


@dataclass(frozen=True, kw_only=True)
class RouteRequest:
    """What a handler is given. The body is whole, and not longer than the route's `max_body`.

    `parameters` are the parts of the path that the route leaves open, `query` the first value of each parameter of
    the query; both are decoded, and whatever the client wrote. `header(name)` returns a header's value or None.
    `client_address` is the socket's peer, as in RequestContext. `base_url` is the server's address as this client sees
    it, without a slash at its end: `[server] public_url`, else the Host header when it is a host and nothing more.
    """

    method: str = "GET"
    path: str = "/"
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    body: bytes = field(default=b"", repr=False)
    client_address: str = ""
    request_id: str = ""
    base_url: str = "http://127.0.0.1"
    header: Callable[[str], str | None] = field(default=_no_header, repr=False)
    identity: Identity | None = None
    """Who sends the request, when a guard has found out."""
    trace: object = field(default=None, repr=False)
    """For the core, which counts a token that `AuthorityAccess.issue` issues for this request."""


@dataclass(frozen=True, kw_only=True)
class RouteReply:
    """What a handler returns, or a constant that a route always answers. Raises ValueError for what cannot be sent.

    `cache` is the Cache-Control header: nothing is cached unless it says so (IMMUTABLE, `public, max-age=60`). With an
    `etag`, a client that has this body already gets 304. The core adds `X-Content-Type-Options: nosniff`, and to HTML
    without a Content-Security-Policy one that allows nothing.
    """

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    content_type: str = "text/plain; charset=utf-8"
    cache: str = NOT_CACHED
    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check everything: a line break in a header would forge another one."""
        if type(self.status) is not int or not 200 <= self.status <= 599:
            raise ValueError(f"the status {self.status!r} is not between 200 and 599")
        if not isinstance(self.body, bytes):
            raise ValueError(f"the body is a {type(self.body).__name__}, not bytes")
        if not re.fullmatch(r"[A-Za-z0-9._:+/=-]*", self.etag, re.ASCII):
            raise ValueError(f"{self.etag!r} cannot be an ETag; use letters and digits, a hash for example")
        refuse_unsendable({"Content-Type": self.content_type, "Cache-Control": self.cache, **self.headers})
        refuse_server_headers(self.headers, "RouteReply")


Handler: TypeAlias = Callable[[RouteRequest], RouteReply]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path, and what answers there. Raises ValueError for a path that cannot be one.

    `path` is `/like/this`. A part `{name}` stands for any one part, and `{name:path}`, which can only be the last, for
    all the rest. `answer` is a RouteReply when it is always the same; the I/O thread sends that. Else it is a handler,
    which is called in a thread that may wait, for `[routes] handler_timeout`. `max_body` is in bytes; the server's own
    `max_request_body_size` holds too. `takes` are the media types of a protocol of its own: a client that posts one of
    them where timestamps are issued is told of this path.
    """

    path: str
    answer: RouteReply | Handler
    methods: Sequence[str] = ("GET",)
    max_body: int = 65_536
    takes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check everything that can be checked without knowing the other routes."""
        parts = self.parts
        if not self.path.startswith("/") or not all(
            _PART.fullmatch(part) or (last and _REST.fullmatch(part))
            for part, last in zip(parts, [*[False] * (len(parts) - 1), True], strict=False)
        ):
            raise ValueError(f"{self.path!r} cannot be a path; write /like/this, /like/{{name}} or /like/{{name:path}}")
        names = [part.strip("{}").partition(":")[0] for part in parts if part.startswith("{")]
        if len(names) != len(set(names)):
            raise ValueError(f"{self.path!r} has a name twice")
        if not self.methods or set(self.methods) - set(METHODS):
            raise ValueError(f"{self.path}: the methods are {list(self.methods)}; they can be {' and '.join(METHODS)}")
        if not isinstance(self.answer, RouteReply) and not callable(self.answer):
            raise ValueError(f"{self.path}: its answer is neither a RouteReply nor a function")
        if isinstance(self.takes, str) or not all(_MEDIA_TYPE.fullmatch(each) for each in self.takes):
            raise ValueError(f"{self.path}: {self.takes!r} is no list of media types in small letters")

    @property
    def parts(self) -> list[str]:
        """The parts of the path between slashes; none of `/`."""
        return self.path[1:].split("/") if self.path != "/" else []

    def overlaps(self, other: Route) -> bool:
        """Say whether a path can match both."""
        for mine, theirs in zip(self.parts, other.parts, strict=False):
            if mine.endswith(":path}") or theirs.endswith(":path}"):
                return True
            if mine != theirs and not mine.startswith("{") and not theirs.startswith("{"):
                return False
        return len(self.parts) == len(other.parts)


@dataclass(frozen=True, kw_only=True)
class ProfileReport:
    """A profile as it is now; `path` is where it answers.

    `certificate_chain` is PEM, TSA certificate first, root last. `subject` is the TSA certificate's, as RFC 4514 writes
    it. `stopped_by` is empty while it issues: else a sentence for each kind of reason, fit for everybody to read.
    """

    name: str
    path: str
    policies: tuple[str, ...]
    algorithm: str
    subject: str
    accuracy: timedelta | None
    certificate_chain: bytes = field(repr=False)
    not_after: datetime
    stopped_by: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClockReport:
    """The clock as it is now. `text` is a sentence or two for people, `state` one word for programs.

    `trusted` says that somebody watches the clock, or vouches for it, and that it is right.
    """

    state: str
    trusted: bool
    text: str
    error_bound: timedelta | None = None


class Countersigner(ABC):
    """Countersigns for one profile: its key signs the value of another signature, with the time. Thread-safe.

    A countersignature is no token: it has no serial number, no policy, no nonce and no accuracy.
    """

    algorithm: str
    """How it is signed: `rsa-pkcs1v15-sha256` for example. The digest in it is the one of this algorithm."""

    @abstractmethod
    def countersign(self, content: bytes, request: RouteRequest) -> bytes:
        """Return the DER of a PKCS #7 ContentInfo: SignedData over `content`, the value of a signature.

        Its one SignerInfo has the attributes contentType (data), signingTime and messageDigest; the signer's
        certificate and its issuers' are beside it. signingTime is the second that has begun. All that protects tokens
        has its say: selectors and identities, clock gate, the profile's period, the time limit of the signer, and the
        audit sinks, which store an event of the kind `countersignature`. `request` is the one that the handler answers.
        Raises RequestRejected, with a text for the client, and nothing else.
        """


class AuthorityAccess(ABC):
    """What routes may know of the authority, and ask of it. Thread-safe. Later versions may add methods."""

    @abstractmethod
    def profiles(self) -> Sequence[ProfileReport]:
        """Return the profiles, the default one first; waits for nothing."""

    @abstractmethod
    def clock(self) -> ClockReport:
        """Return the clock's state; waits for nothing."""

    @abstractmethod
    def issue(self, query: bytes, request: RouteRequest, *, profile: str | None = None) -> bytes:
        """Answer a TimeStampReq with a TimeStampResp, both DER, as `/api/v1/timestamp` does, or `/tsa/PROFILE`.

        Selectors, clock gate, processors and audit trail have their say; a refusal is a TimeStampResp too. `request` is
        the one that the handler answers: the audit record names its client. Waits as long as the profile's signer does.
        Raises LookupError when there is no such profile.
        """

    def countersigner(self, profile: str, *, protocol: str, sha1: bool = False) -> Countersigner:
        """Return what countersigns for a profile; for `Routes.bind`, so that what cannot work is found at start.

        `protocol` is the word for it in the audit trail, `authenticode` for example. With `sha1` it signs SHA-1
        digests, which only settings that say so in words may ask for. Raises ConfigError for a profile that does not
        exist, or must not or cannot countersign, and SignerError when a trial signature fails.
        """
        raise ConfigError(f"this authority makes no countersignatures, asked of {profile!r} for {protocol} ({sha1=})")


class Routes(ABC):
    """The routes of one plugin, open while the configuration selects it. Thread-safe.

    A handler gets a RouteRequest and returns a RouteReply. What it raises is a 500 and one line of the log. One that
    has not returned within `[routes] handler_timeout` is left to its thread: its client gets 503, and so do all others
    of this plugin, but for one at a time that tries again, until a call returns.
    """

    def bind(self, access: AuthorityAccess) -> None:  # noqa: B027 - optional
        """Learn how to reach the authority; called once, before `routes`. `access` can be used once requests come.

        Raises ConfigError for what the settings name in vain, a profile for example.
        """

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Return the routes; called once at start. No path may be another plugin's or the core's.

        GET of `/` can be taken: it replaces the core's page. Nothing below /api and /tsa can be.
        """

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the routes hold."""
