"""The signing-certificate attribute, which says whose signature a token has: RFC 5035, RFC 5816."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tsa_core.probe.check import Area, At, Severity, check
from tsa_core.probe.evidence import DoesNotApply, Evidence, Stamp, Unseen
from tsa_core.probe.reading import fields_of
from tsa_core.protocol import der, oids
from tsa_core.protocol.hashes import IMPRINT_HASHES, HashAlgorithm
from tsa_core.protocol.tstinfo_reader import hash_identifier
from tsa_core.verify.algorithms import digest_algorithm
from tsa_core.verify.tolerances import algorithm_rules

V1: Final = der.oid(oids.ID_AA_SIGNING_CERTIFICATE)
V2: Final = der.oid(oids.ID_AA_SIGNING_CERTIFICATE_V2)
ANY_HASH: Final = algorithm_rules(frozenset({"sha1", "md5"}))
"""Weak hashes are read too, because a check of their own judges them."""


def _ids(evidence: Evidence) -> Iterator[tuple[Stamp, bool, tuple[bytes, ...]]]:
    """Yield every first ESSCertID: its token, whether it is of the second version, and its parts."""
    found = False
    for stamp, signer in evidence.signers():
        for name in (V1, V2):
            for value in signer.attributes.get(name, ())[:1]:
                found = True
                yield stamp, name == V2, fields_of(fields_of(fields_of(value)[0])[0])
    if not found:
        raise Unseen("no token has the attribute")


def _certificate_hash(second: bool, parts: tuple[bytes, ...]) -> tuple[HashAlgorithm, bytes, bytes]:
    """Return hash algorithm, encoded hash and encoded issuerSerial, empty when absent, of an ESSCertID."""
    algorithm = IMPRINT_HASHES["sha256" if second else "sha1"]
    rest = list(parts)
    if second and rest[0][0] == der.SEQUENCE:
        algorithm = digest_algorithm(rest.pop(0), "the ESSCertIDv2", ANY_HASH)
    return algorithm, rest[0], rest[1] if len(rest) > 1 else b""


@check(
    "certificate-id",
    area=Area.SIGNATURE,
    rules="C11 V4",
    severity=Severity.CRITICAL,
    title="The signing-certificate attribute identifies the signer's certificate",
    meaning="RFC 5816: a token whose certificate can be exchanged for another one is refused.",
)
def certificate_id(evidence: Evidence) -> Iterator[str | At]:
    """Judge the hash, and issuer and serial number where they are there."""
    for stamp, second, parts in _ids(evidence):
        if (certificate := evidence.certificate_of(stamp)) is None:
            continue
        name = der.sequence(der.explicit(4, certificate.issuer))
        algorithm, hashed, issuer_serial = _certificate_hash(second, parts)
        if hashed != der.octet_string(algorithm.digest(certificate.der)):
            yield At(stamp.name, "the hash of another certificate")
        if issuer_serial and issuer_serial != der.sequence(name, certificate.serial_der):
            yield At(stamp.name, "issuer and serial number of another certificate, or not one directoryName")


@check(
    "certificate-id-version",
    area=Area.SIGNATURE,
    rules="C11 V5",
    severity=Severity.WARNING,
    title="The certificate is identified by ESSCertIDv2 with a strong hash",
    meaning="ESSCertID of the first version knows SHA-1 alone (RFC 5816, RFC 5035).",
)
def certificate_id_version(evidence: Evidence) -> Iterator[str | At]:
    """Judge the strongest attribute of every token."""
    strong: dict[str, bool] = {}
    for stamp, second, parts in _ids(evidence):
        good = second and not _certificate_hash(second, parts)[0].weak
        strong[stamp.name] = strong.get(stamp.name, False) or good
    for name, good in strong.items():
        if not good:
            yield At(name, "SHA-1")


@check(
    "certificate-id-form",
    area=Area.SIGNATURE,
    rules="C11",
    severity=Severity.NOTE,
    title="ESSCertIDv2 has issuerSerial, and leaves SHA-256 out",
    meaning="X.690 11.5: DER leaves the default hash out; issuerSerial lets clients find the certificate.",
)
def certificate_id_form(evidence: Evidence) -> Iterator[str | At]:
    """Judge the parts of every ESSCertIDv2."""
    found = [(stamp, parts) for stamp, second, parts in _ids(evidence) if second]
    if not found:
        raise DoesNotApply("no token has an ESSCertIDv2")
    for stamp, parts in found:
        if parts[0][0] == der.SEQUENCE and hash_identifier(parts[0]) == oids.SHA256:
            yield At(stamp.name, "SHA-256 is written")
        if not _certificate_hash(True, parts)[2]:
            yield At(stamp.name, "no issuerSerial")
