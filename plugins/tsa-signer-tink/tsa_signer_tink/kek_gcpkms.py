"""A KEK in Google Cloud KMS.

Permissions: cloudkms.cryptoKeyVersions.useToDecrypt on the key, and ...useToEncrypt for making keysets.
Authentication: application default credentials or a service account's key file. What leaves the machine: the
encrypted keyset; when one is made, the keyset itself, over TLS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import google.auth
import google_crc32c
import grpc
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import kms
from google.cloud.kms_v1.services.key_management_service.transports.grpc import KeyManagementServiceGrpcTransport
from google.oauth2 import service_account

from tsa_core.api import ConfigError, SignerError, SignerUnavailable, within_deadline
from tsa_signer_tink.kek import ATTEMPTS, WRONG_KEY, KeyEncryptionKey, bad_uri, keep_quiet, one_line
from tsa_signer_tink.options import TinkOptions

_FORM: Final = "gcp-kms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version"
_URI: Final = re.compile(r"gcp-kms://(?P<key>projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+)")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SCOPES: Final = ("https://www.googleapis.com/auth/cloudkms",)
_UNAVAILABLE: Final = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)


class GcpKek(KeyEncryptionKey):
    """A symmetric KMS key; CRC32C is checked in both directions."""

    def __init__(self, client: kms.KeyManagementServiceClient, *, key: str, timeout: float) -> None:
        self._client = client
        self._key = key
        self._timeout = timeout

    def wrap(self, plaintext: bytes) -> bytes:
        """Return KMS's ciphertext, made with the key's primary version."""
        request = {"name": self._key, "plaintext": plaintext, "plaintext_crc32c": google_crc32c.value(plaintext)}

        def ask(left: float) -> bytes:
            answer: Any = self._call(self._client.encrypt, "encrypt", request, left)
            if not answer.verified_plaintext_crc32c:
                raise SignerUnavailable(f"{self._where('encrypt')}: the keyset arrived unverified")
            return self._undamaged("encrypt", answer.ciphertext, answer.ciphertext_crc32c)

        return within_deadline(ask, timeout=self._timeout, attempts=ATTEMPTS)

    def unwrap(self, ciphertext: bytes) -> bytes:
        """Return the plaintext; the ciphertext itself says which version made it."""
        request = {"name": self._key, "ciphertext": ciphertext, "ciphertext_crc32c": google_crc32c.value(ciphertext)}

        def ask(left: float) -> bytes:
            answer: Any = self._call(self._client.decrypt, "decrypt", request, left)
            return self._undamaged("decrypt", answer.plaintext, answer.plaintext_crc32c)

        return within_deadline(ask, timeout=self._timeout, attempts=ATTEMPTS)

    def _undamaged(self, operation: str, data: bytes, checksum: int) -> bytes:
        if checksum != google_crc32c.value(data):
            raise SignerUnavailable(f"{self._where(operation)}: the answer arrived damaged")
        return bytes(data)

    def _call(self, method: Callable[..., Any], operation: str, request: dict[str, Any], timeout: float) -> Any:
        where = self._where(operation)
        try:
            # retry=None: the client's own retries go on for a minute, whatever its timeout is.
            return method(request=request, timeout=timeout, retry=None)
        except _UNAVAILABLE as error:
            raise SignerUnavailable(f"{where}: {type(error).__name__}: {one_line(error.message)}") from None
        except (exceptions.PermissionDenied, exceptions.Unauthenticated) as error:
            raise SignerError(
                f"{where}: {type(error).__name__}: {one_line(error.message)}; the identity needs "
                f"cloudkms.cryptoKeyVersions.useTo{operation.capitalize()} on this key"
            ) from None
        except exceptions.GoogleAPICallError as error:
            hint = f"; {WRONG_KEY}" if operation == "decrypt" and isinstance(error, exceptions.InvalidArgument) else ""
            raise SignerError(f"{where}: {type(error).__name__}: {one_line(error.message)}{hint}") from None
        except GoogleAuthError as error:
            kind = SignerUnavailable if error.retryable else SignerError
            raise kind(f"{where}: no access token: {type(error).__name__}: {one_line(error)}") from None
        except (grpc.RpcError, ValueError) as error:
            raise SignerError(f"{where}: {type(error).__name__}: {one_line(error)}") from None

    def _where(self, operation: str) -> str:
        return f"Google KMS {operation} {self._key}"

    def close(self) -> None:
        """Close the channel."""
        transport: Any = self._client.transport  # whose close has no type
        transport.close()


def open_gcp_kek(uri: str, options: TinkOptions) -> GcpKek:
    """Return the KEK that a URI `gcp-kms://projects/...` names."""
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise bad_uri(uri, _FORM)
    client = kms.KeyManagementServiceClient(transport=_transport(options))
    # GOOGLE_SDK_PYTHON_LOGGING_SCOPE switches it on, when the first client is made.
    keep_quiet("google.cloud.kms_v1")
    return GcpKek(client, key=parts["key"], timeout=options.start_timeout.total_seconds())


def _transport(options: TinkOptions) -> KeyManagementServiceGrpcTransport:
    host = options.gcp_endpoint
    if options.gcp_plaintext:
        if host.rpartition(":")[0] not in _LOOPBACK:
            raise ConfigError(
                f"plaintext is for an emulator on this machine, and {host!r} is not 127.0.0.1:PORT",
                path="signer.tink.gcp_plaintext",
            )
        return KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(host))
    try:
        if options.gcp_credentials_file is not None:
            read: Any = service_account.Credentials.from_service_account_file  # which has no type
            credentials = read(str(options.gcp_credentials_file), scopes=_SCOPES)
        else:
            credentials, _ = google.auth.default(scopes=_SCOPES)
    except (GoogleAuthError, OSError, ValueError) as error:
        # google-auth may quote what it could not read, so only its own errors are repeated.
        text = one_line(error) if isinstance(error, GoogleAuthError) else type(error).__name__
        raise ConfigError(
            f"no Google credentials: {text}; set gcp_credentials_file or GOOGLE_APPLICATION_CREDENTIALS, or log in: "
            "gcloud auth application-default login",
            path="signer.tink.gcp_credentials_file",
        ) from None
    return KeyManagementServiceGrpcTransport(host=host, credentials=credentials, always_use_jwt_access=True)
