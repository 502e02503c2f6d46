"""Registers the signer `awskms:` and the key encryption keys `aws-kms:`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import KeyEncryptionKey, Provider, Signer, hookimpl
from tsa_signer_awskms.options import AwsKekOptions, AwsKmsOptions


def _open(options: AwsKmsOptions) -> Signer:
    from tsa_signer_awskms.signer import open_aws_kms_signer

    return open_aws_kms_signer(options)


def _make_key(options: AwsKmsOptions, kind: str) -> str:
    from tsa_signer_awskms.making import make_key

    return make_key(options, kind)


def _open_kek(options: AwsKekOptions) -> KeyEncryptionKey:
    from tsa_signer_awskms.kek import open_aws_kek

    return open_aws_kek(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `awskms:`."""
    yield Provider(name="awskms", summary="A key in AWS KMS", options=AwsKmsOptions, open=_open, make_key=_make_key)


@hookimpl
def tsa_keks() -> Iterable[Provider[KeyEncryptionKey]]:
    """Register the scheme `aws-kms:`, by Tink's name."""
    yield Provider(name="aws-kms", summary="A symmetric key in AWS KMS", options=AwsKekOptions, open=_open_kek)
