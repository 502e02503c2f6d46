"""Guards: plugins that decide who may use the HTTP server, how often, and who that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tsa_core.api.http_headers import refuse_server_headers, refuse_unsendable
from tsa_core.api.identity import Identity
from tsa_core.api.record import HealthStatus
from tsa_core.api.request import ProfileSummary


def _no_header(_name: str) -> str | None:
    """Return a header of the request by its name; there is none."""
    return None


@dataclass(frozen=True, kw_only=True)
class GuardedRequest:
    """What a guard is shown: the head of a request. Everything in it is what the client, or a proxy, wrote.

    `path` has no query. `client_address` is the socket's peer, as in RequestContext. `header(name)` returns a header's
    value or None. `content_length` is the body's length in bytes, None when the head does not say it. `identity` is
    what a guard before this one has found out. `client_certificate` is in DER: the client has shown it over TLS to this
    server, has its key, and one of `[server] tls_ca` has issued it. It was valid at the handshake, which may have been
    that of an earlier connection (TLS 1.2), and is not looked at again: time and revocation are the guard's. It is
    empty without TLS, without `tls_ca`, and behind a proxy, which may pass a certificate on in a header.
    """

    method: str = "POST"
    path: str = "/api/v1/timestamp"
    client_address: str = ""
    request_id: str = ""
    content_length: int | None = None
    header: Callable[[str], str | None] = field(default=_no_header, repr=False)
    identity: Identity | None = None
    client_certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class GuardRefusal:
    """A refusal. Raises ValueError for what cannot be sent.

    401: say who you are; `headers` should have WWW-Authenticate (RFC 9110 11.6.1). 403: not for you. 429: too much;
    `headers` should have Retry-After, in seconds (RFC 6585 4). `text` is for the client, in a sentence. `identity` is
    whom the guard refuses, when it knows that: for the access log and the metrics.
    """

    status: Literal[401, 403, 429]
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)
    identity: Identity | None = None

    def __post_init__(self) -> None:
        """Check everything."""
        if self.status not in (401, 403, 429):
            raise ValueError(f"the status {self.status!r} is not 401, 403 or 429")
        if not self.text:
            raise ValueError("a refusal needs a text for the client")
        refuse_unsendable(self.headers)
        refuse_server_headers(self.headers, "GuardRefusal")


class Guard(ABC):
    """Is shown the head of every request, but for /ping, /healthz and /readyz, before anything is done for it.

    The body has not been read then, unless it came together with the head.

    Thread-safe. A guard with the latency "local" answers within microseconds from this machine's memory, and is called
    on the I/O thread. One with "remote" asks a network: requests then run in threads, and it has to answer within
    `[middleware] guard_timeout`. What a guard raises, and a guard that does not answer in time, refuses the request
    with 503: nobody gets in because a guard is broken. A guard that would rather let clients in then has to catch its
    own errors. It is read once, after the guard was opened.
    """

    latency: Literal["local", "remote"] = "remote"

    def bind(self, profiles: Sequence[ProfileSummary]) -> None:  # noqa: B027 - optional
        """Learn which profiles there are; called once at start, before `check`.

        Raises ConfigError for a profile that the settings name and that does not exist.
        """

    @abstractmethod
    def check(self, request: GuardedRequest) -> Identity | GuardRefusal | None:
        """Return who sends the request, a refusal, or None: the request may pass, and its sender is not known."""

    def health(self) -> HealthStatus:
        """Return whether the guard can answer, for /readyz: while it cannot, everybody is refused.

        Called about once a second from a thread of its own, and may wait for a network; after 5 s without an answer
        /readyz is red. `reason` is one line that everybody may see.
        """
        return HealthStatus(healthy=True)

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the guard holds."""
