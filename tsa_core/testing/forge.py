"""Tokens and replies with any fault that one likes: everything can be said wrongly, and is then signed.

Independent of the template that the authority uses, so that each checks the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509

from tsa_core.protocol import der, oids
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.hashes import SHA256, HashAlgorithm
from tsa_core.protocol.signatures import SignatureAlgorithm, signature_algorithm
from tsa_core.protocol.tstinfo import Accuracy, encode_gen_time, encode_signing_time
from tsa_core.testing.forged_pki import Issued

GEN_TIME = datetime(2025, 6, 1, 12, 0, 0, tzinfo=UTC)
POLICY = "1.2.3.4.1"


def tst_info(
    data: bytes = b"hello",
    *,
    hash_algorithm: HashAlgorithm = SHA256,
    digest: bytes | None = None,
    version: int = 1,
    policy: str = POLICY,
    serial_number: int = 0x1234,
    gen_time: datetime | bytes = GEN_TIME,
    accuracy: Accuracy | None = None,
    ordering: bool | None = None,
    nonce: int | None = None,
    tsa: x509.Name | bytes | None = None,
    extensions: Sequence[bytes] = (),
) -> bytes:
    """Return the DER of a TSTInfo about `data`; `gen_time` as bytes is written as it is.

    `tsa` is the authority's directoryName, or an encoded GeneralName of any kind.
    """
    time = der.tlv(der.GENERALIZED_TIME, gen_time) if isinstance(gen_time, bytes) else encode_gen_time(gen_time)
    hashed = hash_algorithm.digest(data) if digest is None else digest
    return der.sequence(
        der.integer(version),
        der.oid(policy),
        der.sequence(der.sequence(hash_algorithm.oid_der, der.null()), der.octet_string(hashed)),
        der.integer(serial_number),
        time,
        accuracy.encoded if accuracy is not None else b"",
        der.boolean(ordering) if ordering is not None else b"",
        der.integer(nonce) if nonce is not None else b"",
        der.tlv(0xA0, tsa if isinstance(tsa, bytes) else der.explicit(4, tsa.public_bytes())) if tsa else b"",
        der.tlv(0xA1, b"".join(extensions)) if extensions else b"",
    )


def extension(oid: str, value: bytes = b"\x05\x00", *, critical: bool = False) -> bytes:
    """Return an encoded Extension."""
    return der.sequence(der.oid(oid), der.boolean(True) if critical else b"", der.octet_string(value))


def ess_cert_id_v2(
    certificate: bytes, *, algorithm: bytes = b"", digest: bytes | None = None, issuer_serial: bytes | None = None
) -> bytes:
    """Return an ESSCertIDv2; with SHA-256 and an issuerSerial unless told otherwise (empty leaves it out)."""
    names = certificate_fields(certificate)
    if issuer_serial is None:
        issuer_serial = der.sequence(der.sequence(der.explicit(4, names.issuer)), names.serial_number)
    hashed = digest if digest is not None else hashlib.sha256(certificate).digest()
    return der.sequence(algorithm, der.octet_string(hashed), issuer_serial)


def ess_cert_id(certificate: bytes) -> bytes:
    """Return an ESSCertID of the first version, whose hash is SHA-1 (RFC 2634 5.4)."""
    return der.sequence(der.octet_string(hashlib.sha1(certificate, usedforsecurity=False).digest()))


def signing_certificate(*ids: bytes) -> bytes:
    """Return a SigningCertificate or SigningCertificateV2 of these ids."""
    return der.sequence(der.sequence(*ids))


def token(
    signer: Issued,
    content: bytes | None = None,
    *,
    certificates: Sequence[bytes] = (),
    algorithm: SignatureAlgorithm | None = None,
    attributes: Mapping[str, Sequence[bytes] | None] | None = None,
    content_type: str = oids.ID_CT_TST_INFO,
    version: int = 3,
    signer_version: int = 1,
    sid: bytes | None = None,
    digest_algorithms: Sequence[bytes] | None = None,
    digest: HashAlgorithm | None = None,
    signature_identifier: bytes | None = None,
    signature: bytes | None = None,
    reverse_attributes: bool = False,
    sign_as_sent: bool = False,
    signers: int = 1,
    unsigned: bytes = b"",
    crls: bytes = b"",
) -> bytes:
    """Return a signed TimeStampToken, right unless told otherwise.

    `attributes` replaces signed attributes by dotted type; None leaves one out. `reverse_attributes` sends them
    in the wrong order, `sign_as_sent` signs that order too. `unsigned` is the whole field of unsigned attributes,
    `crls` what the crls field holds.
    """
    content = content if content is not None else tst_info()
    algorithm = algorithm or signature_algorithm(signer.certificate.public_key())
    digest = digest or algorithm.digest
    names = certificate_fields(signer.der)
    values: dict[str, Sequence[bytes] | None] = {
        oids.ID_CONTENT_TYPE: [der.oid(oids.ID_CT_TST_INFO)],
        oids.ID_SIGNING_TIME: [encode_signing_time(GEN_TIME)],
        oids.ID_MESSAGE_DIGEST: [der.octet_string(digest.digest(content))],
        oids.ID_AA_SIGNING_CERTIFICATE_V2: [signing_certificate(ess_cert_id_v2(signer.der))],
        **(attributes or {}),
    }
    encoded = [
        der.sequence(der.oid(name), der.tlv(der.SET, b"".join(parts)))
        for name, parts in values.items()
        if parts is not None
    ]
    ordered = sorted(encoded)
    sent = ordered[::-1] if reverse_attributes else ordered
    signed = der.tlv(der.SET, b"".join(sent if sign_as_sent else ordered))
    signer_info = der.sequence(
        der.integer(signer_version),
        sid if sid is not None else der.sequence(names.issuer, names.serial_number),
        digest.identifier,
        der.tlv(0xA0, b"".join(sent)) if encoded else b"",
        signature_identifier if signature_identifier is not None else algorithm.identifier,
        der.octet_string(signature if signature is not None else algorithm.signing_function(signer.key)(signed)),
        unsigned,
    )
    signed_data = der.sequence(
        der.integer(version),
        der.tlv(der.SET, b"".join([digest.identifier] if digest_algorithms is None else digest_algorithms)),
        der.sequence(der.oid(content_type), der.explicit(0, der.octet_string(content))),
        der.tlv(0xA0, b"".join(certificates)) if certificates else b"",
        der.tlv(0xA1, crls) if crls else b"",
        der.tlv(der.SET, signer_info * signers),
    )
    return der.sequence(der.oid(oids.ID_SIGNED_DATA), der.explicit(0, signed_data))


def reply(token: bytes = b"", *, status: int = 0, texts: Sequence[str] = (), failures: Sequence[int] = ()) -> bytes:
    """Return a TimeStampResp with these parts."""
    strings = der.sequence(*(der.tlv(der.UTF8_STRING, text.encode()) for text in texts)) if texts else b""
    info = der.sequence(der.integer(status), strings, der.named_bits(*failures) if failures else b"")
    return der.sequence(info, token)
