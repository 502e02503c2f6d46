"""A client of RFC 3161 timestamp authorities: build a request, send it, check the reply, explain a refusal."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

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

if TYPE_CHECKING:
    from tsa_core.client.issuers import fetch_issuers
    from tsa_core.client.revocation import fetch_crls, fetch_revocation
    from tsa_core.client.several import Timestamps, stamp_all
else:
    _LATER: Final = {
        "Timestamps": "tsa_core.client.several",
        "fetch_crls": "tsa_core.client.revocation",
        "fetch_issuers": "tsa_core.client.issuers",
        "fetch_revocation": "tsa_core.client.revocation",
        "stamp_all": "tsa_core.client.several",
    }
    """What is imported when it is asked for: a program that gets one timestamp does without it."""

    def __getattr__(name: str) -> Any:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value


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
