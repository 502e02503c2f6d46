"""Registers the scheme `awskms:`."""

from __future__ import annotations

from collections.abc import Iterable

from tsa_core.api import Provider, Signer, hookimpl
from tsa_signer_awskms.options import AwsKmsOptions


def _open(options: AwsKmsOptions) -> Signer:
    from tsa_signer_awskms.signer import open_aws_kms_signer

    return open_aws_kms_signer(options)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    """Register the scheme `awskms:`."""
    yield Provider(name="awskms", summary="A key in AWS KMS", options=AwsKmsOptions, open=_open)
