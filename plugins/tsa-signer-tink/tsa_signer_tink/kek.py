"""The key encryption key (KEK): what its URI names, and what every KMS behind it must do.

Each KMS is asked through its own SDK rather than through Tink's integrations, which know no time limits, no
checksums and no endpoint of one's own; what is encrypted is the same (docs/decisions/060). Associated data are
always empty, as in the keysets of tinkey.
"""

from __future__ import annotations

import importlib
import logging
from abc import abstractmethod
from types import ModuleType
from typing import Final

from tink import aead

from tsa_core.api import ConfigError, SignerError
from tsa_signer_tink.options import TinkOptions

ATTEMPTS: Final = 3
"""Tries of one call, all within `start_timeout`."""
WRONG_KEY: Final = "is this the key that encrypted the keyset, and is the keyset as it was?"

_FORMS: Final = (
    "gcp-kms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, "
    "aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID or hcvault://HOST:PORT/MOUNT/keys/NAME"
)
_EXTRAS: Final = {"gcp-kms": "gcpkms", "aws-kms": "awskms", "hcvault": "hcvault"}


class KeyEncryptionKey(aead.Aead):  # type: ignore[misc] # tink has no types
    """Encrypts and decrypts keysets: Tink's AEAD, so that it goes into Tink's own functions too.

    Raises SignerUnavailable where trying again may help, SignerError where the KMS refuses; the texts name the key and
    the permission, and never a credential or what was decrypted.
    """

    def encrypt(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """Return the ciphertext; associated data must be empty."""
        _refuse(associated_data)
        return self.wrap(plaintext)

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext; associated data must be empty."""
        _refuse(associated_data)
        return self.unwrap(ciphertext)

    @abstractmethod
    def wrap(self, plaintext: bytes) -> bytes:
        """Have the KMS encrypt a keyset."""

    @abstractmethod
    def unwrap(self, ciphertext: bytes) -> bytes:
        """Have the KMS decrypt a keyset."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; called once more than needed does no harm."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


def _refuse(associated_data: bytes) -> None:
    if associated_data:
        raise SignerError("keysets are encrypted without associated data, and what was given would protect nothing")


def open_kek(options: TinkOptions) -> KeyEncryptionKey:
    """Return the KEK that `key_resource` names; nothing is asked of it yet.

    Raises ConfigError for a URI or settings that cannot be used and for an SDK that is not installed.
    """
    uri = options.key_resource
    if not uri:
        raise ConfigError(
            f"the key that decrypts the keyset is not named; set it, or "
            f"--tink-key-resource, or TSA_SIGNER__TINK__KEY_RESOURCE: {_FORMS}",
            path="signer.tink.key_resource",
        )
    match uri.partition("://")[0]:
        case "gcp-kms":
            kek: KeyEncryptionKey = _module("gcp-kms").open_gcp_kek(uri, options)
        case "aws-kms":
            kek = _module("aws-kms").open_aws_kek(uri, options)
        case "hcvault":
            kek = _module("hcvault").open_vault_kek(uri, options)
        case _:
            raise ConfigError(
                f"{uri!r} names no KMS that is known here; write {_FORMS}", path="signer.tink.key_resource"
            )
    return kek


def _module(scheme: str) -> ModuleType:
    extra = _EXTRAS[scheme]
    try:
        return importlib.import_module(f"tsa_signer_tink.kek_{extra}")
    except ImportError as error:
        raise ConfigError(
            f"{scheme}:// needs an SDK that is not installed ({error.name}): pip install 'tsa-signer-tink[{extra}]'",
            path="signer.tink.key_resource",
        ) from None


def bad_uri(uri: str, form: str) -> ConfigError:
    """Return the error for a URI of the wrong form."""
    return ConfigError(f"{uri!r} is not such a key's URI; write {form}", path="signer.tink.key_resource")


def keep_quiet(*names: str) -> None:
    """Switch off the debug log of these loggers and of all below them: it writes answers, and with them the key."""
    for known in {*names, *logging.root.manager.loggerDict}:
        if any(known == name or known.startswith(f"{name}.") for name in names):
            logger = logging.getLogger(known)
            if known in names or logger.level:
                logger.setLevel(max(logger.level, logging.WARNING))


def one_line(text: object) -> str:
    """Return the text without line breaks, cut to what fits a log."""
    return " ".join(str(text).split())[:300]
