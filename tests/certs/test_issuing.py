"""Certificates and requests signed by a Signer: what openssl and cryptography read of them."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.api import ConfigError, LocalKeySigner, SignerError
from tsa_core.certs import (
    KEY_KINDS,
    CertificateChain,
    Issuer,
    Publication,
    certificate_name,
    issue_certificate,
    issue_request,
    root_extensions,
    tsa_extensions,
)
from tsa_core.certs.hierarchy import Names, Validity, chain_under, self_signed_root
from tsa_core.conformance.chains import ChainCase, Outcome, judge
from tsa_core.testing import FailingSigner, FakeSigner, require_program, shared_key, write_pem

NOW = datetime.now(UTC).replace(microsecond=0)
NAMES = Names(organization="Example Ltd", country="DE")
PUBLICATION = Publication(
    crl_urls=["http://pki.example.com/ca.crl"],
    ocsp_urls=["http://ocsp.example.com"],
    issuer_urls=["http://pki.example.com/ca.cer"],
    policies=["1.2.3.4", "2.23.140.1.4.2"],
)
SIGNING = [
    *((kind, False) for kind in KEY_KINDS if kind != "rsa-4096"),
    ("rsa-3072", True),
]


def make_chain(kind: str, *, pss: bool = False, leaf_kind: str | None = None) -> CertificateChain:
    parent = LocalKeySigner(shared_key(kind), rsa_pss=pss)
    root = self_signed_root(parent, NAMES, Validity.of(timedelta(days=100)), path_length=0)
    leaf = shared_key(leaf_kind or ("ecdsa-p384" if kind != "ecdsa-p384" else "ecdsa-p256")).public_key()
    return chain_under([root], parent, leaf, NAMES, key_use=timedelta(days=50), publication=PUBLICATION)


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = require_program("openssl")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("kind", "pss"), SIGNING)
def test_chain_of_every_kind_of_key_verifies_and_fulfils_the_common_rules(kind: str, pss: bool) -> None:
    chain = make_chain(kind, pss=pss)
    leaf, root = chain.certificates
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    findings = judge(ChainCase(certificates=chain.certificates, at=datetime.now(UTC)))
    assert [f for f in findings if f.outcome in {Outcome.FAIL, Outcome.WARN}] == []


@pytest.mark.parametrize(("kind", "pss"), [case for case in SIGNING if not case[0].startswith("ml-dsa")])
def test_openssl_accepts_the_chain_for_timestamps(kind: str, pss: bool, tmp_path: Path) -> None:
    leaf, root = make_chain(kind, pss=pss).certificates
    ca, certificate = write_pem(tmp_path / "ca.pem", [root]), write_pem(tmp_path / "leaf.pem", [leaf])
    result = openssl("verify", "-x509_strict", "-purpose", "timestampsign", "-CAfile", ca, certificate)
    assert result.stdout.endswith("leaf.pem: OK\n"), result.stderr


@pytest.mark.parametrize(("kind", "pss"), SIGNING)
def test_request_verifies_and_asks_for_a_tsa_certificate(kind: str, pss: bool, tmp_path: Path) -> None:
    signer = LocalKeySigner(shared_key(kind), rsa_pss=pss)
    request = issue_request(
        subject=NAMES.name("a request"), signer=signer, extensions=tsa_extensions(signer.public_key, None)
    )
    assert request.is_signature_valid
    usage = request.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical
    if not kind.startswith("ml-dsa"):
        path = tmp_path / "request.pem"
        path.write_bytes(request.public_bytes(Encoding.PEM))
        assert openssl("req", "-in", path, "-verify", "-noout").returncode == 0


def test_signature_algorithm_stands_twice_and_equal() -> None:
    # RFC 5280 4.1.1.2; an RSA certificate names the digest too, unlike a SignerInfo.
    for certificate in make_chain("rsa-3072").certificates:
        assert certificate.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSA_WITH_SHA256


def test_extensions_of_the_leaf_are_the_expected_ones() -> None:
    leaf, root = make_chain("ecdsa-p256").certificates
    found = {extension.oid: extension for extension in leaf.extensions}
    critical = {oid for oid, extension in found.items() if extension.critical}
    assert critical == {x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid}
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    period = leaf.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value
    assert period.not_after is not None
    assert period.not_after.replace(tzinfo=UTC) == leaf.not_valid_before_utc + timedelta(days=50)
    points = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [name.value for point in points for name in point.full_name or ()] == list(PUBLICATION.crl_urls)
    policies = leaf.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert [policy.policy_identifier.dotted_string for policy in policies] == list(PUBLICATION.policies)


@pytest.mark.parametrize("year", [2049, 2050, 2120])
def test_times_are_utc_time_to_2049_and_generalized_time_after(year: int) -> None:
    signer = LocalKeySigner(shared_key())
    until = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    root = self_signed_root(signer, NAMES, Validity(not_before=NOW, not_after=until))
    assert root.not_valid_after_utc == until
    tag = b"\x17\x0d" if year < 2050 else b"\x18\x0f"
    text = f"{until:%y%m%d%H%M%S}Z" if year < 2050 else f"{until:%Y%m%d%H%M%S}Z"
    assert tag + text.encode() in root.tbs_certificate_bytes


def test_serial_numbers_are_positive_different_and_of_20_octets_at_most() -> None:
    numbers = {make_chain("ecdsa-p256").leaf.serial_number for _ in range(20)}
    assert len(numbers) == 20
    assert all(0 < number < 1 << 159 for number in numbers)


def test_an_issuers_key_must_be_the_certified_one() -> None:
    root = make_chain("ecdsa-p256").certificates[-1]
    with pytest.raises(ConfigError, match="is for another key"):
        Issuer.of(root, LocalKeySigner(shared_key("ecdsa-p384")))


def test_the_issuers_own_key_identifier_goes_into_the_leaf() -> None:
    # A CA may compute it as it likes (RFC 5280 4.2.1.2), and clients compare the bytes.
    signer = LocalKeySigner(shared_key())
    subject = NAMES.name("odd")
    root = issue_certificate(
        subject=subject,
        public_key=signer.public_key,
        issuer=Issuer(name=subject, signer=signer),
        extensions=[*root_extensions(signer.public_key)[:2], (x509.SubjectKeyIdentifier(b"odd identifier"), False)],
        not_before=NOW,
        not_after=NOW + timedelta(days=1),
    )
    leaf = chain_under([root], signer, shared_key("ecdsa-p384").public_key(), NAMES).leaf
    found = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert found.value.key_identifier == b"odd identifier"


def test_a_signature_that_does_not_verify_makes_no_certificate() -> None:
    class Wrong(FakeSigner):
        def sign(self, message: bytes, *, timeout: float) -> bytes:
            return super().sign(message + b"x", timeout=timeout)

    with pytest.raises(SignerError, match="does not verify"):
        self_signed_root(Wrong(), NAMES, Validity.of(timedelta(days=1)))


def test_a_signer_that_fails_makes_no_certificate() -> None:
    with pytest.raises(SignerError):
        self_signed_root(FailingSigner(), NAMES, Validity.of(timedelta(days=1)))


@pytest.mark.parametrize("country", ["D", "Germany"])
def test_names_that_cannot_be_are_refused(country: str) -> None:
    with pytest.raises(ConfigError, match="a name in a certificate"):
        certificate_name("x", country=country)


@pytest.mark.parametrize(
    "url", ["pki.example.com/ca.crl", "ldap://pki.example.com", "http://bücher.example/", "http://a b"]
)
def test_addresses_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the address"):
        Publication(crl_urls=[url]).extensions()


@pytest.mark.parametrize("oid", ["", "x", "1", "9.1.2"])
def test_policies_that_cannot_be_are_refused(oid: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a certificate policy"):
        Publication(policies=[oid]).extensions()


@pytest.mark.parametrize(
    ("oid", "refused"), [("2.5.29.14", True), ("1.3.6.1.5.5.7.1.1", False)], ids=["its key identifier", "another"]
)
def test_an_issuers_certificate_with_an_extension_that_cannot_be_read(oid: str, refused: bool) -> None:
    signer = LocalKeySigner(shared_key("ecdsa-p256"))
    unreadable = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x30\x01")
    extensions = [pair for pair in root_extensions(signer.public_key) if pair[0].oid.dotted_string != oid]
    name = certificate_name("CA")
    certificate = issue_certificate(
        subject=name,
        public_key=signer.public_key,
        issuer=Issuer(name=name, signer=signer),
        extensions=[*extensions, (unreadable, False)],
        not_before=NOW,
        not_after=NOW + timedelta(days=1),
    )
    if refused:
        with pytest.raises(ConfigError, match="subject key identifier of the certificate 'CN=CA' cannot be read"):
            Issuer.of(certificate, signer)
    else:
        assert Issuer.of(certificate, signer).key_identifier
