"""Buckets for tests: of S3 and of Google Cloud Storage, each behind a relay that can misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tsa_backends.gcs_store import BUCKET as GCS_BUCKET
from tsa_backends.gcs_store import GcsStore
from tsa_backends.http_relay import HttpRelay
from tsa_backends.ministack import AWS_ENVIRONMENT, Ministack
from tsa_core.testing import require_package

from .buckets import Place

S3_BUCKET = "tsa-log-bucket"


@pytest.fixture(scope="session")
def s3_port(ministack: Ministack) -> int:
    """The port of an S3 that has the bucket."""
    ministack.make_bucket(S3_BUCKET)
    return ministack.port


@pytest.fixture
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A prefix of the test's own in S3."""
    require_package("boto3")
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with HttpRelay(request.getfixturevalue("s3_port")) as relay:
        yield Place("s3", S3_BUCKET, relay)


@pytest.fixture
def gcs(gcs_store: GcsStore) -> Iterator[Place]:
    """A prefix of the test's own in Google Cloud Storage."""
    require_package("google_crc32c", install="google-cloud-storage")
    with HttpRelay(gcs_store.port) as relay:
        yield Place("gs", GCS_BUCKET, relay)


@pytest.fixture(params=["s3", "gcs"])
def place(request: pytest.FixtureRequest) -> Place:
    """A prefix of the test's own in each kind of store."""
    found: Place = request.getfixturevalue(request.param)
    return found
