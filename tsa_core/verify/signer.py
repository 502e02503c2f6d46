"""A signer's certificate: is it one for timestamps, and nothing else (rule V7)."""

from __future__ import annotations

from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tsa_core.paths.certificate import PathCertificate
from tsa_core.verify.errors import SignerCertificateError


def check_signer(certificate: PathCertificate, *, critical: bool = True) -> None:
    """Raise SignerCertificateError unless the certificate is one for timestamps only (RFC 3161 2.3).

    `critical` says whether its extended key usage must be.
    """
    purpose = certificate.extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if purpose is None:
        raise SignerCertificateError(f"{certificate.name} has no extended key usage; timeStamping is needed")
    if critical and not purpose.critical:
        raise SignerCertificateError(f"the extended key usage of {certificate.name} is not critical")
    if list(purpose.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise SignerCertificateError(f"{certificate.name} is not for timeStamping alone")
    if certificate.is_ca:
        raise SignerCertificateError(f"{certificate.name} is a CA, which must not sign timestamps")
    usage = certificate.value(ExtensionOID.KEY_USAGE)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise SignerCertificateError(f"the key usage of {certificate.name} permits no signatures")
