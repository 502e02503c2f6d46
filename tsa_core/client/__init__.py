"""A client of RFC 3161 timestamp authorities: build a request, send it, check the reply, explain a refusal."""

from tsa_core.client.client import Timestamp, TimestampClient, Timestamps, stamp_all
from tsa_core.client.errors import (
    BadReply,
    ClientError,
    ReplyTooLarge,
    RequestTimeout,
    ThresholdNotMet,
    TimestampRefused,
    TransportError,
    UnexpectedAnswer,
)
from tsa_core.client.request import RequestError, build_request
from tsa_core.client.revocation import fetch_crls

__all__ = [
    "BadReply",
    "ClientError",
    "ReplyTooLarge",
    "RequestError",
    "RequestTimeout",
    "ThresholdNotMet",
    "Timestamp",
    "TimestampClient",
    "TimestampRefused",
    "Timestamps",
    "TransportError",
    "UnexpectedAnswer",
    "build_request",
    "fetch_crls",
    "stamp_all",
]
