"""The parts of a certificate as the exact bytes that its issuer signed."""

from __future__ import annotations

from typing import NamedTuple

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError


class CertificateFields(NamedTuple):
    """Parts of a Certificate (RFC 5280 4.1), each as its whole encoded value."""

    serial_number: bytes
    signature: bytes
    """The algorithm inside the signed part; it must equal `signature_algorithm`."""
    issuer: bytes
    subject: bytes
    signature_algorithm: bytes
    key_algorithm: bytes
    """The AlgorithmIdentifier of the subject's public key."""
    unused_bits: int
    """The unused bits of the signature's BIT STRING; 0 in a valid signature."""


def certificate_fields(certificate: bytes) -> CertificateFields:
    """Return the parts of a DER certificate; raises EncodingError for anything else."""
    _, start, stop = der.read(certificate, 0, len(certificate))
    _, position, end = der.read(certificate, start, stop)
    if certificate[position : position + 1] == b"\xa0":  # version
        position = der.read(certificate, position, end)[2]
    values = []
    for _ in range(5):  # serialNumber, signature, issuer, validity, subject
        after = der.read(certificate, position, end)[2]
        values.append(certificate[position:after])
        position = after
    _, first, last = der.read(certificate, position, end)  # subjectPublicKeyInfo
    key_algorithm = certificate[first : der.read(certificate, first, last)[2]]
    after = der.read(certificate, end, stop)[2]
    _, first, last = der.read(certificate, after, stop)
    if first == last:
        raise EncodingError("the signature of a certificate is empty")
    return CertificateFields(
        values[0], values[1], values[2], values[4], certificate[end:after], key_algorithm, certificate[first]
    )
