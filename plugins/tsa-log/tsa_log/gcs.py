"""A bucket of Google Cloud Storage.

Permissions: storage.objects.create, .get, .delete (which replacing an object needs) and .list (without which Google
answers 403 where an object is missing): the role roles/storage.objectUser on the bucket. Authentication: Application
Default Credentials, or a service account's key file.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final
from urllib.parse import urlsplit

import google.auth
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage import Client
from google.oauth2 import service_account

from tsa_core.api import ConfigError, keep_quiet, one_line, retry_after
from tsa_log.objects import MAX_OCTETS, Bucket, Changed, Stored, StoreError, StoreUnavailable
from tsa_log.options import BucketPlace, GcsOptions
from tsa_log.storage import ServedAs

# Else the client asks for the bucket's metadata in a thread of its own, for traces that nobody has asked for.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_CREDENTIALS_FILE: Final = "audit.tokenlog.gcs.credentials_file"
_UNAVAILABLE: Final = (
    exceptions.TooManyRequests,
    exceptions.ServerError,
    exceptions.RetryError,
)
_PERMISSION: Final = "; the identity needs roles/storage.objectUser on this bucket"
_HINTS: Final[dict[type[Exception], str]] = {
    exceptions.Forbidden: _PERMISSION,
    exceptions.TooManyRequests: "; Google takes one write a second of each object: set a longer interval",
    exceptions.Unauthorized: "; have the credentials been withdrawn, and is this machine's clock right?",
}
_NO_BUCKET: Final = "bucket does not exist"


class GcsBucket(Bucket):
    """One prefix of a bucket. A session of `requests` serves several threads for requests as plain as these."""

    wrong_tag = "1"

    def __init__(self, place: BucketPlace, options: GcsOptions, *, seconds: float) -> None:
        """Read a key file, if one is named; connects nowhere. Raises ConfigError."""
        keep_quiet("google", "urllib3")
        self.where = str(place)
        self._place = place
        self._endpoint = options.endpoint
        # So that there is time for another try; `ObjectStorage` sees to the limit over all of them.
        self._limits = (seconds / 8, seconds / 4)
        self._lock = threading.Lock()
        self._bucket: Any = None
        self._credentials = _read_credentials(options)

    def _opened(self) -> Any:
        """Return Google's bucket; finding credentials may ask the machine's metadata server."""
        with self._lock:
            if self._bucket is None:
                credentials = self._credentials
                if credentials is None:
                    credentials, _ = google.auth.default(scopes=(_SCOPE,))
                client = Client(
                    project="unused",  # only what makes buckets needs one
                    credentials=credentials,
                    client_options={"api_endpoint": self._endpoint} if self._endpoint else None,
                )
                self._bucket = client.bucket(self._place.bucket)
            return self._bucket

    def _blob(self, path: str) -> Any:
        return self._opened().blob(f"{self._place.prefix}/{path}")

    def get(self, path: str) -> Stored | None:
        """Return an object."""

        def download() -> Stored:
            blob = self._blob(path)
            data: bytes = blob.download_as_bytes(end=MAX_OCTETS, timeout=self._limits, retry=None)
            return Stored(data, str(blob.generation))

        try:
            found: Stored = self._ask("get", path, download)
        except FileNotFoundError:
            return None
        if len(found.data) > MAX_OCTETS:
            raise StoreError(f"{self.where}/{path} has more than {MAX_OCTETS} octets: it is no file of a log")
        return found

    def put(self, path: str, data: bytes, served: ServedAs, tag: str | None) -> str:
        """Store an object on a condition."""

        def upload() -> str:
            blob = self._blob(path)
            blob.cache_control = served.cache
            blob.upload_from_string(
                data,
                content_type=served.content_type,
                if_generation_match=int(tag or 0),
                timeout=self._limits,
                retry=None,
            )
            return str(blob.generation)

        try:
            new: str = self._ask("create", path, upload)
        except FileNotFoundError:
            raise Changed from None
        return new

    def delete(self, path: str) -> None:
        """Remove an object."""
        try:
            self._ask("delete", path, lambda: self._blob(path).delete(timeout=self._limits, retry=None))
        except FileNotFoundError:
            return

    def _ask(self, action: str, path: str, request: Any) -> Any:
        where = f"storage.objects.{action} of {self.where}/{path}"
        try:
            return request()
        except exceptions.PreconditionFailed:
            raise Changed from None
        except exceptions.NotFound as error:
            if _NO_BUCKET in str(error):
                raise StoreError(
                    f"{where}: the bucket does not exist; make it, or set the right one in storage"
                ) from None
            raise FileNotFoundError from None
        except exceptions.GoogleAPICallError as error:
            text = f"{where}: {type(error).__name__}: {_said(error)}{_HINTS.get(type(error), '')}"
            if isinstance(error, _UNAVAILABLE):
                headers = getattr(error.response, "headers", {})
                raise StoreUnavailable(text, retry_after=retry_after(headers.get("retry-after"))) from None
            raise StoreError(text) from None
        except (TransportError, requests.RequestException) as error:
            raise StoreUnavailable(f"{where}: {type(error).__name__}: {one_line(error)}") from None
        except GoogleAuthError as error:
            raise StoreError(
                f"{where}: no access token: {one_line(error)}; set credentials_file or GOOGLE_APPLICATION_CREDENTIALS, "
                "or log in: gcloud auth application-default login"
            ) from None
        except (ValueError, OSError) as error:
            raise StoreUnavailable(f"{where}: {type(error).__name__}: {one_line(error)}") from None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._bucket is not None:
                self._bucket.client.close()
                self._bucket = None


def _said(error: exceptions.GoogleAPICallError) -> str:
    """Return what Google said, without the request that google-cloud-storage repeats around it."""
    try:
        return one_line(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return one_line(error.message)


def _read_credentials(options: GcsOptions) -> Any:
    """Return the credentials that the settings name, None for Google's own chain."""
    if options.endpoint is not None and urlsplit(options.endpoint).scheme == "http":
        if options.credentials_file is not None:
            raise ConfigError("it has no effect with an endpoint of http://", path=_CREDENTIALS_FILE)
        untyped: Any = AnonymousCredentials
        return untyped()
    if options.credentials_file is None:
        return None
    try:
        read: Any = service_account.Credentials.from_service_account_file  # which has no type
        return read(str(options.credentials_file), scopes=(_SCOPE,))
    except (GoogleAuthError, OSError, ValueError) as error:
        # google-auth may quote what it could not read, so only its own errors are repeated.
        text = one_line(error) if isinstance(error, GoogleAuthError) else type(error).__name__
        raise ConfigError(f"the key file cannot be used: {text}", path=_CREDENTIALS_FILE) from None
