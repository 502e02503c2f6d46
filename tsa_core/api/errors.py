"""The errors that packages and plugins raise to one another, and what the client gets for each."""

from __future__ import annotations

import errno
import socket
from typing import Final

from tsa_core.protocol.errors import RequestRejected, TemporaryFailure, TsaError
from tsa_core.protocol.signatures import UnsupportedKey
from tsa_core.secret_parts import without_secret_parts

__all__ = [
    "AuditError",
    "CertificateAuthorityError",
    "ClockError",
    "ConfigError",
    "KeyMismatch",
    "PluginCrash",
    "PluginError",
    "RequestRejected",
    "SignerError",
    "SignerUnavailable",
    "TemporaryFailure",
    "TsaError",
    "UnavailableError",
    "UnsupportedKey",
    "cannot_listen",
    "cannot_write",
]

_PASSES: Final = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.ENETUNREACH, errno.ENOBUFS})
"""Why an address cannot be had now, although the setting may be right."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class ConfigError(TsaError):
    """The operator's mistake: shown as one line that says what to do, exit code 2.

    `path` names the setting or the file that is wrong, `profiles.default.signer` for example. The text may quote what
    the operator wrote: a PIN or password within a URI is left out.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(without_secret_parts(f"{path}: {message}" if path else message))
        self.path = path


class UnavailableError(ConfigError, TemporaryFailure):
    """What a setting names is held by another process, or is not there yet: a port, an address, a pid file."""


def cannot_listen(message: str, error: OSError, *, path: str | None = None) -> ConfigError:
    """Return the error to raise when an address cannot be listened on: UnavailableError when that may pass."""
    passes = error.errno == socket.EAI_AGAIN if isinstance(error, socket.gaierror) else error.errno in _PASSES
    return (UnavailableError if passes else ConfigError)(message, path=path)


def cannot_write(
    message: str, error: BaseException | None, *, remedy: str = "", path: str | None = None
) -> ConfigError:
    """Return the error to raise when what a setting names cannot be written: UnavailableError when the disk is full.

    The remedy is for every other reason.
    """
    full = isinstance(error, OSError) and error.errno in _FULL
    remedy = "make room there" if full else remedy
    return (UnavailableError if full else ConfigError)(f"{message}; {remedy}" if remedy else message, path=path)


class PluginError(TsaError):
    """A plugin that cannot be used: not installed, not loadable, two of one name, an unknown hook.

    As in a ConfigError, a PIN or password within a URI is left out of the text.
    """

    def __init__(self, message: str, *, plugin: str | None = None) -> None:
        super().__init__(without_secret_parts(message))
        self.plugin = plugin


class PluginCrash(PluginError):
    """A plugin raised what its contract does not allow; the cause is chained and goes to the log only."""


class SignerError(TsaError):
    """The signer refused or failed; the client gets systemFailure and never sees the text."""


class SignerUnavailable(SignerError, TemporaryFailure):
    """The signer cannot be reached now: network, throttling, time-out. Retrying may help.

    `retry_after` is the number of seconds that the backend asks to wait first, None if it does not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KeyMismatch(SignerError):
    """At start: the signer's key is not the one that the certificate certifies."""


class CertificateAuthorityError(TsaError):
    """A certificate authority refused, failed or cannot be reached; the text is for the operator."""


class ClockError(TsaError):
    """The time cannot be trusted; the client gets timeNotAvailable with this text (RFC 3161 2.4.2)."""


class AuditError(TsaError):
    """An audit sink did not accept the record, so the token is withheld; the client gets systemFailure."""
