"""A plain, slow, obviously right encoder of granted replies and of requests, to compare ours with.

It shares nothing with tsa_core.protocol: asn1crypto's schemas do the encoding, every structure is built anew, and
identifiers stand here a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar

from asn1crypto import cms, core, tsp, x509

HASHES = {
    "sha1": ("1.3.14.3.2.26", 20),
    "sha224": ("2.16.840.1.101.3.4.2.4", 28),
    "sha256": ("2.16.840.1.101.3.4.2.1", 32),
    "sha384": ("2.16.840.1.101.3.4.2.2", 48),
    "sha512": ("2.16.840.1.101.3.4.2.3", 64),
    "sha3-256": ("2.16.840.1.101.3.4.2.8", 32),
    "sha3-384": ("2.16.840.1.101.3.4.2.9", 48),
    "sha3-512": ("2.16.840.1.101.3.4.2.10", 64),
}

# Key -> digest of the token, OID of the signature algorithm (rules C7 to C10).
SIGNATURES = {
    "rsa-2048": ("sha256", "1.2.840.113549.1.1.1"),
    "rsa-3072": ("sha256", "1.2.840.113549.1.1.1"),
    "rsa-4096": ("sha256", "1.2.840.113549.1.1.1"),
    "p224": ("sha256", "1.2.840.10045.4.3.2"),
    "p256": ("sha256", "1.2.840.10045.4.3.2"),
    "p384": ("sha384", "1.2.840.10045.4.3.3"),
    "p521": ("sha512", "1.2.840.10045.4.3.4"),
    "ed25519": ("sha512", "1.3.101.112"),
    "ed448": ("shake256", "1.3.101.113"),
    "ml-dsa-44": ("sha512", "2.16.840.1.101.3.4.3.17"),
    "ml-dsa-65": ("sha512", "2.16.840.1.101.3.4.3.18"),
    "ml-dsa-87": ("sha512", "2.16.840.1.101.3.4.3.19"),
}

Extension = tuple[str, bool, bytes]
"""Identifier, critical, value."""


class _CertificateSet(core.SetOf):  # type: ignore[misc] # asn1crypto has no types
    """Certificates as they are: asn1crypto's own set reads them now and then, and knows no ML-DSA."""

    _child_spec = core.Any


class _SignedData(core.Sequence):  # type: ignore[misc] # asn1crypto has no types
    _fields: ClassVar = [
        ("version", cms.CMSVersion),
        ("digest_algorithms", cms.DigestAlgorithms),
        ("encap_content_info", cms.EncapsulatedContentInfo),
        ("certificates", _CertificateSet, {"implicit": 0, "optional": True}),
        ("signer_infos", cms.SignerInfos),
    ]


class _ContentInfo(core.Sequence):  # type: ignore[misc] # asn1crypto has no types
    _fields: ClassVar = [("content_type", cms.ContentType), ("content", _SignedData, {"explicit": 0})]


class _TimeStampResp(core.Sequence):  # type: ignore[misc] # asn1crypto has no types
    _fields: ClassVar = [("status", tsp.PKIStatusInfo), ("time_stamp_token", _ContentInfo)]


@dataclass(frozen=True, kw_only=True)
class PlainRequest:
    """A TimeStampReq in plain values."""

    hash_name: str = "sha256"
    null_parameters: bool = True
    digest: bytes = bytes(32)
    policy: str | None = None
    nonce: int | None = None
    cert_req: bool = False
    extensions: tuple[Extension, ...] = ()

    def message_imprint(self) -> tsp.MessageImprint:
        algorithm = cms.DigestAlgorithm({"algorithm": HASHES[self.hash_name][0]})
        _set_parameters(algorithm, core.Null() if self.null_parameters else None)
        return tsp.MessageImprint({"hash_algorithm": algorithm, "hashed_message": self.digest})

    def encode(self) -> bytes:
        values = {"version": "v1", "message_imprint": self.message_imprint()}
        if self.policy is not None:
            values["req_policy"] = self.policy
        if self.nonce is not None:
            values["nonce"] = self.nonce
        if self.cert_req:
            values["cert_req"] = True
        if self.extensions:
            values["extensions"] = _extensions(self.extensions)
        encoded: bytes = tsp.TimeStampReq(values).dump()
        return encoded


@dataclass(frozen=True, kw_only=True)
class PlainOptions:
    """What a profile decides."""

    kind: str = "p256"
    """One of SIGNATURES."""
    pss: bool = False
    chain: Sequence[bytes]
    """DER, the signer's certificate first; all of it goes into a token that asks for certificates."""
    accuracy_us: int | None = 1_000_000
    ordering: bool = False
    fraction_digits: int = 0
    tsa_name: bool = True
    algorithm_protection: bool = False
    extensions: tuple[Extension, ...] = ()


def plain_response(
    request: PlainRequest,
    options: PlainOptions,
    *,
    policy: str,
    serial_number: int,
    time: datetime,
    signature: bytes,
) -> bytes:
    """Return the DER of the granted TimeStampResp."""
    issuer, _, serial = _names(options.chain[0])
    content = plain_tst_info(request, options, policy=policy, serial_number=serial_number, time=time)
    digest = _digest_algorithm(options.kind)
    signed_attributes = plain_signed_attributes(content, options, time=time)
    values = {
        "version": "v1",
        "sid": cms.SignerIdentifier({"issuer_and_serial_number": {"issuer": issuer, "serial_number": serial}}),
        "digest_algorithm": digest,
        "signed_attrs": signed_attributes,
        "signature_algorithm": _signature_algorithm(options),
        "signature": signature,
    }
    signer_info = _encoded(cms.SignerInfo(values))
    signed_data = {
        "version": "v3",
        "digest_algorithms": [digest],
        "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
        "signer_infos": [signer_info],
    }
    if request.cert_req:
        signed_data["certificates"] = _CertificateSet([core.Any.load(one) for one in options.chain])
    token = _encoded(_ContentInfo({"content_type": "signed_data", "content": _encoded(_SignedData(signed_data))}))
    encoded: bytes = _TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()
    return encoded


def plain_tst_info(
    request: PlainRequest, options: PlainOptions, *, policy: str, serial_number: int, time: datetime
) -> bytes:
    """Return the DER of TSTInfo."""
    time = time.astimezone(UTC)
    tick = 10 ** (6 - options.fraction_digits)
    values = {
        "version": "v1",
        "policy": policy,
        "message_imprint": request.message_imprint(),
        "serial_number": serial_number,
        "gen_time": core.GeneralizedTime(time.replace(microsecond=time.microsecond // tick * tick)),
    }
    if options.accuracy_us is not None:
        seconds, micros = divmod(options.accuracy_us, 1_000_000)
        millis, micros = divmod(micros, 1000)
        parts = {"seconds": seconds, "millis": millis, "micros": micros}
        values["accuracy"] = tsp.Accuracy({name: value for name, value in parts.items() if value})
    if options.ordering:
        values["ordering"] = True
    if request.nonce is not None:
        values["nonce"] = request.nonce
    if options.tsa_name:
        values["tsa"] = x509.GeneralName("directory_name", _names(options.chain[0])[1])
    if options.extensions:
        values["extensions"] = _extensions(options.extensions)
    encoded: bytes = tsp.TSTInfo(values).dump()
    return encoded


def plain_signed_attributes(content: bytes, options: PlainOptions, *, time: datetime) -> cms.CMSAttributes:
    """Return the signed attributes of a token with that TSTInfo."""
    second = time.astimezone(UTC).replace(microsecond=0)
    kind = "utc_time" if 1950 <= second.year <= 2049 else "generalized_time"
    signing_time = core.UTCTime(second) if kind == "utc_time" else core.GeneralizedTime(second)
    attributes = [
        {"type": "content_type", "values": ["tst_info"]},
        {"type": "signing_time", "values": [cms.Time(kind, signing_time)]},
        {"type": "message_digest", "values": [plain_digest(options.kind, content)]},
        {"type": "signing_certificate_v2", "values": [_signing_certificate(options.chain[0])]},
    ]
    if options.algorithm_protection:
        protection = cms.CMSAlgorithmProtection(
            {
                "digest_algorithm": _digest_algorithm(options.kind),
                "signature_algorithm": _signature_algorithm(options),
            }
        )
        attributes.append({"type": "cms_algorithm_protection", "values": [protection]})
    return _encoded(cms.CMSAttributes([_encoded(cms.CMSAttribute(each)) for each in attributes]))


def _encoded(value: Any) -> Any:
    """Return the same value, read from its encoding: asn1crypto encodes a built one again for each level around it."""
    return type(value).load(value.dump())


@lru_cache(maxsize=64)
def _signing_certificate(certificate: bytes) -> tsp.SigningCertificateV2:
    issuer, _, serial = _names(certificate)
    issuer_serial = {"issuer": [x509.GeneralName("directory_name", issuer)], "serial_number": serial}
    ess_cert_id = {"cert_hash": hashlib.sha256(certificate).digest(), "issuer_serial": issuer_serial}
    return _encoded(tsp.SigningCertificateV2({"certs": [ess_cert_id]}))


@lru_cache(maxsize=64)
def _names(certificate: bytes) -> tuple[x509.Name, x509.Name, int]:
    """Return issuer, subject and serial number."""
    loaded = x509.Certificate.load(certificate)
    return loaded.issuer, loaded.subject, loaded.serial_number


def plain_digest(kind: str, data: bytes) -> bytes:
    """Return the digest that goes with a key."""
    name = SIGNATURES[kind][0]
    return hashlib.shake_256(data).digest(64) if name == "shake256" else hashlib.new(name, data).digest()


def _digest_algorithm(kind: str) -> cms.DigestAlgorithm:
    name = SIGNATURES[kind][0]
    if name == "shake256":  # id-shake256-len with the output's length in bits (RFC 8419 2.3)
        return cms.DigestAlgorithm({"algorithm": "2.16.840.1.101.3.4.2.18", "parameters": core.Any(core.Integer(512))})
    algorithm = cms.DigestAlgorithm({"algorithm": HASHES[name][0]})
    _set_parameters(algorithm, None)
    return algorithm


def _set_parameters(algorithm: cms.DigestAlgorithm, parameters: core.Null | None) -> None:
    """Set the parameters, or leave them out: asn1crypto writes NULL for the hashes that it knows."""
    if parameters is None:
        del algorithm["parameters"]
    else:
        algorithm["parameters"] = parameters


def _signature_algorithm(options: PlainOptions) -> cms.SignedDigestAlgorithm:
    if options.pss:
        sha256 = {"algorithm": "sha256", "parameters": core.Null()}
        parameters = {
            "hash_algorithm": sha256,
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": sha256},
            "salt_length": 32,
        }
        return cms.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})
    oid = SIGNATURES[options.kind][1]
    if options.kind.startswith("rsa"):
        return cms.SignedDigestAlgorithm({"algorithm": oid, "parameters": core.Null()})
    return cms.SignedDigestAlgorithm({"algorithm": oid})


def _extensions(extensions: Sequence[Extension]) -> tsp.Extensions:
    encoded = []
    for oid, critical, value in extensions:
        fields: dict[str, object] = {"extn_id": oid, "extn_value": value}
        if critical:
            fields["critical"] = True
        encoded.append(tsp.Extension(fields))
    return tsp.Extensions(encoded)
