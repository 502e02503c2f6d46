"""Guards: plugins that decide who may use the HTTP server, how often, and who that is."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tsa_core.api.http_headers import refuse_server_headers, refuse_unsendable

_NAME: Final = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?", re.ASCII)
_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)


def _no_header(_name: str) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who sends a request, as a guard has found out. Raises ValueError for what cannot be logged as it is.

    `name` is the client's, `tenant` that of the customer or department which it belongs to, empty when there are none;
    both are printable ASCII of at most 200 characters. `how` is a word for the way it was recognised, `api-key` or
    `client-certificate` for example. `profiles` are those that it may use, None for all; a request for another one is
    refused (badRequest), whichever way the profile was chosen.
    """

    name: str
    tenant: str = ""
    how: str = ""
    profiles: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Check the texts: they go into logs, and into the audit trail."""
        for label, text in (("name", self.name), *([("tenant", self.tenant)] if self.tenant else [])):
            if not _NAME.fullmatch(text):
                raise ValueError(
                    f"{text!r:.80} cannot be the {label} of an identity: use up to 200 printable characters"
                )
        if self.how and not _WORD.fullmatch(self.how):
            raise ValueError(f"{self.how!r:.80} cannot say how: use a word in lower case, api-key for example")

    def may_use(self, profile: str) -> bool:
        """Say whether this client may use a profile."""
        return self.profiles is None or profile in self.profiles


@dataclass(frozen=True, kw_only=True)
class GuardedRequest:
    """What a guard is shown: the head of a request. Everything in it is what the client, or a proxy, wrote.

    `path` has no query. `client_address` is the socket's peer, as in RequestContext. `header(name)` returns a header's
    value or None. `content_length` is the body's length in bytes, None when the head does not say it. `identity` is
    what a guard before this one has found out.
    """

    method: str = "POST"
    path: str = "/api/v1/timestamp"
    client_address: str = ""
    request_id: str = ""
    content_length: int | None = None
    header: Callable[[str], str | None] = field(default=_no_header, repr=False)
    identity: Identity | None = None


@dataclass(frozen=True, kw_only=True)
class GuardRefusal:
    """A refusal. Raises ValueError for what cannot be sent.

    401: say who you are; `headers` should have WWW-Authenticate (RFC 9110 11.6.1). 403: not for you. 429: too much;
    `headers` should have Retry-After, in seconds (RFC 6585 4). `text` is for the client, in a sentence.
    """

    status: Literal[401, 403, 429]
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

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

    Thread-safe. A guard with the latency "local" answers within microseconds from this machine's memory, and is called
    on the I/O thread. One with "remote" asks a network: requests then run in threads, and it has to answer within
    `[middleware] guard_timeout`. What a guard raises, and a guard that does not answer in time, refuses the request
    with 503: nobody gets in because a guard is broken. A guard that would rather let clients in then has to catch its
    own errors. It is read once, after the guard was opened.
    """

    latency: Literal["local", "remote"] = "remote"

    @abstractmethod
    def check(self, request: GuardedRequest) -> Identity | GuardRefusal | None:
        """Return who sends the request, a refusal, or None: the request may pass, and its sender is not known."""

    def close(self) -> None:  # noqa: B027 - optional
        """Release what the guard holds."""
