"""The one client of Google Cloud KMS, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import kms
from google.cloud.kms_v1.services.key_management_service.transports.grpc import KeyManagementServiceGrpcTransport
from google.rpc.error_details_pb2 import RetryInfo

from tsa_core.api import SignerError, SignerUnavailable, keep_quiet, one_line, within_deadline
from tsa_signer_gcpkms.options import GcpKekOptions, GcpKmsOptions
from tsa_signer_gcpkms.transport import open_transport

T = TypeVar("T")

_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
_QUOTA: Final = "; the project's quota of Cloud KMS is used up; raise it, or spread the load"
_CREDENTIALS: Final = "; have the credentials ended or been withdrawn, and is this machine's clock right?"
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

    def __init__(
        self, options: GcpKmsOptions | GcpKekOptions, *, setting: Callable[[str], str], attempts: int | None = None
    ) -> None:
        self._attempts = attempts
        transport = open_transport(
            KeyManagementServiceGrpcTransport,
            endpoint=options.endpoint,
            plaintext=options.plaintext,
            credentials_file=options.credentials_file,
            scope=_SCOPE,
            setting=setting,
        )
        self._client = kms.KeyManagementServiceClient(transport=transport)
        # Its debug log, which holds what was decrypted, is switched on when the first client is made.
        keep_quiet("google.cloud.kms_v1")

    def call(
        self,
        operation: str,
        name: str,
        permission: str,
        *,
        timeout: float,
        request: dict[str, Any],
        check: Callable[[Any], None] | None = None,
        invalid: str = "",
        attempts: int | None = None,
    ) -> Any:
        """Return the answer of one of the client's methods, tried again where that may help.

        `name` is what it is about, and what the identity may lack the permission on. `check` may refuse an answer with
        SignerUnavailable; then the call is tried again, too. `invalid` says what to do when Google calls an argument
        invalid. `attempts` are the most tries, those of the settings unless given.
        """
        method = getattr(self._client, operation)
        where = f"Google KMS {operation} {name}"

        def ask(left: float) -> Any:
            # retry=None: the client's own retries go on for a minute, whatever its timeout is.
            answer = _explained(lambda: method(request=request, timeout=left, retry=None), where, permission, invalid)
            if check is not None:
                check(answer)
            return answer

        return within_deadline(ask, timeout=timeout, attempts=attempts or self._attempts)

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


def _explained(call: Callable[[], T], where: str, permission: str, invalid: str = "") -> T:
    """Return the call's result; turn what the library raises into what a signer may raise."""
    try:
        return call()
    except _UNAVAILABLE as error:
        hint = _QUOTA if isinstance(error, exceptions.ResourceExhausted) else ""
        raise SignerUnavailable(
            f"{where}: {type(error).__name__}: {one_line(error.message)}{hint}", retry_after=_retry_delay(error)
        ) from None
    except exceptions.PermissionDenied as error:
        lacks = f"the identity needs {permission} on this {'key' if '/cryptoKeys/' in where else 'key ring'}"
        raise SignerError(f"{where}: {type(error).__name__}: {one_line(error.message)}; {lacks}") from None
    except exceptions.Unauthenticated as error:
        reason = f" ({error.reason})" if error.reason else ""
        raise SignerError(f"{where}: {type(error).__name__}{reason}: {one_line(error.message)}{_CREDENTIALS}") from None
    except exceptions.GoogleAPICallError as error:
        hint = f"; {invalid}" if invalid and isinstance(error, exceptions.InvalidArgument) else ""
        if isinstance(error, exceptions.FailedPrecondition) and "not enabled" in error.message:
            hint = "; enable it: gcloud kms keys versions enable"
        raise SignerError(f"{where}: {type(error).__name__}: {one_line(error.message)}{hint}") from None
    except GoogleAuthError as error:
        kind = SignerUnavailable if error.retryable else SignerError
        raise kind(f"{where}: no access token: {type(error).__name__}: {one_line(error)}{_CREDENTIALS}") from None
    except (grpc.RpcError, ValueError) as error:
        # ValueError: a call on a channel that is closed.
        raise SignerError(f"{where}: {type(error).__name__}: {one_line(error)}") from None


def _retry_delay(error: exceptions.GoogleAPICallError) -> float | None:
    """Return the seconds that the error's RetryInfo asks to wait (google.rpc.RetryInfo)."""
    for detail in error.details:
        if isinstance(detail, RetryInfo):
            return max(0.0, float(detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9))
    return None
