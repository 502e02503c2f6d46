"""The one client of Google Cloud KMS, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import google.auth
import grpc
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import kms
from google.cloud.kms_v1.services.key_management_service.transports.grpc import KeyManagementServiceGrpcTransport
from google.oauth2 import service_account

from tsa_core.api import ConfigError, SignerError, SignerUnavailable, within_deadline
from tsa_signer_gcpkms.options import GcpKmsOptions

T = TypeVar("T")

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SCOPES: Final = ("https://www.googleapis.com/auth/cloudkms",)
_CHANNEL_OPTIONS: Final = (
    # gRPC's own pauses between two connections grow to two minutes, for which the service would stay down.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection that a firewall forgot is noticed by these, and by nothing else.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
_UNAVAILABLE: Final = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)


class KmsConnection:
    """Calls KMS over one HTTP/2 channel, which all threads share, with a time limit.

    Raises SignerUnavailable where trying again may help, SignerError otherwise; the texts name the operation, the
    key and the permission, and never a credential.
    """

    def __init__(self, options: GcpKmsOptions) -> None:
        self._attempts = options.attempts
        self._client = kms.KeyManagementServiceClient(transport=_transport(options))

    def call(self, operation: str, name: str, permission: str, *, timeout: float, request: dict[str, Any]) -> Any:
        """Return the answer of one of the client's methods, tried again where that may help."""
        method = getattr(self._client, operation)
        # retry=None: the client's own retries go on for a minute, whatever its timeout is.
        return within_deadline(
            lambda left: _explained(
                lambda: method(request=request, timeout=left, retry=None), f"Google KMS {operation} {name}", permission
            ),
            timeout=timeout,
            attempts=self._attempts,
        )

    def enabled_versions(self, key: str, *, timeout: float) -> list[str]:
        """Return the names of the key's versions that are enabled."""

        def read_all(left: float) -> list[str]:
            pages = self._client.list_crypto_key_versions(
                request={"parent": key, "filter": "state=ENABLED"}, timeout=left, retry=None
            )
            enabled = kms.CryptoKeyVersion.CryptoKeyVersionState.ENABLED
            return [version.name for version in pages if version.state == enabled]

        where = f"Google KMS list_crypto_key_versions {key}"
        return within_deadline(
            lambda left: _explained(lambda: read_all(left), where, "cloudkms.cryptoKeyVersions.list"),
            timeout=timeout,
            attempts=self._attempts,
        )

    def close(self) -> None:
        """Close the channel."""
        transport: Any = self._client.transport  # whose close has no type
        transport.close()


def _transport(options: GcpKmsOptions) -> KeyManagementServiceGrpcTransport:
    host = options.endpoint
    if options.plaintext:
        if host.rpartition(":")[0] not in _LOOPBACK:
            raise ConfigError(
                f"plaintext is for an emulator on this machine, and {host!r} is not 127.0.0.1:PORT",
                path="signer.gcpkms.plaintext",
            )
        return KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(host, options=_CHANNEL_OPTIONS))
    try:
        if options.credentials_file is not None:
            read: Any = service_account.Credentials.from_service_account_file  # which has no type
            credentials = read(str(options.credentials_file), scopes=_SCOPES)
        else:
            credentials, _ = google.auth.default(scopes=_SCOPES)
    except (GoogleAuthError, OSError, ValueError) as error:
        # google-auth may quote what it could not read, so only its own errors are repeated.
        text = _line(error) if isinstance(error, GoogleAuthError) else type(error).__name__
        raise ConfigError(
            f"no Google credentials: {text}; set credentials_file or GOOGLE_APPLICATION_CREDENTIALS, or log in: "
            "gcloud auth application-default login",
            path="signer.gcpkms.credentials_file",
        ) from None

    def open_channel(address: str, **arguments: Any) -> grpc.Channel:
        arguments["options"] = [*(arguments.get("options") or ()), *_CHANNEL_OPTIONS]
        return KeyManagementServiceGrpcTransport.create_channel(address, **arguments)

    return KeyManagementServiceGrpcTransport(
        host=host, credentials=credentials, channel=open_channel, always_use_jwt_access=True
    )


def _explained(call: Callable[[], T], where: str, permission: str) -> T:
    """Return the call's result; turn what the library raises into what a signer may raise."""
    try:
        return call()
    except _UNAVAILABLE as error:
        raise SignerUnavailable(f"{where}: {type(error).__name__}: {_line(error.message)}") from None
    except (exceptions.PermissionDenied, exceptions.Unauthenticated) as error:
        raise SignerError(
            f"{where}: {type(error).__name__}: {_line(error.message)}; the identity needs {permission} on this key"
        ) from None
    except exceptions.GoogleAPICallError as error:
        raise SignerError(f"{where}: {type(error).__name__}: {_line(error.message)}") from None
    except GoogleAuthError as error:
        kind = SignerUnavailable if error.retryable else SignerError
        raise kind(f"{where}: no access token: {type(error).__name__}: {_line(error)}") from None
    except (grpc.RpcError, ValueError) as error:
        # ValueError: a call on a channel that is closed.
        raise SignerError(f"{where}: {type(error).__name__}: {_line(error)}") from None


def _line(text: object) -> str:
    return " ".join(str(text).split())[:300]
