"""A KEK in AWS KMS.

Permissions: the IAM action kms:Decrypt on the key, and kms:Encrypt for making keysets. Authentication: AWS's own chain
of environment, configuration files, web identity and the machine's role. What leaves the machine: the encrypted
keyset; when one is made, the keyset itself, over TLS.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final
from urllib.parse import urlsplit

import boto3.session
import botocore.session
from botocore import exceptions
from botocore.config import Config

from tsa_core.api import ConfigError, SignerError, SignerUnavailable, within_deadline
from tsa_signer_tink.kek import ATTEMPTS, WRONG_KEY, KeyEncryptionKey, bad_uri, keep_quiet, one_line
from tsa_signer_tink.options import TinkOptions

log = logging.getLogger(__name__)

_FORM: Final = "aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID (or alias/NAME in place of key/ID)"
_URI: Final = re.compile(
    r"aws-kms://(?P<arn>arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]+:(?:key|alias)/[A-Za-z0-9_/-]+)"
)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
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
    "IncorrectKeyException": WRONG_KEY,
    "InvalidCiphertextException": WRONG_KEY,
    "InvalidKeyUsageException": "the key must have key usage ENCRYPT_DECRYPT",
    "InvalidSignatureException": "is this machine's clock right?",
    "KMSInvalidStateException": "the key is pending deletion or import; cancel that and enable it",
    "NotFoundException": "is the region right, is the account?",
    "UnrecognizedClientException": "the credentials are not valid",
}


class AwsKek(KeyEncryptionKey):
    """A symmetric KMS key; the encryption context is empty, as Tink leaves it without associated data."""

    def __init__(self, client: Any, *, arn: str, timeout: float) -> None:
        self._client = client
        self._arn = arn
        self._timeout = timeout

    def wrap(self, plaintext: bytes) -> bytes:
        """Return KMS's ciphertext; KMS takes keysets of up to 4096 bytes."""
        return self._ask("encrypt", "kms:Encrypt", "CiphertextBlob", Plaintext=plaintext)

    def unwrap(self, ciphertext: bytes) -> bytes:
        """Return the plaintext; a ciphertext of another key is refused by KMS, because the key is named."""
        return self._ask("decrypt", "kms:Decrypt", "Plaintext", CiphertextBlob=ciphertext)

    def _ask(self, operation: str, action: str, wanted: str, **parameters: Any) -> bytes:
        method = getattr(self._client, operation)
        # The last try must begin in the first quarter: it may take the other three.
        answer = within_deadline(
            lambda _: self._try(method, f"AWS {action} with {self._arn}", action, parameters),
            timeout=self._timeout / 4,
            attempts=ATTEMPTS,
        )
        result = answer.get(wanted)
        if not isinstance(result, bytes) or not result:
            raise SignerError(f"AWS {action} with {self._arn}: the answer holds no {wanted}")
        return result

    def _try(self, method: Any, where: str, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = method(KeyId=self._arn, **parameters)
        except exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            text = f"{where}: {code}: {one_line(error.response.get('Error', {}).get('Message', ''))}"
            if code in _RETRYABLE or status >= 500:
                raise SignerUnavailable(text) from None
            if code in {"AccessDeniedException", "AccessDenied"}:
                raise SignerError(f"{text}; the identity needs the IAM action {action} on this key") from None
            raise SignerError(f"{text}; {_HINTS[code]}" if code in _HINTS else text) from None
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

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def open_aws_kek(uri: str, options: TinkOptions) -> AwsKek:
    """Return the KEK that a URI `aws-kms://ARN` names; the region is the ARN's."""
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise bad_uri(uri, _FORM)
    _check_endpoint(options.aws_endpoint_url)
    keep_quiet("boto3", "botocore")
    timeout = options.start_timeout.total_seconds()
    core = botocore.session.Session(profile=options.aws_profile)
    # Also for the clients that botocore makes itself to get credentials: their own limits run to minutes.
    core.set_default_client_config(Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2}))
    config = Config(
        connect_timeout=timeout / 4,
        read_timeout=timeout / 2,
        # Ours are inside the time limit; botocore's know none.
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    try:
        session = boto3.session.Session(botocore_session=core, region_name=parts["region"])
        client = session.client("kms", endpoint_url=options.aws_endpoint_url, config=config)
    except exceptions.ProfileNotFound as error:
        raise ConfigError(one_line(error), path="signer.tink.aws_profile") from None
    except (exceptions.BotoCoreError, ValueError) as error:
        raise ConfigError(f"the AWS client cannot be made: {one_line(error)}", path="signer.tink") from None
    return AwsKek(client, arn=parts["arn"], timeout=timeout)


def _check_endpoint(endpoint_url: str | None) -> None:
    if endpoint_url is None:
        return
    url = urlsplit(endpoint_url)
    if url.scheme not in {"http", "https"} or not url.hostname or url.username is not None:
        raise ConfigError(
            "the endpoint is not a URL such as https://kms.eu-west-1.amazonaws.com", path="signer.tink.aws_endpoint_url"
        )
    if url.scheme == "http" and url.hostname not in _LOOPBACK:
        log.warning("%s is not HTTPS: the keyset crosses the network unprotected", endpoint_url)
