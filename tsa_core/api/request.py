"""What plugins see of a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tsa_core.api.identity import Identity
from tsa_core.protocol.request import RequestExtension, TimeStampReq

__all__ = ["ProfileSummary", "RequestContext", "RequestExtension", "TimeStampReq"]


def _no_header(_name: str) -> str | None:
    return None


def _no_pool(_name: str) -> None:
    return None


class RequestContext:
    """Where a request came from. It is made for every request, so it is a plain class with slots.

    `client_address` is the socket's peer address, without a port; `unix` for a Unix socket, empty when unknown (another
    WSGI server may say `localhost` or nothing for a Unix socket). A plugin that uses a proxy's header must check the
    peer first. `profile` is the one that the URL names, None on the default route. `identity` is who sends the request,
    None when no guard has found out.
    `header(name)` returns a request header's value or None. `enter(name)` is for the core: it is called with the
    profile's name before a signer that waits, and the server may then run the request again in another thread.
    """

    __slots__ = ("client_address", "enter", "header", "identity", "profile", "request_id")

    def __init__(
        self,
        *,
        request_id: str = "",
        client_address: str = "",
        profile: str | None = None,
        header: Callable[[str], str | None] = _no_header,
        enter: Callable[[str], None] = _no_pool,
        identity: Identity | None = None,
    ) -> None:
        self.request_id = request_id
        self.client_address = client_address
        self.profile = profile
        self.header = header
        self.enter = enter
        self.identity = identity


@dataclass(frozen=True, kw_only=True)
class ProfileSummary:
    """What a policy selector is told about each profile at start."""

    name: str
    policies: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class TokenDraft:
    """A token that is about to be signed; what a response processor may base its extensions on.

    Read only, though not frozen: it is made for every token, and that costs 1 us.
    """

    profile: str
    policy: str
    serial_number: int
    gen_time: datetime
    request: TimeStampReq
    context: RequestContext
