"""The DER encoders against known bytes and against asn1crypto; the reader's refusals."""

from __future__ import annotations

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError


@pytest.mark.parametrize(
    ("size", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8180"),
        (255, "81ff"),
        (256, "820100"),
        (65535, "82ffff"),
        (65536, "83010000"),
        (2**24, "8401000000"),
    ],
)
def test_length(size: int, encoded: str) -> None:
    assert der.length(size).hex() == encoded


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "020100"),
        (1, "020101"),
        (127, "02017f"),
        (128, "02020080"),
        (255, "020200ff"),
        (256, "02020100"),
        (-1, "0201ff"),
        (-128, "020180"),
        (-129, "0202ff7f"),
        (-256, "0202ff00"),
        (2**63, "0209008000000000000000"),
        (-(2**63), "02088000000000000000"),
    ],
)
def test_integer(value: int, encoded: str) -> None:
    assert der.integer(value).hex() == encoded


@given(st.integers(-(2**600), 2**600))
def test_integer_equals_asn1crypto(value: int) -> None:
    assert der.integer(value) == core.Integer(value).dump()


@given(st.binary(max_size=300))
def test_octet_string_equals_asn1crypto(content: bytes) -> None:
    assert der.octet_string(content) == core.OctetString(content).dump()


def test_constants() -> None:
    assert der.null() == core.Null().dump()
    assert der.boolean(True) == b"\x01\x01\xff"
    assert der.boolean(False) == b"\x01\x01\x00"
    assert der.sequence() == b"\x30\x00"
    assert der.sequence(der.null(), der.boolean(True)) == b"\x30\x05\x05\x00\x01\x01\xff"
    assert der.explicit(0, b"\x05\x00") == b"\xa0\x02\x05\x00"
    assert der.explicit(4, b"\x05\x00") == b"\xa4\x02\x05\x00"


def test_set_of_sorts() -> None:
    assert der.set_of(b"\x02\x01\x05", b"\x02\x01\x01", b"\x01\x01\xff") == bytes.fromhex("31090101ff020101020105")


@pytest.mark.parametrize(
    ("bits", "encoded"),
    [
        ((), "030100"),
        ((0,), "03020780"),
        ((7,), "03020001"),
        ((8,), "0303070080"),
        ((0, 7), "03020081"),
        ((2, 5), "03020224"),
        ((25,), "03050600000040"),
        ((31,), "03050000000001"),
    ],
)
def test_named_bits_end_with_a_one(bits: tuple[int, ...], encoded: str) -> None:
    assert der.named_bits(*bits).hex() == encoded
    assert der.named_bits(*reversed(bits)).hex() == encoded


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("0.0", "060100"),
        ("1.2", "06012a"),
        ("1.39", "06014f"),
        ("2.0", "060150"),
        ("2.47", "06017f"),
        ("2.48", "06028100"),
        ("2.999.3", "0603883703"),
        ("1.2.840.113549", "06062a864886f70d"),
        ("2.25.340282366920938463463374607431768211455", "061469" + "83" + "ff" * 17 + "7f"),
    ],
)
def test_oid_both_ways(text: str, encoded: str) -> None:
    assert der.oid(text).hex() == encoded
    assert der.dotted(bytes.fromhex(encoded)) == text
    der.check_oid(bytes.fromhex(encoded)[2:])


@given(
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 2**128), max_size=126),
)
def test_oid_round_trip(first: int, second: int, rest: list[int]) -> None:
    text = ".".join(map(str, (first, second, *rest)))
    encoded = der.oid(text)
    assert der.dotted(encoded) == text
    start = der.read(encoded, 0, len(encoded))[1]
    der.check_oid(encoded[start:])
    assert core.ObjectIdentifier.load(encoded).dotted == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        ".",
        "1.",
        ".1",
        "1..2",
        "3.1",
        "0.40",
        "1.40",
        "1.-2",
        "1.+2",
        "01.2",
        "1.02",
        "1.2 ",
        " 1.2",
        "1.a",
        "1.2.٣",
        "1.2.²",
        "1_0.2",
        "1.0x2",
        "1.2." + "9" * 41,
        "1." * 200 + "1",
        ".".join(["1"] * 129),
    ],
)
def test_oid_refuses(text: str) -> None:
    with pytest.raises(EncodingError):
        der.oid(text)


def test_oid_of_128_components_is_the_last_that_fits() -> None:
    encoded = der.oid(".".join(["1"] * 128))
    der.check_oid(encoded[2:])
    with pytest.raises(EncodingError, match="128 components"):
        der.check_oid(encoded[2:] + b"\x01")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty"),
        ("80", "cut off"),
        ("2a80", "cut off"),
        ("2a8001", "leading zeros"),
        ("8001", "leading zeros"),
        ("2a" + "ff" * 19 + "7f", "133 bits"),
    ],
)
def test_check_oid_refuses(content: str, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        der.check_oid(bytes.fromhex(content))


def test_check_oid_takes_133_bits() -> None:
    der.check_oid(bytes.fromhex("2a" + "ff" * 18 + "7f"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("0500", (0x05, 2, 2)),
        ("020105", (0x02, 2, 3)),
        ("30000500", (0x30, 2, 2)),
        ("048180" + "00" * 128, (0x04, 3, 131)),
        ("04820100" + "00" * 256, (0x04, 4, 260)),
        ("a0020500", (0xA0, 2, 4)),
    ],
)
def test_read(data: str, expected: tuple[int, int, int]) -> None:
    encoded = bytes.fromhex(data)
    assert der.read(encoded, 0, len(encoded)) == expected


@pytest.mark.parametrize(
    "data",
    [
        "",
        "30",
        "3001",
        "3080",
        "30800000",
        "308100",
        "30817f" + "00" * 127,
        "3081",
        "30820080" + "00" * 128,
        "308200ff" + "00" * 255,
        "3082ff",
        "3083000100" + "00" * 256,
        "308400010000" + "00" * 10,
        "30850000000001" + "00",
        "30ff",
        "1f0100",
        "3f8100",
        "ff0100",
    ],
)
def test_read_refuses(data: str) -> None:
    encoded = bytes.fromhex(data)
    with pytest.raises(EncodingError):
        der.read(encoded, 0, len(encoded))


def test_read_never_looks_beyond_its_end() -> None:
    """What lies after `end` belongs to somebody else, even where a length says otherwise."""
    data = bytes.fromhex("0404010203040500")
    assert der.read(data, 0, 6) == (0x04, 2, 6)
    for end in range(6):
        with pytest.raises(EncodingError):
            der.read(data, 0, end)
    long_form = bytes.fromhex("048180") + bytes(128)
    with pytest.raises(EncodingError):
        der.read(long_form, 0, 2)


@given(st.binary(max_size=12))
def test_read_accepts_only_what_tlv_writes(data: bytes) -> None:
    try:
        tag, start, stop = der.read(data, 0, len(data))
    except EncodingError:
        return
    assert der.tlv(tag, data[start:stop]) == data[:stop]
