"""Certificates assembled byte by byte, for what no library lets one write: odd names, versions and extensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_core.paths.certificate import PathCertificate
from tsa_core.protocol import der, oids

TIME: Final = datetime(2025, 6, 1, tzinfo=UTC)
COMMON_NAME: Final = "2.5.4.3"
ORGANIZATION: Final = "2.5.4.10"
EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
ANY_POLICY: Final = "2.5.29.32.0"

SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
KEY_USAGE: Final = "2.5.29.15"
SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
NAME_CONSTRAINTS: Final = "2.5.29.30"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
POLICY_MAPPINGS: Final = "2.5.29.33"
POLICY_CONSTRAINTS: Final = "2.5.29.36"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
INHIBIT_ANY_POLICY: Final = "2.5.29.54"

_ECDSA_WITH_SHA1: Final = "1.2.840.10045.4.1"


class Extension(NamedTuple):
    """An extension with any value at all."""

    oid: str
    value: bytes
    critical: bool = False


@lru_cache(maxsize=64)
def key(number: int) -> ec.EllipticCurvePrivateKey:
    """Return one of this process's keys."""
    return ec.generate_private_key(ec.SECP256R1())


@lru_cache(maxsize=64)
def _public(number: int) -> bytes:
    return key(number).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def name(*attributes: tuple[str, str] | tuple[str, str, int], tag: int = der.UTF8_STRING) -> bytes:
    """Return a Name; each attribute is a type, a text, and the tag of its string type if not `tag`."""
    encodings = {0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x14: "latin-1"}
    rdns = []
    for attribute, text, *own in attributes:
        kind = own[0] if own else tag
        value = der.tlv(kind, text.encode(encodings.get(kind, "utf-8")))
        rdns.append(der.set_of(der.sequence(der.oid(attribute), value)))
    return der.sequence(*rdns)


def common_name(text: str, tag: int = der.UTF8_STRING) -> bytes:
    """Return a Name of an organisation and a common name."""
    return name((ORGANIZATION, "tsa-core tests"), (COMMON_NAME, text), tag=tag)


def basic_constraints(*, ca: bool = True, path_length: int | None = None) -> Extension:
    length = der.integer(path_length) if path_length is not None else b""
    return Extension(BASIC_CONSTRAINTS, der.sequence(der.boolean(True) if ca else b"", length), True)


def key_usage(*bits: int) -> Extension:
    return Extension(KEY_USAGE, der.named_bits(*bits), True)


def policies(*dotted: str) -> Extension:
    return Extension(CERTIFICATE_POLICIES, der.sequence(*(der.sequence(der.oid(policy)) for policy in dotted)))


def mappings(*pairs: tuple[str, str]) -> Extension:
    encoded = (der.sequence(der.oid(issuer), der.oid(subject)) for issuer, subject in pairs)
    return Extension(POLICY_MAPPINGS, der.sequence(*encoded), True)


def policy_constraints(*, explicit: int | None = None, mapping: int | None = None) -> Extension:
    fields = [
        der.tlv(0x80 + number, der.integer(skip)[2:])
        for number, skip in enumerate((explicit, mapping))
        if skip is not None
    ]
    return Extension(POLICY_CONSTRAINTS, der.sequence(*fields), True)


def inhibit_any_policy(skip: int) -> Extension:
    return Extension(INHIBIT_ANY_POLICY, der.integer(skip), True)


def general_name(form: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return der.tlv((0xA0 if form in {0, 3, 4, 5} else 0x80) | form, data)


def alternative_names(*names: bytes) -> Extension:
    return Extension(SUBJECT_ALTERNATIVE_NAME, der.sequence(*names))


def name_constraints(permitted: Sequence[bytes] = (), excluded: Sequence[bytes] = ()) -> Extension:
    fields = [
        der.tlv(0xA0 + number, b"".join(map(der.sequence, trees)))
        for number, trees in enumerate((permitted, excluded))
        if trees
    ]
    return Extension(NAME_CONSTRAINTS, der.sequence(*fields), True)


CA: Final = (basic_constraints(), key_usage(5, 6))


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A certificate, and the numbers of its key and of its issuer's."""

    der: bytes
    subject: bytes
    key: int

    @property
    def path(self) -> PathCertificate:
        return PathCertificate.from_der(self.der)


def encoded(
    subject: bytes | str,
    *,
    issuer: Encoded | None = None,
    key_number: int = 0,
    extensions: Sequence[Extension] = (),
    version: int | None = 3,
    serial_number: int = 1,
    issuer_name: bytes | None = None,
    signing_key: int | None = None,
    begin: bytes = b"200101000000Z",
    end: bytes = b"400101000000Z",
    sha1: bool = False,
    public_key: bytes | None = None,
) -> Encoded:
    """Return a certificate; self-signed without an issuer. Nothing is added, nothing is checked.

    `issuer_name` and `signing_key` replace the issuer's name and key. Version None leaves it out, which means 1.
    `public_key` is a SubjectPublicKeyInfo that replaces that of the numbered key.
    """
    subject = common_name(subject) if isinstance(subject, str) else subject
    named = issuer_name if issuer_name is not None else issuer.subject if issuer is not None else subject
    signer = signing_key if signing_key is not None else issuer.key if issuer is not None else key_number
    values = b"".join(
        der.sequence(der.oid(e.oid), der.boolean(True) if e.critical else b"", der.octet_string(e.value))
        for e in extensions
    )
    algorithm = der.sequence(der.oid(_ECDSA_WITH_SHA1 if sha1 else oids.ECDSA_WITH_SHA256))
    digest = hashes.SHA1() if sha1 else hashes.SHA256()
    body = der.sequence(
        der.explicit(0, der.integer(version - 1)) if version is not None else b"",
        der.integer(serial_number),
        algorithm,
        named,
        der.sequence(der.tlv(der.UTC_TIME, begin), der.tlv(der.UTC_TIME, end)),
        subject,
        public_key if public_key is not None else _public(key_number),
        der.explicit(3, der.sequence(values)) if values else b"",
    )
    signature = key(signer).sign(body, ec.ECDSA(digest))
    whole = der.sequence(body, algorithm, der.tlv(der.BIT_STRING, b"\x00" + signature))
    return Encoded(der=whole, subject=subject, key=key_number)
