"""The root of the exception tree and the errors of reading requests."""

from __future__ import annotations

from tsa_core.protocol.status import PKIFailureInfo


class TsaError(Exception):
    """Root of every exception that tsa-core raises on purpose."""


class RequestRejected(TsaError):
    """The request cannot be granted; the requester is told why.

    `text` reaches the client as PKIFreeText (RFC 3161 2.4.2): it tells the requester what to change and
    never mentions the server's insides.
    """

    def __init__(self, failure: PKIFailureInfo, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text


class DigestLengthMismatch(RequestRejected):
    """hashedMessage is not as long as its hash algorithm's output (RFC 3161 2.4.2: badDataFormat)."""


class EncodingError(TsaError):
    """Bytes that are not what the DER of the named structure must be."""
