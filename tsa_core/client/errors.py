"""Why no timestamp was obtained."""

from __future__ import annotations

from collections.abc import Sequence

from tsa_core.client.timestamp import Timestamp
from tsa_core.protocol.errors import TsaError
from tsa_core.verify import NotGranted, VerificationError


class ClientError(TsaError):
    """No timestamp that can be used came back; `url` is the authority's, without credentials."""

    def __init__(self, url: str, text: str) -> None:
        super().__init__(f"{url}: {text}")
        self.url = url
        self.text = text


class TransportError(ClientError):
    """The authority could not be reached, or did not answer as an HTTP server does."""


class ConnectionFailed(TransportError):
    """No connection could be made, or it broke before an answer came; asking again may help."""


class ServerNotTrusted(TransportError):
    """The server's TLS certificate is for another name, has expired, or is from an unknown authority."""


class RequestTimeout(TransportError):
    """The authority did not answer in time."""


class NotAwaited(TransportError):
    """The authority had not answered yet when enough others had; nothing is wrong with it."""


class ReplyTooLarge(TransportError):
    """The authority sent more than any reply needs."""


class UnexpectedAnswer(TransportError):
    """The authority answered over HTTP, but not with a timestamp reply.

    `status` is the HTTP status, `retry_after` the seconds that the server asks to wait, None if it does not say.
    """

    def __init__(self, url: str, status: int, text: str, retry_after: float | None = None) -> None:
        super().__init__(url, text)
        self.status = status
        self.retry_after = retry_after


class TimestampRefused(ClientError):
    """The authority refused the request (RFC 3161 2.4.2).

    `status` is PKIStatus as a number, `texts` what the authority says, `failures` the names of the failInfo bits.
    """

    def __init__(self, url: str, cause: NotGranted) -> None:
        super().__init__(url, str(cause))
        self.status = cause.status
        self.texts = cause.texts
        self.failures = cause.failures


class BadReply(ClientError):
    """The reply does not hold what was asked for; `cause` names the rule that it breaks."""

    def __init__(self, url: str, cause: VerificationError) -> None:
        super().__init__(url, f"the reply must not be used: {cause}")
        self.cause = cause


class ThresholdNotMet(TsaError):
    """Fewer authorities than demanded gave a timestamp; both lists are in the order of the URLs."""

    def __init__(self, threshold: int, timestamps: Sequence[Timestamp], failures: Sequence[ClientError]) -> None:
        reasons = "; ".join(map(str, failures))
        total = len(timestamps) + len(failures)
        super().__init__(f"{len(timestamps)} of {total} authorities gave a timestamp, {threshold} needed: {reasons}")
        self.threshold = threshold
        self.timestamps = tuple(timestamps)
        self.failures = tuple(failures)
