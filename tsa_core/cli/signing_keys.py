"""Opens keys and certificate authorities by URI for the commands that make and judge certificates.

They are opened as a server would open them: with the plugin's settings from the configuration file and the
environment, so that a key that works here works there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tsa_core.api import (
    CertificateAuthority,
    CertificateAuthorityError,
    ConfigError,
    Signer,
    SignerError,
    TsaError,
    UnsupportedKey,
)
from tsa_core.config import load_settings
from tsa_core.host import CERTIFICATE_AUTHORITY, SIGNER, PluginHost


class KeyOpener:
    """Opens what URIs name; a context manager that closes it all again.

    `config` is the server's configuration file, else the one that TSA_CONFIG names, else none. Raises ConfigError
    for what it says wrong.
    """

    def __init__(self, config: Path | None = None) -> None:
        self._settings = load_settings(config, whole=False)
        self._host = PluginHost.for_settings(self._settings)

    def signer(
        self,
        uri: str,
        *,
        option: str,
        table: Mapping[str, Any] | None = None,
        below: Mapping[str, Any] | None = None,
        certified_key: bytes | None = None,
    ) -> Signer:
        """Open the signer of a key URI; `option` is the flag that gave it, for messages.

        `certified_key` is the SubjectPublicKeyInfo that a certificate has, for URIs that may name several keys.

        Its settings are `below`, over them those of `[signer.SCHEME]`, of `[certificate_signer.SCHEME]`, which a server
        does not read, of a profile that signs with the same key, and `table`. Raises ConfigError, PluginError or
        SignerError.
        """
        scheme = _scheme(uri, option)
        options, fixed = self._options(uri, scheme)
        fixed["certified_key"] = certified_key
        try:
            signer = self._host.open(SIGNER, scheme, {**(below or {}), **options, **(table or {})}, fixed=fixed)
        except (SignerError, UnsupportedKey) as error:
            raise SignerError(f"{option}: {error}") from error
        if signer.certificate_chain():
            raise ConfigError(
                f"{option}: the signer {scheme!r} makes a key of its own at every start, and a chain with it; "
                "name a key that stays"
            )
        return signer

    def make_key(self, uri: str, kind: str, *, option: str) -> str:
        """Have the plugin of a URI's scheme make a key; return the URI that names it.

        Its settings are those by which `signer` opens it afterwards. Raises what `signer` raises.
        """
        scheme = _scheme(uri, option)
        options, fixed = self._options(uri, scheme)
        try:
            return self._host.make_key(scheme, options, kind, fixed=fixed)
        except (SignerError, UnsupportedKey) as error:
            raise type(error)(f"{option}: {error}") from error

    def distribution(self, uri: str) -> str:
        """Return the distribution and version of the plugin that has opened a URI."""
        return self._host.distribution(_scheme(uri, "key"))

    def _options(self, uri: str, scheme: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the settings of a key URI, and what the core fills in."""
        options = {**self._settings.signer.get(scheme, {}), **self._settings.certificate_signer.get(scheme, {})}
        fixed: dict[str, Any] = {"uri": uri, "certified_key": None}
        for profile in self._settings.profiles.values():
            if profile.signer == uri:
                options |= profile.signer_options
                fixed |= {"signature_digest": profile.signer_hash, "rsa_pss": profile.rsa_pss}
        return options, fixed

    def authority(self, uri: str, *, option: str) -> CertificateAuthority:
        """Open the certificate authority that a URI names; raises ConfigError, PluginError or an error of the CA."""
        scheme = _scheme(uri, option)
        table = self._settings.certificate_authority.get(scheme, {})
        try:
            return self._host.open(CERTIFICATE_AUTHORITY, scheme, table, fixed={"uri": uri})
        except CertificateAuthorityError as error:
            raise TsaError(f"{option}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._host.close()


def _scheme(uri: str, option: str) -> str:
    scheme, separator, _ = uri.partition(":")
    if not separator or not scheme:
        # A URI may hold a PIN, so it is not repeated.
        raise ConfigError(f"{option}: a URI is needed, whose scheme names the plugin: file:key.pem for example")
    return scheme.lower()
