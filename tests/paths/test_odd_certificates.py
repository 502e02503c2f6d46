"""Certificates that break a rule and that everybody accepts, and those whose oddity nobody may pass over."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.paths.encoded_certificates import (
    BASIC_CONSTRAINTS,
    CA,
    CERTIFICATE_POLICIES,
    EXTENDED_KEY_USAGE,
    INHIBIT_ANY_POLICY,
    KEY_USAGE,
    NAME_CONSTRAINTS,
    POLICY_CONSTRAINTS,
    POLICY_MAPPINGS,
    SUBJECT_ALTERNATIVE_NAME,
    SUBJECT_KEY_IDENTIFIER,
    TIME,
    Encoded,
    Extension,
    basic_constraints,
    encoded,
    policies,
    policy_constraints,
)
from tsa_core.paths.algorithms import AlgorithmRules
from tsa_core.paths.building import Path, PathBuilder
from tsa_core.paths.certificate import PathCertificate, load_pem_certificates, serial_number
from tsa_core.paths.errors import PathError, UnsupportedAlgorithm, VerificationError, WeakAlgorithm
from tsa_core.paths.validation import Inputs
from tsa_core.protocol import der
from tsa_core.testing import shared_key
from tsa_core.testing.forged_pki import Issued, ca_extensions, issue

ROOT = encoded("Root", extensions=CA)
NOTICE = der.sequence(
    der.sequence(
        der.oid("1.2.3.1"),
        der.sequence(
            der.sequence(
                der.oid("1.3.6.1.5.5.7.2.2"), der.sequence(der.tlv(der.UTF8_STRING, "Erkl\u00e4rung".encode("latin-1")))
            )
        ),
    )
)
"""certificatePolicies with a user notice in Latin-1 that says that it is UTF-8."""
EXPLICIT_FALSE = der.sequence(der.boolean(False))
X400 = der.sequence(der.tlv(0xA3, b""))
GARBAGE = b"\xff\xff"


def build(target: Encoded, *helpers: Encoded, root: Encoded = ROOT) -> Path:
    return PathBuilder([root.path], [helper.path for helper in helpers], Inputs(time=TIME)).build(target.path, (), TIME)


def target(*extensions: Extension, **arguments: Any) -> Encoded:
    return encoded("Target", issuer=ROOT, key_number=1, extensions=extensions, **arguments)


# --- extensions ---


@pytest.mark.parametrize(
    ("oid", "value", "noted"),
    [
        (CERTIFICATE_POLICIES, NOTICE, False),
        (BASIC_CONSTRAINTS, EXPLICIT_FALSE, False),
        (SUBJECT_ALTERNATIVE_NAME, X400, False),
        (SUBJECT_KEY_IDENTIFIER, GARBAGE, True),
        (SUBJECT_ALTERNATIVE_NAME, GARBAGE, True),
        ("2.5.29.31", GARBAGE, True),
        ("1.3.6.1.5.5.7.1.1", GARBAGE, True),
    ],
)
def test_an_extension_that_cannot_be_parsed_and_is_not_critical_is_passed_over(
    oid: str, value: bytes, noted: bool
) -> None:
    odd = target(
        Extension(oid, value), policies("1.2.3.1") if oid != CERTIFICATE_POLICIES else basic_constraints(ca=False)
    )
    with pytest.raises((ValueError, x509.UnsupportedGeneralNameType)):
        x509.load_der_x509_certificate(odd.der).extensions  # noqa: B018 - to see that this one needs the tolerant reader
    path = build(odd)
    assert [note.code for note in path.notes] == ["extension-unreadable"] * noted
    assert all(oid in note.text for note in path.notes)


@pytest.mark.parametrize(
    "parts",
    [
        (der.tlv(der.BOOLEAN, b"\xff\xff"),),
        (der.tlv(der.BOOLEAN, b"\x00\xff"),),
        (der.boolean(True), der.tlv(der.INTEGER, b"\x00\x00")),
        (der.boolean(True), der.tlv(der.INTEGER, b"\xff")),
        (der.boolean(True), der.integer(0), der.integer(0)),
    ],
)
def test_basic_constraints_that_are_not_even_ber_make_no_ca(parts: tuple[bytes, ...]) -> None:
    constraints = Extension(BASIC_CONSTRAINTS, der.sequence(*parts), True)
    middle = encoded("CA", issuer=ROOT, key_number=2, extensions=(constraints,))
    with pytest.raises(PathError, match=r"extension that cannot be read|is not a CA"):
        build(encoded("Target", issuer=middle, key_number=3), middle)


@pytest.mark.parametrize("oid", [CERTIFICATE_POLICIES, SUBJECT_KEY_IDENTIFIER, SUBJECT_ALTERNATIVE_NAME, "2.5.29.31"])
def test_a_critical_extension_that_cannot_be_parsed_is_refused_by_name(oid: str) -> None:
    with pytest.raises(PathError, match=rf"extension that cannot be read, {oid}"):
        build(target(Extension(oid, GARBAGE, True)))
    middle = encoded("CA", issuer=ROOT, key_number=2, extensions=(*CA, Extension(oid, GARBAGE, True)))
    with pytest.raises(PathError, match=rf"extension that cannot be read, {oid}"):
        build(encoded("Target", issuer=middle, key_number=3), middle)


@pytest.mark.parametrize(
    "oid",
    [
        BASIC_CONSTRAINTS,
        KEY_USAGE,
        EXTENDED_KEY_USAGE,
        NAME_CONSTRAINTS,
        POLICY_CONSTRAINTS,
        POLICY_MAPPINGS,
        INHIBIT_ANY_POLICY,
    ],
)
def test_an_extension_that_restricts_is_never_passed_over(oid: str) -> None:
    """To ignore it would give the certificate back what its issuer withheld."""
    own = [extension for extension in CA if extension.oid != oid]
    middle = encoded("CA", issuer=ROOT, key_number=2, extensions=(*own, Extension(oid, GARBAGE)))
    with pytest.raises(PathError, match=r"cannot be (read|validated)|is not a CA"):
        build(encoded("Target", issuer=middle, key_number=3), middle)


def test_policies_with_an_unreadable_notice_still_count() -> None:
    required = policy_constraints(explicit=0)
    assert build(target(Extension(CERTIFICATE_POLICIES, NOTICE), required)).outputs is not None
    middle = encoded("CA", issuer=ROOT, key_number=2, extensions=(*CA, policies("1.2.3.2"), required))
    odd = encoded("Target", issuer=middle, key_number=3, extensions=(Extension(CERTIFICATE_POLICIES, NOTICE),))
    with pytest.raises(PathError, match="explicit policy"):
        build(odd, middle)


def test_an_explicit_false_is_false() -> None:
    middle = encoded("CA", issuer=ROOT, key_number=2, extensions=(Extension(BASIC_CONSTRAINTS, EXPLICIT_FALSE, True),))
    with pytest.raises(PathError, match="is not a CA"):
        build(encoded("Target", issuer=middle, key_number=3), middle)


def test_an_extension_twice_is_refused() -> None:
    with pytest.raises(PathError, match=r"2\.5\.29\.19 of the certificate appears twice"):
        build(target(basic_constraints(ca=False), basic_constraints(ca=False)))


@pytest.mark.parametrize("value", [b"\x02\x01\x01", der.sequence(der.integer(1)), der.sequence(der.oid("1.2.3"))])
def test_what_is_no_list_of_extensions_is_refused(value: bytes) -> None:
    odd = target(Extension("1.2.3.4", b"\x05\x00"))
    listed = der.sequence(der.sequence(der.oid("1.2.3.4"), der.octet_string(b"\x05\x00")))
    before, after = odd.der.split(der.explicit(3, listed))
    changed = before + der.explicit(3, (value + der.tlv(der.OCTET_STRING, bytes(64)))[: len(listed)]) + after
    with pytest.raises(PathError, match="cannot be read"):
        PathCertificate.from_der(changed).check_critical_extensions()


# --- serial numbers ---


@pytest.mark.parametrize("number", [0, -1, -(1 << 100)])
def test_a_serial_number_that_is_not_positive_is_noted(number: int) -> None:
    """RFC 5280 4.1.2.2 forbids it and asks to bear it: "Certificate users SHOULD be prepared to handle" them."""
    odd = target(serial_number=number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = build(odd)
        pem = path.signer.certificate.public_bytes(Encoding.PEM)
        assert serial_number(load_pem_certificates(pem)[0]) == number
    assert [note.code for note in path.notes] == ["serial-not-positive"]


@pytest.mark.parametrize("number", [1, 127, 128, 1 << 159, 1 << 1600])
def test_an_ordinary_path_has_no_notes(number: int) -> None:
    """A serial number that is too long is positive (RFC 5280 4.1.2.2 has users handle 20 octets at least)."""
    assert build(target(serial_number=number)).notes == ()


# --- keys and signatures ---


def path_of(*issued: Issued, rules: AlgorithmRules | None = None) -> Path:
    """Build from the first to the last; the others help."""
    inputs = Inputs(time=TIME, algorithms=rules) if rules is not None else Inputs(time=TIME)
    first, *middle, last = [PathCertificate(each.certificate) for each in issued]
    return PathBuilder([last], middle, inputs).build(first, (), TIME)


CURVES = [
    ec.BrainpoolP256R1(),
    ec.BrainpoolP384R1(),
    ec.BrainpoolP512R1(),
    ec.SECP224R1(),
    ec.SECP256K1(),
    ec.SECP521R1(),
]


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: str(curve.name))
def test_keys_on_every_prime_curve_that_is_strong_enough(curve: ec.EllipticCurve) -> None:
    root = issue("Root", key=ec.generate_private_key(curve), extensions=ca_extensions())
    signer = issue("Signer", issuer=root, key=ec.generate_private_key(curve))
    assert len(path_of(signer, root).certificates) == 2


def test_a_curve_of_96_bits_of_strength_is_refused() -> None:
    root = issue("Root", extensions=ca_extensions())
    with pytest.raises(UnsupportedAlgorithm, match="the curve secp192r1"):
        path_of(issue("Signer", issuer=root, key=ec.generate_private_key(ec.SECP192R1())), root)


@pytest.mark.parametrize(
    "digest",
    [
        hashes.SHA224(),
        hashes.SHA256(),
        hashes.SHA384(),
        hashes.SHA512(),
        hashes.SHA3_224(),
        hashes.SHA3_256(),
        hashes.SHA3_384(),
        hashes.SHA3_512(),
    ],
    ids=lambda digest: str(digest.name),
)
@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_signatures_with_every_strong_hash(kind: str, digest: hashes.HashAlgorithm) -> None:
    root = issue("Root", key=shared_key(KINDS[kind]), extensions=ca_extensions())
    signer = issue("Signer", issuer=root, digest=digest)
    assert len(path_of(signer, root).certificates) == 2


KINDS = {"p256": "ecdsa-p256", "rsa2048": "rsa-2048"}


def test_what_is_weak_is_for_the_caller_to_allow() -> None:
    def build_under(rules: AlgorithmRules, weak: Encoded) -> int:
        builder = PathBuilder([ROOT.path], (), Inputs(time=TIME, algorithms=rules))
        return len(builder.build(weak.path, (), TIME).certificates)

    with pytest.raises(WeakAlgorithm, match="ECDSA with sha1"):
        build(target(sha1=True))
    assert build_under(AlgorithmRules(weak_hashes=frozenset({"sha1"})), target(sha1=True)) == 2
    root = issue("Root", extensions=ca_extensions())
    short = issue("Signer", issuer=root, key=rsa.generate_private_key(65537, 1024))
    with pytest.raises(WeakAlgorithm, match="1024"):
        path_of(short, root)
    assert len(path_of(short, root, rules=AlgorithmRules(min_rsa_bits=1024)).certificates) == 2


# --- fuzz ---


def test_flipped_bits_never_raise_anything_but_a_verification_error() -> None:
    source = random.Random(17)
    middle = encoded(
        "CA", issuer=ROOT, key_number=2, extensions=(*CA, policies("1.2.3.1"), policy_constraints(explicit=3))
    )
    extensions = (policies("1.2.3.1"), Extension(SUBJECT_ALTERNATIVE_NAME, X400), basic_constraints(ca=False))
    leaf = encoded("Target", issuer=middle, key_number=3, extensions=extensions)
    reasons = []
    for _ in range(2000):
        data = bytearray((chosen := source.choice((middle, leaf))).der)
        for _ in range(source.choice((1, 1, 1, 2, 5))):
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        first, second = (bytes(data) if each is chosen else each.der for each in (leaf, middle))
        try:
            helper = PathCertificate.from_der(second)
            PathBuilder([ROOT.path], [helper], Inputs(time=TIME)).build(PathCertificate.from_der(first), (), TIME)
        except VerificationError as error:
            reasons.append(str(error))
    assert len(reasons) == 2000
    assert all(reason.isprintable() for reason in reasons)
