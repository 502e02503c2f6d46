"""Certificate templates: what their fields put into a certificate, and how wrong ones are refused."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsa_core.api import ConfigError, LocalKeySigner
from tsa_core.certs.maker import CertificateTemplate, Maker, Role
from tsa_core.testing import shared_key

SIGNER = LocalKeySigner(shared_key("ecdsa-p256"))


def template(tmp_path: Path, content: Any, role: Role = "leaf", common_name: str = "tsa") -> CertificateTemplate:
    path = tmp_path / "template.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return CertificateTemplate(role, path, common_name=common_name)


def made(tmp_path: Path, content: Any, role: Role = "leaf") -> x509.Certificate:
    """A self-signed certificate of a template, whatever its role."""
    return Maker().root(template(tmp_path, content, role), SIGNER, timedelta(days=1))


def test_every_field_is_in_the_certificate(tmp_path: Path) -> None:
    certificate = made(
        tmp_path,
        {
            "subject": {
                "country": "DE",
                "organization": ["Example Ltd"],
                "organizationalUnit": [""],
                "locality": "Berlin",
                "province": "Berlin",
                "streetAddress": "Street 1",
                "postalCode": "10115",
                "commonName": "{{ .Subject.CommonName }} 1",
                "serialNumber": "7",
                "extraNames": [{"type": "2.5.4.97", "value": "VATDE-1"}],
            },
            "keyUsage": ["digital_signature", "CONTENTCOMMITMENT"],
            "unknownExtKeyUsage": "1.3.6.1.5.5.7.3.8",
            "basicConstraints": {"isCA": False},
            "extensions": [{"id": "1.2.3", "critical": True, "value": "BQA="}, {"id": "1.2.4", "value": "BQA="}],
            "policyIdentifiers": ["2.23.140.1.4.2"],
            "crlDistributionPoints": "http://a.example/c.crl",
            "ocspServer": "http://o.example",
            "issuingCertificateURL": ["http://a.example/c.cer"],
            "dnsNames": "tsa.example",
            "emailAddresses": ["tsa@example.com"],
            "ipAddresses": ["192.0.2.1", "2001:db8::1"],
            "uris": "https://tsa.example",
            "issuer": None,
        },
    )
    assert [(attribute.rfc4514_attribute_name, attribute.value) for attribute in certificate.subject] == [
        ("C", "DE"), ("ST", "Berlin"), ("L", "Berlin"), ("STREET", "Street 1"), ("2.5.4.17", "10115"),
        ("O", "Example Ltd"), ("CN", "tsa 1"), ("2.5.4.5", "7"), ("2.5.4.97", "VATDE-1"),
    ]  # fmt: skip
    found = certificate.extensions
    usage = found.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.content_commitment
    assert not usage.value.key_cert_sign
    assert list(found.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    assert found.get_extension_for_class(x509.BasicConstraints).critical
    for oid, critical in (("1.2.3", True), ("1.2.4", False)):
        own = found.get_extension_for_oid(x509.ObjectIdentifier(oid))
        assert own.critical is critical
        assert own.value.public_bytes() == b"\x05\x00"
    assert (
        found.get_extension_for_class(x509.CertificatePolicies)
        .value[0]
        .policy_identifier.dotted_string.startswith("2.23")
    )
    assert len(list(found.get_extension_for_class(x509.AuthorityInformationAccess).value)) == 2
    assert found.get_extension_for_class(x509.CRLDistributionPoints).value
    assert len(list(found.get_extension_for_class(x509.SubjectAlternativeName).value)) == 5
    assert found.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@pytest.mark.parametrize(
    ("role", "usage", "critical"),
    [
        ("leaf", '"timeStamping"', True),
        ("leaf", '["TimeStamping", "codeSigning"]', False),
        ("intermediate", '["timestamping"]', False),
    ],
)
def test_extended_key_usage_of_timestamps_alone_is_critical(
    tmp_path: Path, role: Role, usage: str, critical: bool
) -> None:
    """RFC 3161 2.3 demands it; Go's library never makes it so, and its servers refuse what it makes."""
    certificate = made(tmp_path, f'{{"subject": "x", "extKeyUsage": {usage}}}', role)
    assert certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).critical is critical


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ({"isCA": True}, 0),
        ({"isCA": True, "maxPathLen": 2}, 2),
        ({"isCA": True, "maxPathLen": -1}, None),
        ({"isca": False, "MAXPATHLEN": 0}, None),
    ],
)
def test_path_length_is_zero_unless_it_is_given(tmp_path: Path, constraints: Any, expected: int | None) -> None:
    found = made(tmp_path, {"subject": "x", "basicConstraints": constraints}).extensions
    value = found.get_extension_for_class(x509.BasicConstraints).value
    assert (value.ca, value.path_length) == (expected is not None or constraints.get("isCA", False), expected)


def test_values_of_one_attribute_are_one_part_of_the_name(tmp_path: Path) -> None:
    """As Go's library has it, so that a chain goes on under a CA that was made there."""
    certificate = made(tmp_path, {"subject": {"organization": ["A", "B"], "commonName": "x"}})
    assert [len(list(rdn)) for rdn in certificate.subject.rdns] == [2, 1]


def test_an_extension_takes_the_place_of_what_the_keys_would_yield(tmp_path: Path) -> None:
    own = {"id": "2.5.29.14", "value": "BAIBAg=="}
    certificate = made(tmp_path, {"subject": "x", "extensions": [own]})
    assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == b"\x01\x02"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{\n"subjct": {}}', "line 2: subjct: the field is not known; did you mean subject?"),
        ('{"subject": {\n"cn": "x"}}', "line 2: subject.cn: there are country, organization,"),
        ('{"subject": "x",\n"extensions": [{"id": "1.2.3", "value": "BQA=",\n"critical": "yes"}]}',
         "line 3: extensions.0.critical: must be true or false"),
        ('{"subject": "x", "extensions": [{"id": "1.x", "value": "BQA="}]}', "extensions.0.id: '1.x' is not"),
        ('{"subject": "x", "extensions": [{"id": "1.2.3"}]}', "extensions.0.value: is missing"),
        ('{"subject": "x", "extensions": [{"id": "1.2.3", "value": "BQ="}]}', "base64 of a DER value is needed"),
        ('{"subject": "x", "extensions": [{"id": "1.2.3", "value": "BQAA"}]}', "there is more behind it"),
        ('{"subject": "x", "extensions": [{"id": "1.2.3", "value": "BQA="}, {"id": "1.2.3", "value": "BQA="}]}',
         "extensions.1.id: 1.2.3 stands twice"),
        ('{"subject": "x", "extKeyUsage": "timeStamping",\n"extensions": [{"id": "2.5.29.37", "value": "MAA="}]}',
         "line 1: extKeyUsage: no effect beside the extension 2.5.29.37"),
        ('{"subject": "x", "extKeyUsage": ["codeSigning",\n "timestampng"]}',
         "line 2: extKeyUsage: 'timestampng' is not known; did you mean timeStamping?"),
        ('{"subject": "x", "keyUsage": ["sign"]}', "keyUsage: 'sign' is not known; did you mean crlSign?"),
        ('{"subject": "x", "keyUsage": ["decipherOnly"]}', "keyUsage: encipher_only and decipher_only can only"),
        ('{"subject": "x", "keyUsage": 5}', "keyUsage: must be a list"),
        ('{"subject": "x", "basicConstraints": []}', "basicConstraints: an object { ... } is needed"),
        ('{"subject": "x", "basicConstraints": {"isCA": 1}}', "basicConstraints.isCA: must be true or false"),
        ('{"subject": "x", "notAfter": "2030-01-01T00:00:00Z"}', "notAfter: a template cannot say this here: the"),
        ('{"subject": "x", "SerialNumber": 1}', "SerialNumber: a template cannot say this here: it is random"),
        ('{"subject": "x", "sans": []}', "sans: a template cannot say this here: write dnsNames"),
        ('{"subject": {"country": "Germany"}}', "subject.country: "),
        ('{"subject": {"commonName": ""}}', "subject: the name is empty; give a common name"),
        ("{}", "subject: the name is empty"),
        ('{"subject": "x", "crlDistributionPoints": "ldap://x"}', "crlDistributionPoints: 'ldap://x' cannot be the"),
        ('{"subject": "x", "policyIdentifiers": ["x"]}', "policyIdentifiers.0: 'x' is not an object identifier"),
        ('{"subject": "x", "ipAddresses": ["x"]}', "ipAddresses.0: 'x' does not appear to be an IPv4 or IPv6 address"),
        ('{"subject": "x", "dnsNames": ["é"]}', "dnsNames: é: "),
        ('{"subject": "x", "issuer": "another"}', "issuer: the issuer is 'CN=x'; leave the field out"),
        ("[]", "the template: an object { ... } is needed"),
        ('{"subject": "x",\n}', "line 2: the template yields no JSON: a name in quotation marks is missing"),
        ('{"subject": "x" "keyUsage": 1}', "yields no JSON: a comma or } is missing"),
        ('{"subject": "x"}\n}', "line 2: the template yields no JSON: there is more behind the end"),
        ('{"subject": "x",\n"Subject": "y"}', "line 2: the template yields no JSON: Subject stands twice"),
        ('{"subject": {"commonName": "\t"}}', "a string that cannot be read"),
        ("[" * 5000, "more than 16 objects and arrays in one another"),
        ("", "the template yields no JSON: the end is missing"),
        ('{"subject": 1.5}', "a value was expected, not '1'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_line_and_field(tmp_path: Path, content: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/template.json, line ")
    assert "\n" not in message
    assert complaint in message


def test_a_template_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="template"):
        template(tmp_path, " " * 300_000)
    (tmp_path / "latin.json").write_bytes(b'{\n"subject": "\xe9"}')
    with pytest.raises(ConfigError, match=r"latin.json, line 2: the template is not UTF-8 text"):
        CertificateTemplate("leaf", tmp_path / "latin.json", common_name="x")


@pytest.mark.parametrize("role", ["root", "intermediate", "leaf"])
def test_default_templates_name_each_role_apart(role: Role) -> None:
    """Equal names would make each certificate self-issued, a root's for many verifiers (RFC 5280 3.2)."""
    found = CertificateTemplate(role, None, common_name="tsa.example.com").subject
    [name] = found.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == {"root": "tsa.example.com Root", "intermediate": "tsa.example.com Intermediate"}.get(
        role, "tsa.example.com"
    )
