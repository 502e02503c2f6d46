"""CRLs and OCSP responses with any fault that one likes: everything can be said wrongly, and is then signed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_core.protocol import der, oids
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing.forge import extension
from tsa_core.testing.forged_pki import Issued

WEEK = timedelta(days=7)
NO_END = datetime.max.replace(tzinfo=UTC)
"""As `next_update`: leave it out."""

ISSUING_DISTRIBUTION_POINT = "2.5.29.28"
EXPIRED_CERTS_ON_CRL = "2.5.29.60"
ARCHIVE_CUTOFF = "1.3.6.1.5.5.7.48.1.6"


def time_der(time: datetime) -> bytes:
    """Return a Time: UTCTime to 2049, GeneralizedTime after (RFC 5280 4.1.2.5)."""
    if time.year < 2050:
        return der.tlv(der.UTC_TIME, f"{time:%y%m%d%H%M%S}Z".encode())
    return generalized(time)


def generalized(time: datetime) -> bytes:
    """Return a GeneralizedTime."""
    return der.tlv(der.GENERALIZED_TIME, f"{time:%Y%m%d%H%M%S}Z".encode())


def entry(
    certificate: Issued | int,
    since: datetime,
    reason: int | None = None,
    *,
    invalid_since: datetime | None = None,
    issuer: x509.Name | None = None,
    extensions: Sequence[bytes] = (),
) -> bytes:
    """Return one entry of revokedCertificates; `reason` is the number of a CRLReason."""
    serial = certificate if isinstance(certificate, int) else certificate.certificate.serial_number
    parts = list(extensions)
    if reason is not None:
        parts.append(extension("2.5.29.21", bytes((0x0A, 1, reason))))
    if invalid_since is not None:
        parts.append(extension("2.5.29.24", generalized(invalid_since)))
    if issuer is not None:
        names = der.sequence(der.explicit(4, issuer.public_bytes()))
        parts.append(extension("2.5.29.29", names, critical=True))
    return der.sequence(der.integer(serial), time_der(since), der.sequence(*parts) if parts else b"")


def crl(
    issuer: Issued,
    *entries: bytes,
    this_update: datetime,
    next_update: datetime | None = None,
    number: int | None = 1,
    base_number: int | None = None,
    extensions: Iterable[bytes] = (),
    version: bytes = b"\x02\x01\x01",
    name: bytes | None = None,
    signing: tuple[bytes, Callable[[bytes], bytes]] | None = None,
) -> bytes:
    """Return a DER CRL signed by `issuer`, valid for a week unless told otherwise; a delta CRL with `base_number`.

    `signing` is another AlgorithmIdentifier, and what signs with it.
    """
    algorithm = signature_algorithm(issuer.certificate.public_key())
    identifier, sign = (
        signing if signing is not None else (algorithm.identifier, algorithm.signing_function(issuer.key))
    )
    end = next_update if next_update is not None else this_update + WEEK
    parts = list(extensions)
    if number is not None:
        parts.append(extension("2.5.29.20", der.integer(number)))
    if base_number is not None:
        parts.append(extension("2.5.29.27", der.integer(base_number), critical=True))
    signed = der.sequence(
        version,
        identifier,
        name if name is not None else issuer.certificate.subject.public_bytes(),
        time_der(this_update),
        b"" if end is NO_END else time_der(end),
        der.sequence(*entries) if entries else b"",
        der.explicit(0, der.sequence(*parts)) if parts else b"",
    )
    return der.sequence(signed, identifier, der.tlv(der.BIT_STRING, b"\x00" + sign(signed)))


def pem(*crls: bytes) -> bytes:
    """Return CRLs in one PEM file."""
    return b"".join(x509.load_der_x509_crl(data).public_bytes(Encoding.PEM) for data in crls)


def scope(
    *,
    full_name: x509.GeneralName | None = None,
    relative_name: x509.RelativeDistinguishedName | None = None,
    reasons: Iterable[x509.ReasonFlags] = (),
    **flags: bool,
) -> bytes:
    """Return an issuingDistributionPoint as an extension; `flags` are those of cryptography's class."""
    names: dict[str, Any] = {
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **flags,
    }
    point = x509.IssuingDistributionPoint(
        full_name=[full_name] if full_name is not None else None,
        relative_name=relative_name,
        only_some_reasons=frozenset(reasons) or None,
        **names,
    )
    return extension(ISSUING_DISTRIBUTION_POINT, point.public_bytes(), critical=True)


def keeps_expired(since: datetime) -> bytes:
    """Return expiredCertsOnCRL as an extension."""
    return extension(EXPIRED_CERTS_ON_CRL, generalized(since))


def archive_cutoff(since: datetime) -> bytes:
    """Return archiveCutoff as an extension of a SingleResponse."""
    return extension(ARCHIVE_CUTOFF, generalized(since))


def key_hash(issued: Issued) -> bytes:
    """Return the SHA-1 of a certificate's subjectPublicKey."""
    info = issued.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    _, start, end = der.read(info, 0, len(info))
    _, _, algorithm_end = der.read(info, start, end)
    _, bits, _ = der.read(info, algorithm_end, end)
    return hashlib.sha1(info[bits + 1 :], usedforsecurity=False).digest()


def single(
    certificate: Issued,
    issuer: Issued,
    *,
    this_update: datetime,
    next_update: datetime | None = None,
    revoked: datetime | None = None,
    reason: int | None = None,
    unknown: bool = False,
    extensions: Sequence[bytes] = (),
    hash_identifier: bytes | None = None,
) -> bytes:
    """Return a SingleResponse, good unless told otherwise, valid for a week."""
    fields = certificate_fields(certificate.der)
    cert_id = der.sequence(
        hash_identifier if hash_identifier is not None else der.sequence(der.oid(oids.SHA1), der.null()),
        der.octet_string(hashlib.sha1(fields.issuer, usedforsecurity=False).digest()),
        der.octet_string(key_hash(issuer)),
        fields.serial_number,
    )
    status = b"\x82\x00" if unknown else b"\x80\x00"
    if revoked is not None:
        why = der.explicit(0, bytes((0x0A, 1, reason))) if reason is not None else b""
        status = der.tlv(0xA1, generalized(revoked) + why)
    end = next_update if next_update is not None else this_update + WEEK
    return der.sequence(
        cert_id,
        status,
        generalized(this_update),
        b"" if end is NO_END else der.explicit(0, generalized(end)),
        der.explicit(1, der.sequence(*extensions)) if extensions else b"",
    )


def basic_response(
    signer: Issued,
    *singles: bytes,
    produced_at: datetime,
    by_key: bool = False,
    certificates: Sequence[bytes] = (),
    extensions: Sequence[bytes] = (),
) -> bytes:
    """Return a BasicOCSPResponse signed by `signer`, whom it names by name or by key hash."""
    algorithm = signature_algorithm(signer.certificate.public_key())
    name = der.explicit(1, signer.certificate.subject.public_bytes())
    signed = der.sequence(
        der.explicit(2, der.octet_string(key_hash(signer))) if by_key else name,
        generalized(produced_at),
        der.sequence(*singles),
        der.explicit(1, der.sequence(*extensions)) if extensions else b"",
    )
    signature = algorithm.signing_function(signer.key)(signed)
    return der.sequence(
        signed,
        algorithm.identifier,
        der.tlv(der.BIT_STRING, b"\x00" + signature),
        der.explicit(0, der.sequence(*certificates)) if certificates else b"",
    )


def ocsp_response(basic: bytes) -> bytes:
    """Return a successful OCSPResponse around a BasicOCSPResponse."""
    inner = der.sequence(der.oid("1.3.6.1.5.5.7.48.1.1"), der.octet_string(basic))
    return der.sequence(b"\x0a\x01\x00", der.explicit(0, inner))
