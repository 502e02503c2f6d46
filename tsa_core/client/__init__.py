"""A client of RFC 3161 timestamp authorities: build a request, send it, check the reply, explain a refusal."""

from typing import TYPE_CHECKING

from tsa_core.client.client import TimestampClient
from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import (
    BadReply,
    ClientError,
    ConnectionFailed,
    NotAwaited,
    ReplyTooLarge,
    RequestTimeout,
    ServerNotTrusted,
    ThresholdNotMet,
    TimestampRefused,
    TransportError,
    UnexpectedAnswer,
)
from tsa_core.client.request import RequestArguments, RequestError, build_request
from tsa_core.client.settings import ClientSettings
from tsa_core.client.timeliness import DEFAULT_CLOCK_WINDOW, OutsideClockWindow
from tsa_core.client.timestamp import Timestamp
from tsa_core.client.tls import ClientSettingError
from tsa_core.client.transport import fetch
from tsa_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from tsa_core.client.issuers import fetch_issuers
    from tsa_core.client.revocation import fetch_crls, fetch_revocation
    from tsa_core.client.several import Timestamps, stamp_all
else:
    # A program that gets one timestamp does without these.
    __getattr__ = lazy_names(
        __name__,
        {
            "tsa_core.client.issuers": "fetch_issuers",
            "tsa_core.client.revocation": "fetch_crls fetch_revocation",
            "tsa_core.client.several": "Timestamps stamp_all",
        },
    )


__all__ = [
    "DEFAULT_CLOCK_WINDOW",
    "BadReply",
    "ClientError",
    "ClientSettingError",
    "ClientSettings",
    "ConnectionFailed",
    "Deadline",
    "NotAwaited",
    "OutsideClockWindow",
    "ReplyTooLarge",
    "RequestArguments",
    "RequestError",
    "RequestTimeout",
    "ServerNotTrusted",
    "ThresholdNotMet",
    "Timestamp",
    "TimestampClient",
    "TimestampRefused",
    "Timestamps",
    "TransportError",
    "UnexpectedAnswer",
    "build_request",
    "fetch",
    "fetch_crls",
    "fetch_issuers",
    "fetch_revocation",
    "stamp_all",
]
