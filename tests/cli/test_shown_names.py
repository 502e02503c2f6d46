"""Names in a token as people read them: RFC 4514 for distinguished names, and every form of a GeneralName."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tsa_core.cli.timestamp.shown_names import distinguished_name, general_name
from tsa_core.protocol import der

NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ' Example, "Ltd" '),
        x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "VATDE-1"),
        x509.NameAttribute(NameOID.COMMON_NAME, "#Zeit\u00fc+1"),
    ]
)


def test_a_distinguished_name_is_written_as_cryptography_writes_it() -> None:
    assert distinguished_name(NAME.public_bytes()) == NAME.rfc4514_string()


@pytest.mark.parametrize(
    ("encoded", "shown"),
    [
        (der.tlv(0xA4, NAME.public_bytes()), NAME.rfc4514_string()),
        (der.tlv(0x81, b"tsa@example.org"), "tsa@example.org"),
        (der.tlv(0x82, b"tsa.example.org"), "tsa.example.org"),
        (der.tlv(0x86, b"https://tsa.example.org/"), "https://tsa.example.org/"),
        (der.tlv(0x87, ipaddress.ip_address("2001:db8::1").packed), "2001:db8::1"),
        (der.tlv(0x88, b"\x2a\x03\x04"), "1.2.3.4"),
        (der.tlv(0x87, b"123"), "8703313233"),
        (der.tlv(0x82, b"\xff"), "8201ff"),
        (b"\xa4\x05", "a405"),
        (b"", ""),
    ],
    ids=["directory", "mail", "dns", "uri", "address", "oid", "bad-address", "not-ascii", "cut", "empty"],
)
def test_each_form_of_a_general_name(encoded: bytes, shown: str) -> None:
    assert general_name(encoded) == shown
