"""PKCS#11 URIs (RFC 7512) are read strictly, and a PIN in one reaches no message."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsa_core.api import ConfigError
from tsa_signer_pkcs11.uri import KeyUri, read_key_uri

PIN = "pin-in-uri-5b1f"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pkcs11:", KeyUri()),
        ("PKCS11:token=TSA", KeyUri(token="TSA")),
        ("pkcs11:token=The%20TSA%3b;object=tsa%2f1", KeyUri(token="The TSA;", object="tsa/1")),
        ("pkcs11:id=%01%ff%00;type=private", KeyUri(id=b"\x01\xff\x00")),
        ("pkcs11:id=ab", KeyUri(id=b"ab")),
        (
            "pkcs11:serial=0123;manufacturer=Maker;model=M1;slot-id=7",
            KeyUri(serial="0123", manufacturer="Maker", model="M1", slot_id=7),
        ),
        ("pkcs11:object=%C3%A9t%C3%A9", KeyUri(object="été")),
        (
            "pkcs11:object=k?module-path=/usr/lib/p.so&pin-source=file:/etc/tsa/pin",
            KeyUri(object="k", module_path=Path("/usr/lib/p.so"), pin_source=Path("/etc/tsa/pin")),
        ),
        ("pkcs11:?pin-source=file:///etc/pin", KeyUri(pin_source=Path("/etc/pin"))),
        ("pkcs11:?pin-source=file://localhost/etc/pin", KeyUri(pin_source=Path("/etc/pin"))),
        ("pkcs11:?pin-source=/etc/the%20pin", KeyUri(pin_source=Path("/etc/the pin"))),
    ],
)
def test_uri_is_read(text: str, expected: KeyUri) -> None:
    assert read_key_uri(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file:key.pem", "must begin with pkcs11:"),
        ("pkcs11", "must begin with pkcs11:"),
        ("pkcs11:tokn=TSA", "'tokn', which is not understood; known there: token, serial"),
        ("pkcs11:token", "'token', which is not understood"),
        ("pkcs11:token=a;;object=b", "not understood"),
        ("pkcs11:token=a;token=b", "says token twice"),
        ("pkcs11:object=a;type=cert", "type=cert; only type=private can sign"),
        ("pkcs11:slot-id=first", "slot-id 'first' is not a decimal number"),
        ("pkcs11:slot-id=%31", "not a decimal number"),
        ("pkcs11:token=%ff", "token is not UTF-8"),
        ("pkcs11:?pin-source=|/bin/get-pin", "absolute path.*no program is run"),
        ("pkcs11:?pin-source=file://host/etc/pin", "absolute path"),
        ("pkcs11:?module-path=p11.so", "absolute path"),
        ("pkcs11:?module-name=p11", "known there: module-path, pin-source, pin-value"),
    ],
)
def test_wrong_uri_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_key_uri(text)


def test_pin_value_is_decoded_and_hidden() -> None:
    uri = read_key_uri(f"pkcs11:?pin-value={PIN}%26")
    pin = uri.pin()
    assert pin is not None
    assert pin.get_secret_value() == f"{PIN}&"
    assert PIN not in repr(uri)


@pytest.mark.parametrize(
    "text",
    [
        f"pkcs11:?pin-value={PIN}&pin-source=/etc/pin",
        f"pkcs11:?pin-value=1&{PIN}",
        f"pkcs11:?pin-value=1&{PIN}=2",
        f"pkcs11:?pin-vlaue={PIN}",
        f"pkcs11:?pin-value={PIN}&pin-value={PIN}",
    ],
)
def test_pin_in_a_wrong_uri_reaches_no_message(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_key_uri(text)
    assert PIN not in str(caught.value)


def test_pin_source_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(f"{PIN}\n")
    pin = read_key_uri(f"pkcs11:?pin-source=file:{tmp_path}/pin").pin()
    assert pin is not None
    assert pin.get_secret_value() == PIN


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"\xff\xfe", "not UTF-8"), (b"1" * 5000, "larger")]
)
def test_pin_source_that_holds_no_pin_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "pin").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_key_uri(f"pkcs11:?pin-source={tmp_path}/pin").pin()
