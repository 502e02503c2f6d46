"""A key encryption key in AWS KMS.

Permissions: the IAM action kms:Decrypt on the key, and kms:Encrypt for encrypting with it. Authentication: AWS's own
chain of environment, configuration files, web identity and the machine's role. What leaves the machine: the
ciphertext; when something is encrypted, the plaintext, over TLS.
"""

from __future__ import annotations

import re
from typing import Final

from tsa_core.api import WRONG_KEK, ConfigError, KeyEncryptionKey, SignerError
from tsa_signer_awskms.connection import KmsConnection, check_endpoint
from tsa_signer_awskms.options import AwsKekOptions

_FORM: Final = "aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID (or alias/NAME in place of key/ID)"
_URI: Final = re.compile(
    r"aws-kms://(?P<arn>arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]+:(?:key|alias)/[A-Za-z0-9_/-]+)"
)
_HINTS: Final = {
    "IncorrectKeyException": WRONG_KEK,
    "InvalidCiphertextException": WRONG_KEK,
    "InvalidKeyUsageException": "the key must have key usage ENCRYPT_DECRYPT",
}


class AwsKek(KeyEncryptionKey):
    """A symmetric KMS key; KMS encrypts up to 4096 bytes with it."""

    def __init__(self, connection: KmsConnection, *, arn: str) -> None:
        self._connection = connection
        self._arn = arn

    def encrypt(self, plaintext: bytes, *, timeout: float) -> bytes:
        """Return KMS's ciphertext."""
        return self._ask("encrypt", "CiphertextBlob", timeout, Plaintext=plaintext)

    def decrypt(self, ciphertext: bytes, *, timeout: float) -> bytes:
        """Return the plaintext; a ciphertext of another key is refused by KMS, because the key is named."""
        return self._ask("decrypt", "Plaintext", timeout, CiphertextBlob=ciphertext)

    def _ask(self, operation: str, wanted: str, timeout: float, **parameters: bytes) -> bytes:
        answer = self._connection.call(operation, self._arn, timeout=timeout, hints=_HINTS, **parameters)
        result = answer.get(wanted)
        if not isinstance(result, bytes) or not result:
            raise SignerError(f"AWS kms:{operation.capitalize()} with {self._arn}: the answer holds no {wanted}")
        return result

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"<AwsKek {self._arn}>"


def open_aws_kek(options: AwsKekOptions) -> AwsKek:
    """Return the KEK that a URI `aws-kms://ARN` names; the region is the ARN's."""
    parts = _URI.fullmatch(options.uri)
    if parts is None:
        raise ConfigError(f"{options.uri!r} is not such a key's URI; write {_FORM}", path=options.uri_setting)
    if options.endpoint_url:
        check_endpoint(options.endpoint_url, options.setting("endpoint_url"), "the secret that is decrypted crosses")
    connection = KmsConnection(
        region=parts["region"],
        profile=options.profile,
        endpoint_url=options.endpoint_url,
        connections=1,
        setting=options.setting,
    )
    return AwsKek(connection, arn=parts["arn"])
