"""Opens the storage that the settings name. The SDK of a store is imported here, when one is asked for."""

from __future__ import annotations

from tsa_core.api import ConfigError, install_hint
from tsa_log.objects import Bucket, ObjectStorage
from tsa_log.options import STORAGE, BucketPlace, GcsOptions, S3Options, StorageOptions
from tsa_log.storage import LocalStorage, Storage


def open_storage(options: StorageOptions) -> Storage:
    """Return the storage; connects nowhere. Raises ConfigError for a missing SDK, and for settings that it refuses."""
    if options.place is None:
        return LocalStorage(options.public, options.private)
    return ObjectStorage(open_bucket(options, options.place), seconds=options.storage_timeout.total_seconds())


def open_bucket(options: StorageOptions, place: BucketPlace) -> Bucket:
    """Return the bucket, as `open_storage` does."""
    seconds = options.storage_timeout.total_seconds()
    extra = {"s3": "s3", "gs": "gcs"}[place.scheme]
    try:
        if place.scheme == "s3":
            from tsa_log.s3 import S3Bucket

            return S3Bucket(place, options.s3 or S3Options(), seconds=seconds)
        from tsa_log.gcs import GcsBucket

        return GcsBucket(place, options.gcs or GcsOptions(), seconds=seconds)
    except ImportError as error:
        raise ConfigError(
            f"{place} needs an SDK that is not installed ({error}); {install_hint(f'tsa-log[{extra}]')}", path=STORAGE
        ) from None
