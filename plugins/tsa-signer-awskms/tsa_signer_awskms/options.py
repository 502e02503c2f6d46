"""The settings of `[signer.awskms]`, and of key encryption keys `aws-kms://`."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from tsa_core.api import Duration, KekOptions, SignerOptions


class AwsKmsOptions(SignerOptions):
    """`[signer.awskms]`."""

    region: str | None = Field(
        None, description="region; else the key ARN's, else AWS_REGION, AWS_DEFAULT_REGION or the AWS profile's"
    )
    aws_profile: str | None = Field(None, description="profile in the AWS configuration files; else AWS_PROFILE")
    endpoint_url: str | None = Field(
        None, description="URL of another KMS endpoint; else the host in the key URI, else AWS_ENDPOINT_URL_KMS"
    )
    connections: int = Field(32, ge=1, le=1024, description="connections kept open for signatures at the same time")
    attempts: int | None = Field(
        None,
        ge=1,
        le=100,
        description="most tries of one signature; no limit but signer_timeout unless given",
    )
    start_timeout: Duration = Field(timedelta(seconds=10), description="time for reading the key at start")


class AwsKekOptions(KekOptions):
    """Settings of a key encryption key `aws-kms://`."""

    profile: str | None = Field(None, description="profile in the AWS configuration files; else AWS_PROFILE")
    endpoint_url: str | None = Field(None, description="URL of another AWS KMS endpoint; else AWS_ENDPOINT_URL_KMS")
