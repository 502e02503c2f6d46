"""Key encryption keys (KEKs): keys in a KMS that encrypt what a plugin keeps on a disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Protocol

WRONG_KEK: Final = "is this the key that encrypted it, and is the ciphertext as it was?"
"""What a KEK's error says where the KMS refuses to decrypt, because no KMS tells which of the two it is."""


class KeyEncryptionKey(ABC):
    """Encrypts and decrypts secrets of up to some kilobytes, such as another key. Thread-safe.

    Opening one asks the KMS nothing. `encrypt` and `decrypt` raise SignerUnavailable when trying again may help,
    SignerError when the KMS refuses, and nothing else. The texts name the key and the permission that is missing; they
    hold no credential and nothing that was decrypted, and no log does.
    """

    @abstractmethod
    def encrypt(self, plaintext: bytes, *, timeout: float) -> bytes:
        """Return the ciphertext within `timeout` seconds; plaintexts of 1 to 4096 bytes are accepted.

        No associated data go along: the KMS is asked with an empty encryption context.
        """

    @abstractmethod
    def decrypt(self, ciphertext: bytes, *, timeout: float) -> bytes:
        """Return the plaintext within `timeout` seconds.

        A ciphertext that is damaged, or that another key made, is a SignerError whose text ends with WRONG_KEK.
        """

    def close(self) -> None:  # noqa: B027 - optional: a KEK without a connection has nothing to close
        """Release what it holds; called once more than needed does no harm."""


class OpenKek(Protocol):
    """Opens KEKs that other plugins provide: what the host hands to a provider that says `uses_keks`."""

    def __call__(
        self,
        uri: str,
        settings: Mapping[str, Any],
        *,
        uri_setting: str,
        settings_prefix: str,
        install: str = "",
    ) -> KeyEncryptionKey:
        """Return the KEK that `uri` names, opened by the provider of its scheme with `settings`; the caller closes it.

        `uri_setting` is the setting that the URI stands in, `signer.tink.key_resource` for example, and
        `settings_prefix` what makes a setting's full name of its own one, `signer.tink.kek.` for example: messages
        name both. `install` is what to type when no installed plugin has the scheme and it is none of tsa-core's.
        Raises ConfigError for a URI or settings that cannot be used, PluginError when no plugin has the scheme.
        """
