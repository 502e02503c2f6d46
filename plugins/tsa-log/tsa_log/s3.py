"""A bucket of Amazon S3, or of a store that has S3's interface and conditional writes.

Permissions: the IAM actions s3:GetObject and s3:PutObject on the prefix, s3:ListBucket on the bucket (without which S3
answers 403 where an object is missing), and s3:DeleteObject for `timestamp-server log take-over`. Authentication: AWS's
own chain of environment, configuration files, web identity and the machine's role.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any, Final

import boto3.session
import botocore.loaders
import botocore.session
from botocore import exceptions
from botocore.config import Config

from tsa_core.api import ConfigError, keep_quiet, one_line, retry_after, sends_cleartext
from tsa_log.objects import MAX_OCTETS, Bucket, Changed, Stored, StoreError, StoreUnavailable
from tsa_log.options import STORAGE, BucketPlace, S3Options
from tsa_log.storage import ServedAs

log = logging.getLogger(__name__)

_CHANGED: Final = frozenset({"PreconditionFailed", "412"})
_MISSING: Final = frozenset({"NoSuchKey", "404"})
_RETRYABLE: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
_UNAVAILABLE: Final = (
    exceptions.ConnectionError,
    exceptions.CredentialRetrievalError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.MetadataRetrievalError,
    exceptions.ResponseStreamingError,
)
_HINTS: Final = {
    "ExpiredToken": "the credentials have ended; give new ones, or a profile or role that renews them",
    "ExpiredTokenException": "the credentials have ended; give new ones, or a profile or role that renews them",
    "InvalidAccessKeyId": "is the access key id right, and is it enabled?",
    "NoSuchBucket": "make the bucket, or set the right one in storage",
    "NotImplemented": "this store has no conditional writes; use one that has",
    "PermanentRedirect": "the bucket is in another region; set region in [audit.tokenlog.s3]",
    "RequestTimeTooSkewed": "is this machine's clock right?",
    "SignatureDoesNotMatch": "is the secret access key the one of this access key?",
    "SlowDown": "the store has too much to do; a longer interval makes fewer requests",
}
_CONNECTIONS: Final = 16


class S3Bucket(Bucket):
    """One prefix of a bucket. boto3's clients may be used by several threads."""

    wrong_tag = f'"{"0" * 32}"'

    def __init__(self, place: BucketPlace, options: S3Options, *, seconds: float) -> None:
        """Make a client; connects nowhere. Raises ConfigError for what boto3 cannot use."""
        keep_quiet("boto3", "botocore", "s3transfer")  # at DEBUG they write credentials
        self.where = str(place)
        self._place = place
        if options.endpoint_url and sends_cleartext(options.endpoint_url):
            log.warning("audit.tokenlog.s3.endpoint_url is not HTTPS: anybody on the way can change the log's files")
        region = options.region or os.environ.get("AWS_REGION")  # of which boto3 knows nothing
        core = botocore.session.Session(profile=options.profile)
        config = Config(
            # So that there is time for another try; `ObjectStorage` sees to the limit over all of them.
            connect_timeout=seconds / 8,
            read_timeout=seconds / 4,
            max_pool_connections=_CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        try:
            core.register_component("data_loader", _descriptions(core.get_config_variable("data_path")))
            # Also for the clients that botocore makes itself to get credentials: their own limits run to minutes.
            core.set_default_client_config(Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2}))
            session = boto3.session.Session(botocore_session=core, region_name=region)
            self._client: Any = session.client("s3", endpoint_url=options.endpoint_url, config=config)
        except exceptions.ProfileNotFound as error:
            raise ConfigError(one_line(error), path="audit.tokenlog.s3.profile") from None
        except (exceptions.BotoCoreError, ValueError) as error:
            raise ConfigError(f"the S3 client cannot be made: {one_line(error)}", path=STORAGE) from None

    def get(self, path: str) -> Stored | None:
        """Return an object."""
        try:
            answer = self._ask("GetObject", path)
        except FileNotFoundError:
            return None
        try:
            data = answer["Body"].read(MAX_OCTETS + 1)
        except _UNAVAILABLE as error:
            raise StoreUnavailable(f"S3 GetObject of {self.where}/{path}: {one_line(error)}") from None
        finally:
            answer["Body"].close()
        if len(data) > MAX_OCTETS:
            raise StoreError(f"{self.where}/{path} has more than {MAX_OCTETS} octets: it is no file of a log")
        return Stored(data, str(answer["ETag"]))

    def put(self, path: str, data: bytes, served: ServedAs, tag: str | None) -> str:
        """Store an object on a condition."""
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            answer = self._ask(
                "PutObject",
                path,
                Body=data,
                ContentType=served.content_type,
                CacheControl=served.cache,
                **condition,
            )
        except FileNotFoundError:  # a condition on an object that is gone
            raise Changed from None
        return str(answer["ETag"])

    def delete(self, path: str) -> None:
        """Remove an object."""
        self._ask("DeleteObject", path)

    def _ask(self, action: str, path: str, **parameters: Any) -> dict[str, Any]:
        where = f"S3 {action} of {self.where}/{path}"
        method = {"GetObject": "get_object", "PutObject": "put_object", "DeleteObject": "delete_object"}[action]
        try:
            answer: dict[str, Any] = getattr(self._client, method)(
                Bucket=self._place.bucket, Key=f"{self._place.prefix}/{path}", **parameters
            )
        except exceptions.ClientError as error:
            raise _refusal(error, where, action) from None
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise StoreError(
                f"{where}: {one_line(error)}; give AWS credentials by the environment, a profile or the machine's role"
            ) from None
        except exceptions.SSLError as error:
            raise StoreError(f"{where}: TLS failed: {one_line(error)}") from None
        except _UNAVAILABLE as error:
            raise StoreUnavailable(f"{where}: {one_line(error)}") from None
        except exceptions.BotoCoreError as error:
            raise StoreError(f"{where}: {type(error).__name__}: {one_line(error)}") from None
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@lru_cache(maxsize=4)
def _descriptions(data_path: str | None) -> Any:
    """Return botocore's reader of AWS's interface descriptions; shared, because parsing them takes a while."""
    return botocore.loaders.create_loader(data_path)


def _refusal(error: exceptions.ClientError, where: str, action: str) -> Exception:
    """Return what an error that S3 answered means."""
    answer: Any = error.response
    code = str(answer.get("Error", {}).get("Code", "unknown"))
    metadata = answer.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if code in _CHANGED:
        return Changed()
    if code in _MISSING:
        return FileNotFoundError()
    text = f"{where}: {code}: {one_line(answer.get('Error', {}).get('Message', ''))}"
    if code in _HINTS:
        text += f"; {_HINTS[code]}"
    elif status == 403:
        text += f"; the identity needs s3:{action} on this prefix, and s3:ListBucket on the bucket"
    if code in _RETRYABLE or status >= 500:
        return StoreUnavailable(text, retry_after=retry_after(metadata.get("HTTPHeaders", {}).get("retry-after")))
    return StoreError(text)
