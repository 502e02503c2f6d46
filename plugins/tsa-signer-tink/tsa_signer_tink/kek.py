"""The key encryption key (KEK): the plugin of its URI's scheme provides it, and Tink's functions take it as their AEAD.

No KMS is known here. Associated data are always empty, as in the keysets of tinkey.
"""

from __future__ import annotations

from typing import Any, Final

from tink import aead

from tsa_core.api import ConfigError, KeyEncryptionKey, OpenKek, SignerError
from tsa_signer_tink.options import TinkOptions

_KEY_SETTING: Final = "signer.tink.key_resource"
_FORMS: Final = (
    "gcp-kms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, "
    "aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID or hcvault://HOST:PORT/MOUNT/keys/NAME"
)


class KekAead(aead.Aead):  # type: ignore[misc] # tink has no types
    """Tink's AEAD over a KEK; each call ends within `timeout` seconds.

    Raises what the KEK raises, and SignerError for associated data.
    """

    def __init__(self, kek: KeyEncryptionKey, *, timeout: float) -> None:
        self._kek = kek
        self._timeout = timeout

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return the ciphertext; associated data must be empty."""
        _refuse(associated_data)
        return self._kek.encrypt(plaintext, timeout=self._timeout)

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext; associated data must be empty."""
        _refuse(associated_data)
        return self._kek.decrypt(ciphertext, timeout=self._timeout)

    def close(self) -> None:
        """Close the KEK's connection; called once more than needed does no harm."""
        self._kek.close()


def _refuse(associated_data: bytes) -> None:
    if associated_data:
        raise SignerError("keysets are encrypted without associated data, and what was given would protect nothing")


def open_kek_aead(options: TinkOptions, open_kek: OpenKek) -> KekAead:
    """Return the KEK that `key_resource` names; nothing is asked of it yet.

    Raises ConfigError for a URI or settings that cannot be used, PluginError when no plugin has the scheme.
    """
    uri = options.key_resource
    if not uri:
        raise ConfigError(
            f"the key that decrypts the keyset is not named; set it, or "
            f"--tink-key-resource, or TSA_SIGNER__TINK__KEY_RESOURCE: {_FORMS}",
            path=_KEY_SETTING,
        )
    scheme = uri.partition("://")[0]
    settings, prefix = _settings(options, scheme)
    kek = open_kek(uri, settings, uri_setting=_KEY_SETTING, settings_prefix=prefix)
    return KekAead(kek, timeout=options.start_timeout.total_seconds())


def _settings(options: TinkOptions, scheme: str) -> tuple[dict[str, Any], str]:
    """Return the KEK's settings, and what stands before their names in the configuration.

    They are those of `[signer.tink.kek]`, or those of `[signer.tink]` whose names begin with the first part of the
    scheme: `aws_profile` is the setting `profile` of a KEK `aws-kms://`.
    """
    family = f"{scheme.partition('-')[0]}_"
    named = {
        name.removeprefix(family): getattr(options, name)
        for name in sorted(options.model_fields_set)
        if name.startswith(family) and getattr(options, name) is not None
    }
    if not options.kek:
        return named, f"signer.tink.{family}"
    if named:
        names = ", ".join(f"{family}{name}" for name in named)
        raise ConfigError(f"with [signer.tink.kek] these settings go there, too: {names}", path="signer.tink")
    return options.kek, "signer.tink.kek."
