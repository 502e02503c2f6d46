"""Clients of AWS KMS, and what its refusals mean."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import boto3.session
import botocore.loaders
import botocore.session
from botocore import exceptions
from botocore.config import Config

from tsa_core.api import (
    ConfigError,
    SignerError,
    SignerUnavailable,
    keep_quiet,
    one_line,
    retry_after,
    sends_cleartext,
    within_deadline,
)

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
_ACTIONS: Final = {
    "create_alias": "kms:CreateAlias",
    "create_key": "kms:CreateKey",
    "decrypt": "kms:Decrypt",
    "encrypt": "kms:Encrypt",
    "get_public_key": "kms:GetPublicKey",
    "sign": "kms:Sign",
}
_LAST_TRY: Final = 8
"""No try begins with less than this part of the time left, because each half of it has a client of its own."""
_HINTS: Final = {
    "DisabledException": "enable the key: aws kms enable-key",
    "ExpiredTokenException": "the credentials have ended; give new ones, or a profile or role that renews them",
    "KMSInvalidStateException": "the key is pending deletion or import; cancel that and enable it",
    "NotFoundException": "is the region right, is the account?",
    "InvalidSignatureException": "is the secret access key the one of this access key?",
    "ThrottlingException": "the account's request quota of KMS is used up; raise it, or spread the load",
    "UnrecognizedClientException": "the credentials are not valid; is the access key id right, and is it enabled?",
}
_OTHER_TIME: Final = ("signature expired", "signature not yet current", "request has expired")
"""How AWS says, whatever the code, that a request was signed at another time than its own."""


class KmsConnection:
    """Calls KMS with a time limit. Thread-safe.

    botocore fixes time limits when a client is made, so there is one client for each limit that is asked for, and for
    a half, a quarter, ... of it, which tries with less time left use; a profile always asks for the same. `setting`
    returns the full name of a setting, for messages. Raises SignerUnavailable where trying again may help, SignerError
    otherwise; the texts name the operation, the key and the IAM action, and never a credential.
    """

    def __init__(
        self,
        *,
        region: str | None,
        profile: str | None,
        endpoint_url: str | None,
        connections: int,
        setting: Callable[[str], str],
        attempts: int | None = None,
    ) -> None:
        # botocore's debug log writes every request's headers, session token included, and what was decrypted. Its
        # informative lines tell at every start what the configuration is, so they go too.
        keep_quiet("boto3", "botocore")
        self._setting = setting
        self._endpoint_url = endpoint_url
        self._connections = connections
        self._attempts = attempts
        self._lock = threading.Lock()
        self._clients: dict[float, Any] = {}
        core = botocore.session.Session(profile=profile)
        try:
            data_path = core.get_config_variable("data_path")
        except exceptions.ProfileNotFound as error:
            raise ConfigError(one_line(error), path=setting("profile")) from None
        core.register_component("data_loader", _descriptions(data_path))
        # Also for the clients that botocore makes itself to get credentials: their own limits run to minutes.
        core.set_default_client_config(Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2}))
        self._session = boto3.session.Session(botocore_session=core, region_name=region)

    def _client(self, timeout: float) -> Any:
        """Return the client whose every call ends within `timeout`: TCP and TLS may take a quarter each."""
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
                        path=self._setting("region"),
                    ) from None
                except (exceptions.BotoCoreError, ValueError) as error:
                    raise ConfigError(
                        f"the AWS client cannot be made: {one_line(error)}", path=self._setting("endpoint_url")
                    ) from None
                self._clients[timeout] = client
            return client

    def call(
        self, operation: str, key: str, *, timeout: float, hints: Mapping[str, str], **parameters: Any
    ) -> dict[str, Any]:
        """Return KMS's answer about a key, tried again where that may help.

        `operation` is a method of boto3's client, `hints` say what to do about the caller's own errors of KMS.
        """

        def ask(left: float) -> dict[str, Any]:
            limit = timeout
            while limit > left:
                limit /= 2
            method = getattr(self._client(limit), operation)
            asked = {"KeyId": key, **parameters}
            return _try(method, f"{_ACTIONS[operation]} with {key}", asked, {**_HINTS, **hints})

        return within_deadline(ask, timeout=timeout, attempts=self._attempts, least=timeout / _LAST_TRY)

    def create(self, operation: str, *, timeout: float, **parameters: Any) -> dict[str, Any]:
        """Return KMS's answer to what makes something new; asked once, so that nothing is made twice."""
        return _try(getattr(self._client(timeout), operation), _ACTIONS[operation], parameters, _HINTS)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()


@lru_cache(maxsize=4)
def _descriptions(data_path: str | None) -> Any:
    """Return botocore's reader of AWS's interface descriptions; shared, because parsing them takes a while."""
    return botocore.loaders.create_loader(data_path)


def _try(method: Any, what: str, parameters: dict[str, Any], hints: Mapping[str, str]) -> dict[str, Any]:
    """Call KMS once; `what` begins with the IAM action."""
    where, action = f"AWS {what}", what.partition(" ")[0]
    try:
        answer: dict[str, Any] = method(**parameters)
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = one_line(error.response.get("Error", {}).get("Message", ""))
        text = f"{where}: {code}: {said}"
        if said.lower().startswith(_OTHER_TIME):
            raise SignerError(f"{text}; is this machine's clock right?") from None
        if code in hints:
            text += f"; {hints[code]}"
        if code in _RETRYABLE or status >= 500:
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            raise SignerUnavailable(text, retry_after=retry_after(headers.get("retry-after"))) from None
        if code in {"AccessDeniedException", "AccessDenied"}:
            raise SignerError(f"{text}; the identity needs the IAM action {action} on this key") from None
        raise SignerError(text) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise SignerError(
            f"{where}: {one_line(error)}; give AWS credentials by the environment, a profile or the machine's role"
        ) from None
    except exceptions.SSLError as error:
        raise SignerError(f"{where}: TLS failed: {one_line(error)}") from None
    except _UNAVAILABLE as error:
        raise SignerUnavailable(f"{where}: {one_line(error)}") from None
    except exceptions.BotoCoreError as error:
        raise SignerError(f"{where}: {type(error).__name__}: {one_line(error)}") from None
    return answer


def check_endpoint(url: str, setting: str, crosses: str) -> None:
    """Raise ConfigError for what is no endpoint's URL; warn of one without TLS, `crosses` saying what it exposes."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ConfigError("the endpoint is not a URL such as https://kms.eu-west-1.amazonaws.com", path=setting)
    if sends_cleartext(url):
        log.warning("%s is not HTTPS: %s the network unprotected", url, crosses)
