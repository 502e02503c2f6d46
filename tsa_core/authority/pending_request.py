"""A request in progress and its reply."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from tsa_core.api import RequestContext, RequestRejected, RouteRequest, TimeStampReq, TokenDraft
from tsa_core.authority.batch_guard import BatchGuard
from tsa_core.authority.request_trace import RequestTrace
from tsa_core.authority.second_thread import SharedBatch, Signing
from tsa_core.protocol.tstinfo import Accuracy

if TYPE_CHECKING:
    from tsa_core.authority.profile import Profile


class Reply(NamedTuple):
    """The DER of a TimeStampResp, and the rejection when it refuses."""

    der: bytes
    rejection: RequestRejected | None = None


class Stamp(NamedTuple):
    """The time of a token. `accuracy` replaces the profile's, for a token that states another.

    `error_bound` is by how much the clock is off at most, None when that is unknown.
    """

    time: datetime
    gen_time_der: bytes
    signing_time_der: bytes
    accuracy: Accuracy | None
    error_bound: timedelta | None


class LeaveThread(BaseException):
    """Ends a request's run in a thread that must not wait; its server runs it again in another.

    No Exception, so that neither a framework nor a plugin catches it as a failure.
    """


class WorkOnBatch:
    """What the requests of a batch share: `stamps` are times by profile, `guard` decides who answers.

    `shared` has those that two threads sign; None without a second one.
    """

    __slots__ = ("guard", "shared", "stamps")

    def __init__(self, guard: BatchGuard | None, shared: SharedBatch | None = None) -> None:
        self.guard = guard
        self.shared = shared
        self.stamps: dict[str, Stamp] = {}


class PendingRequest:
    """A request that `TimestampAuthority.admit` has read and `respond_batch` answers.

    A refused request has its reply already. The other attributes are the authority's own, and each is set by the stage
    that computes it.
    """

    __slots__ = (
        "accepted",
        "batch",
        "context",
        "draft",
        "policy_der",
        "profile",
        "reply",
        "request",
        "response",
        "serial_der",
        "signature",
        "signed",
        "signed_attributes",
        "signing",
        "stamp",
        "to_sign",
        "trace",
        "tst_info",
        "waits",
    )

    batch: WorkOnBatch
    profile: Profile
    request: TimeStampReq
    policy_der: bytes
    stamp: Stamp
    serial_der: bytes
    draft: TokenDraft
    tst_info: bytes
    signed_attributes: bytes
    to_sign: bytes
    signature: bytes
    response: bytes

    def __init__(self, context: RequestContext, trace: RequestTrace | None) -> None:
        self.context = context
        self.trace = trace
        self.reply: Reply | None = None
        self.signing: Signing | None = None
        self.accepted = False
        """Whether its signature is known to be one that its client may have."""
        self.signed = False
        """Whether a thread has made its signature already."""
        self.waits = False
        """Whether it needs a thread for its signature (`TimestampAuthority.sign_in_thread`), and has none yet."""

    @property
    def answered(self) -> Reply:
        """The reply, once there is one."""
        if self.reply is None:
            raise RuntimeError("TimestampAuthority.respond_batch comes first")
        return self.reply


def context_of(request: RouteRequest, profile: str | None) -> RequestContext:
    """Return what the authority knows of a request that a plugin's route answers."""
    return RequestContext(
        request_id=request.request_id,
        client_address=request.client_address,
        profile=profile,
        header=request.header,
        identity=request.identity,
    )
