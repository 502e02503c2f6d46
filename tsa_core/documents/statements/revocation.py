"""Where a certificate says that its revocation is told."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from tsa_core.paths.extensions import read_extensions
from tsa_core.protocol.errors import EncodingError


def revocation_addresses(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    """Yield the kind, CRL or OCSP, and the address of each place; none where the extensions cannot be read."""
    try:
        parsed = read_extensions(certificate, certificate.public_bytes(Encoding.DER)).parsed
    except EncodingError:
        return
    if points := parsed.get(x509.CRLDistributionPoints.oid):
        for point in points.value:
            for name in point.full_name or ():
                if isinstance(name, x509.UniformResourceIdentifier):
                    yield "CRL", name.value
    if access := parsed.get(x509.AuthorityInformationAccess.oid):
        for description in access.value:
            location = description.access_location
            if description.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
                location, x509.UniformResourceIdentifier
            ):
                yield "OCSP", location.value
