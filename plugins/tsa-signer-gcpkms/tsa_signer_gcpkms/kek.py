"""A key encryption key in Google Cloud KMS.

Permissions: cloudkms.cryptoKeyVersions.useToDecrypt on the key, and ...useToEncrypt for encrypting with it.
Authentication: application default credentials or a service account's key file. What leaves the machine: the
ciphertext; when something is encrypted, the plaintext, over TLS.
"""

from __future__ import annotations

import re
from typing import Any, Final

import google_crc32c

from tsa_core.api import WRONG_KEK, ConfigError, KeyEncryptionKey, SignerUnavailable
from tsa_signer_gcpkms.connection import KmsConnection
from tsa_signer_gcpkms.options import GcpKekOptions

_FORM: Final = "gcp-kms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version"
_URI: Final = re.compile(r"gcp-kms://(?P<key>projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+)")


class GcpKek(KeyEncryptionKey):
    """A symmetric KMS key; CRC32C is checked in both directions."""

    def __init__(self, connection: KmsConnection, *, key: str) -> None:
        self._connection = connection
        self._key = key

    def encrypt(self, plaintext: bytes, *, timeout: float) -> bytes:
        """Return KMS's ciphertext, made with the key's primary version."""
        where = f"Google KMS encrypt {self._key}"

        def check(answer: Any) -> None:
            if not answer.verified_plaintext_crc32c:
                raise SignerUnavailable(f"{where}: the plaintext arrived unverified")
            _check_sum(where, answer.ciphertext, answer.ciphertext_crc32c)

        request = {"name": self._key, "plaintext": plaintext, "plaintext_crc32c": google_crc32c.value(plaintext)}
        permission = "cloudkms.cryptoKeyVersions.useToEncrypt"
        answer = self._connection.call("encrypt", self._key, permission, timeout=timeout, request=request, check=check)
        return bytes(answer.ciphertext)

    def decrypt(self, ciphertext: bytes, *, timeout: float) -> bytes:
        """Return the plaintext; the ciphertext itself says which version made it."""
        where = f"Google KMS decrypt {self._key}"
        request = {"name": self._key, "ciphertext": ciphertext, "ciphertext_crc32c": google_crc32c.value(ciphertext)}
        answer = self._connection.call(
            "decrypt",
            self._key,
            "cloudkms.cryptoKeyVersions.useToDecrypt",
            timeout=timeout,
            request=request,
            check=lambda answer: _check_sum(where, answer.plaintext, answer.plaintext_crc32c),
            invalid=WRONG_KEK,
        )
        return bytes(answer.plaintext)

    def close(self) -> None:
        """Close the channel."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"<GcpKek {self._key}>"


def _check_sum(where: str, data: bytes, checksum: int) -> None:
    if checksum != google_crc32c.value(data):
        raise SignerUnavailable(f"{where}: the answer arrived damaged")


def open_gcp_kek(options: GcpKekOptions) -> GcpKek:
    """Return the KEK that a URI `gcp-kms://projects/...` names."""
    parts = _URI.fullmatch(options.uri)
    if parts is None:
        raise ConfigError(f"{options.uri!r} is not such a key's URI; write {_FORM}", path=options.uri_setting)
    return GcpKek(KmsConnection(options, setting=options.setting), key=parts["key"])
