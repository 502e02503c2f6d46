"""The reply reader and the verifier against noise, bombs and other people's BER."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsa_core.protocol import ber, der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import is_token, read_reply, read_signer_info, read_token
from tsa_core.protocol.tstinfo_reader import read_tst_info
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import issue, make_chain, signer_extensions
from tsa_core.verify import (
    AmbiguousSigner,
    MalformedTimestamp,
    PathError,
    TrustStore,
    VerificationError,
    Verifier,
)

CHAIN = make_chain()
TOKEN = forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
REPLY = forge.reply(TOKEN)
VERIFIER = Verifier(TrustStore.from_chain(CHAIN.pem))


def indefinite(data: bytes, depth: int = 99) -> bytes:
    """Return the same value with indefinite lengths down to a depth, and OCTET STRINGs there in pieces."""
    tag, start, end = der.read(data, 0, len(data))
    content = data[start:end]
    if tag & 0x20:
        parts, offset = [], 0
        while offset < len(content):
            stop = der.read(content, offset, len(content))[2]
            part = content[offset:stop]
            parts.append(indefinite(part, depth - 1) if depth > 1 else part)
            offset = stop
        return bytes((tag, 0x80)) + b"".join(parts) + b"\x00\x00"
    if tag == der.OCTET_STRING and len(content) > 4:
        half = len(content) // 2
        return b"\x24\x80" + der.octet_string(content[:half]) + der.octet_string(content[half:]) + b"\x00\x00"
    return data


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 7])
def test_ber_down_to_some_depth_verifies(depth: int) -> None:
    other = indefinite(REPLY, depth)
    assert other != REPLY
    assert VERIFIER.verify_response(other, artifact=b"hello").gen_time == forge.GEN_TIME


def test_ber_comes_back_as_the_same_der() -> None:
    assert ber.definite(indefinite(TOKEN)) == TOKEN
    assert ber.definite(TOKEN) == TOKEN


def test_lengths_that_are_longer_than_needed() -> None:
    content = TOKEN[der.read(TOKEN, 0, len(TOKEN))[1] :]
    long_form = b"\x30\x84" + len(content).to_bytes(4, "big") + content
    assert VERIFIER.verify_token(long_form, artifact=b"hello").gen_time == forge.GEN_TIME


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x04\x80\x00\x00",
        b"\x30\x80\x00\x00\x00",
        b"\x30\x89" + bytes(9),
        b"\x30\x84\xff\xff\xff\xff",
        b"\x1f\x81\x01\x00",
        b"\x24\x03\x02\x01\x01",
        b"\x30\x80" * 1000,
        b"\x30\x80" * 40 + b"\x00\x00" * 40,
        b"\x24\x80" * 40 + b"\x00\x00" * 40,
    ],
)
def test_ber_bombs_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        ber.definite(data)
    with pytest.raises(MalformedTimestamp):
        VERIFIER.verify_response(data, artifact=b"hello")


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_an_encoding_error_and_nothing_else(data: bytes) -> None:
    for read in (read_reply, read_token, read_signer_info, read_tst_info, ber.definite):
        try:
            read(data)
        except EncodingError:
            continue
    assert is_token(data) in {True, False}


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_damaged_replies_end_in_a_verification_error(data: st.DataObject) -> None:
    reply = bytearray(REPLY)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(reply) - 1))
        action = data.draw(st.sampled_from(["set", "cut", "insert", "double"]))
        if action == "set":
            reply[position] = data.draw(st.integers(0, 255))
        elif action == "cut":
            del reply[position : position + data.draw(st.integers(1, 20))]
        elif action == "insert":
            reply[position:position] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            size = data.draw(st.integers(1, 100))
            reply[position:position] = reply[position : position + size]
        if not reply:
            break
    try:
        result = VERIFIER.verify_response(bytes(reply), artifact=b"hello")
    except VerificationError:
        return
    assert result.tst_info == read_tst_info(forge.tst_info())


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time that a refusal takes, whatever else the machine does."""
    started = time.thread_time()
    with pytest.raises(VerificationError):
        call()
    return time.thread_time() - started


def test_a_megabyte_of_noise_takes_no_time() -> None:
    for data in (bytes(1 << 20), b"\x30\x80" * (1 << 19), b"\x24\x80" * (1 << 19), b"\x31\x03" * (1 << 19)):
        assert seconds(partial(VERIFIER.verify_response, data, artifact=b"hello")) < 2


def test_many_certificates_are_refused_before_they_are_read() -> None:
    bag = [CHAIN.signer.der] * 1000
    with pytest.raises(AmbiguousSigner):
        VERIFIER.verify_response(forge.reply(forge.token(CHAIN.signer, certificates=bag)), artifact=b"hello")


def test_crossed_intermediates_with_one_name_and_key_are_bounded() -> None:
    # Sixty CAs of one name that all sign each other: the search must give up, not try every order.
    from tsa_core.testing.forged_pki import ca_extensions, make_key, name

    key = make_key()
    stranger = issue("Maze", key=key, extensions=ca_extensions())
    maze = [issue(name("Maze"), issuer=stranger, key=key, extensions=ca_extensions()) for _ in range(60)]
    signer = issue("Lost", issuer=stranger, extensions=signer_extensions())
    bag = [signer.der, *(ca.der for ca in maze)]
    reply = forge.reply(forge.token(signer, certificates=bag))
    verifier = Verifier(TrustStore(roots=(CHAIN.root.certificate,)))
    started = time.thread_time()
    with pytest.raises(PathError, match=r"signature checks|longer than"):
        verifier.verify_response(reply, artifact=b"hello")
    assert time.thread_time() - started < 2


def test_endless_identifiers_and_integers() -> None:
    huge = forge.tst_info(serial_number=1 << 80_000)
    with pytest.raises(VerificationError):
        VERIFIER.verify_response(forge.reply(forge.token(CHAIN.signer, huge)), artifact=b"other")
    # An attribute type that is never split into its components.
    attribute = der.sequence(der.tlv(6, b"\x81" * 50_000 + b"\x01"), der.tlv(der.SET, der.null()))
    token = forge.token(CHAIN.signer, unsigned=der.tlv(0xA1, attribute))
    assert len(token) > 50_000
    assert VERIFIER.verify_token(token, artifact=b"hello").gen_time == forge.GEN_TIME


def test_is_token_tells_the_two_forms_apart() -> None:
    assert is_token(TOKEN)
    assert is_token(indefinite(TOKEN))
    assert not is_token(REPLY)
    assert not is_token(indefinite(REPLY))
    assert not is_token(b"")
    assert not is_token(b"\x30")


@pytest.mark.parametrize("octets", [b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x85", b"\x80\x2a\x86\x48\x86\xf7\x0d\x09\x05"])
def test_the_type_of_a_signed_attribute_is_an_identifier(octets: bytes) -> None:
    """Whoever reads it leniently may see a second attribute of one type."""
    (signer,) = read_token(forge.token(CHAIN.signer)).signers
    signing_time = der.oid(oids.ID_SIGNING_TIME)
    assert signing_time in signer
    with pytest.raises(EncodingError, match="object identifier"):
        read_signer_info(signer.replace(signing_time, signing_time[:2] + octets))
