"""Clients of AWS KMS, and what its refusals mean."""

from __future__ import annotations

import logging
import threading
from functools import lru_cache
from typing import Any, Final

import boto3.session
import botocore.loaders
import botocore.session
from botocore import exceptions
from botocore.config import Config

from tsa_core.api import ConfigError, SignerError, SignerUnavailable, within_deadline

log = logging.getLogger(__name__)

_RETRYABLE: Final = frozenset(
    {
        "DependencyTimeoutException",
        "InternalFailure",
        "KeyUnavailableException",
        "KMSInternalException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_UNAVAILABLE: Final = (
    exceptions.ConnectionError,
    exceptions.CredentialRetrievalError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.MetadataRetrievalError,
)
_HINTS: Final = {
    "DisabledException": "enable the key: aws kms enable-key",
    "ExpiredTokenException": "the credentials have ended",
    "KMSInvalidStateException": "the key is pending deletion or import; cancel that and enable it",
    "NotFoundException": "is the region right, is the account?",
    "InvalidSignatureException": "is this machine's clock right?",
    "UnsupportedOperationException": "the key is symmetric; create one with key usage SIGN_VERIFY",
    "UnrecognizedClientException": "the credentials are not valid",
}


class KmsConnection:
    """Calls KMS with a time limit. Thread-safe.

    botocore fixes time limits when a client is made, so there is one client for each limit that is asked for;
    a profile always asks for the same. Raises SignerUnavailable where trying again may help, SignerError
    otherwise; the texts name the operation, the key and the IAM action, and never a credential.
    """

    def __init__(
        self, *, region: str | None, profile: str | None, endpoint_url: str | None, connections: int, attempts: int
    ) -> None:
        _keep_credentials_out_of_logs()
        self._endpoint_url = endpoint_url
        self._connections = connections
        self._attempts = attempts
        self._lock = threading.Lock()
        self._clients: dict[float, Any] = {}
        core = botocore.session.Session(profile=profile)
        try:
            data_path = core.get_config_variable("data_path")
        except exceptions.ProfileNotFound as error:
            raise ConfigError(str(error), path="signer.awskms.aws_profile") from None
        core.register_component("data_loader", _descriptions(data_path))
        # Also for the clients that botocore makes itself to get credentials: their own limits run to minutes.
        core.set_default_client_config(Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2}))
        self._session = boto3.session.Session(botocore_session=core, region_name=region)

    def _client(self, timeout: float) -> Any:
        """Return the client whose every call ends within three quarters of `timeout`."""
        with self._lock:
            if (client := self._clients.get(timeout)) is None:
                config = Config(
                    connect_timeout=timeout / 4,
                    read_timeout=timeout / 2,
                    max_pool_connections=self._connections,
                    # Ours are inside the caller's time limit; botocore's know none.
                    retries={"mode": "standard", "total_max_attempts": 1},
                )
                try:
                    client = self._session.client("kms", endpoint_url=self._endpoint_url, config=config)
                except exceptions.NoRegionError:
                    raise ConfigError(
                        "the AWS region is not known; set it, or AWS_REGION, or give the key's ARN",
                        path="signer.awskms.region",
                    ) from None
                except (exceptions.BotoCoreError, ValueError) as error:
                    raise ConfigError(f"the AWS client cannot be made: {error}", path="signer.awskms") from None
                self._clients[timeout] = client
            return client

    def call(self, operation: str, key: str, *, timeout: float, **parameters: Any) -> dict[str, Any]:
        """Return the answer of `get_public_key` or `sign` for a key, tried again where that may help."""
        method = getattr(self._client(timeout), operation)
        # The last try must begin in the first quarter: it may take the other three.
        return within_deadline(
            lambda _: self._try(method, operation, key, parameters), timeout=timeout / 4, attempts=self._attempts
        )

    @staticmethod
    def _try(method: Any, operation: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
        action = {"get_public_key": "kms:GetPublicKey", "sign": "kms:Sign"}[operation]
        where = f"AWS {action} with {key}"
        try:
            answer: dict[str, Any] = method(KeyId=key, **parameters)
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            text = f"{where}: {code}: {_line(error.response.get('Error', {}).get('Message', ''))}"
            if code in _RETRYABLE or status >= 500:
                raise SignerUnavailable(text) from None
            if code in {"AccessDeniedException", "AccessDenied"}:
                raise SignerError(f"{text}; the identity needs the IAM action {action} on this key") from None
            raise SignerError(f"{text}; {_HINTS[code]}" if code in _HINTS else text) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise SignerError(
                f"{where}: {_line(error)}; give AWS credentials by the environment, a profile or the machine's role"
            ) from None
        except exceptions.SSLError as error:
            raise SignerError(f"{where}: TLS failed: {_line(error)}") from None
        except _UNAVAILABLE as error:
            raise SignerUnavailable(f"{where}: {_line(error)}") from None
        except exceptions.BotoCoreError as error:
            raise SignerError(f"{where}: {type(error).__name__}: {_line(error)}") from None
        return answer

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()


@lru_cache(maxsize=4)
def _descriptions(data_path: str | None) -> Any:
    """Return botocore's reader of AWS's interface descriptions; shared, because parsing them takes a while."""
    return botocore.loaders.create_loader(data_path)


def _line(text: object) -> str:
    return " ".join(str(text).split())[:300]


def _keep_credentials_out_of_logs() -> None:
    """Silence botocore's debug log, which writes every request's headers, session token included.

    Its informative lines tell at every start what the configuration is, so they go too.
    """
    for name in ("botocore", "boto3"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
