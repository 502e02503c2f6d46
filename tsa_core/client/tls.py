"""TLS for a client: which certificate authorities it trusts, and the certificate that it shows itself."""

from __future__ import annotations

import ssl
from os import PathLike, fspath
from typing import TypeAlias

from tsa_core.protocol.errors import TsaError
from tsa_core.values import Value

File: TypeAlias = str | PathLike[str]


class ClientSettingError(TsaError):
    """A setting of the client cannot be used: a file that cannot be read, or two that exclude each other."""


class Tls(Value):
    """The context for the server that the caller named, and the one for proxies and other servers.

    None is the system's certificate authorities, and no client certificate.
    """

    named: ssl.SSLContext | None
    others: ssl.SSLContext | None


def tls(
    *,
    context: ssl.SSLContext | None = None,
    ca: File | None = None,
    certificate: File | None = None,
    key: File | None = None,
) -> Tls:
    """Return the contexts for a client's settings; raises ClientSettingError.

    `ca` is a PEM file of the authorities to trust, instead of the system's. `certificate` is a PEM file with the
    client's certificate and those above it; `key` its private key, if it is not in the same file.
    """
    if context is not None:
        if not (ca is None and certificate is None and key is None):
            raise ClientSettingError("an ssl_context already says what ca, client_certificate and client_key would")
        return Tls(named=context, others=context)
    if key is not None and certificate is None:
        raise ClientSettingError("a client key needs a client certificate")
    others = _trusting(ca) if ca is not None else None
    if certificate is None:
        return Tls(named=others, others=others)
    named = _trusting(ca)
    _show(named, certificate, key)
    return Tls(named=named, others=others)


def _trusting(ca: File | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else fspath(ca))
    except ssl.SSLError:
        raise ClientSettingError(f"the CA file {ca} holds no PEM certificate that can be read") from None
    except OSError as error:
        raise ClientSettingError(f"the CA file {ca} cannot be read: {error.strerror}") from None


def _show(context: ssl.SSLContext, certificate: File, key: File | None) -> None:
    files = f"{certificate}" if key is None else f"{certificate} with the key {key}"
    encrypted = False

    def password() -> str:
        # Without this, OpenSSL asks at the terminal.
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(fspath(certificate), None if key is None else fspath(key), password)
    except ssl.SSLError as error:
        if encrypted:
            reason = "its private key is encrypted; give a key file without a password"
        elif error.reason == "KEY_VALUES_MISMATCH":
            reason = "the private key is another certificate's"
        else:
            reason = "it needs a PEM certificate and its PEM private key"
        raise ClientSettingError(f"the client certificate {files} cannot be used: {reason}") from None
    except OSError as error:
        raise ClientSettingError(f"the client certificate {files} cannot be read: {error.strerror}") from None
