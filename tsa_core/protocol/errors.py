"""The base class of all exceptions, and the errors of reading requests."""

from __future__ import annotations

from tsa_core.protocol.status import PKIFailureInfo


class TsaError(Exception):
    """Base class of every exception that tsa-core raises on purpose."""

    plugin: str | None = None
    """The name of the plugin that raised it, where the core knows; for the log."""


class TemporaryFailure(TsaError):
    """What cannot be done now may be done later, though nobody changes a setting; base of other errors.

    A command that fails with one ends with the exit code 75 (EX_TEMPFAIL of sysexits.h), so that a service manager
    tries again. Whatever a provider's `open` raises of it, SignerUnavailable for example, says that it may be tried
    again.
    """


class RequestRejected(TsaError):
    """The request cannot be granted; the requester gets the reason.

    The client gets `text` as PKIFreeText (RFC 3161 2.4.2). It says what to change, and nothing about the server's
    internals.
    """

    def __init__(self, failure: PKIFailureInfo, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text


class DigestLengthMismatch(RequestRejected):
    """hashedMessage is not as long as its hash algorithm's output (RFC 3161 2.4.2: badDataFormat)."""


class WeakHash(RequestRejected):
    """The message imprint is SHA-1, which nobody should have timestamped any more (badAlg)."""


class EncodingError(TsaError):
    """The bytes are not valid DER of the named structure."""
