"""RFC 9921: 3161-ctt and 3161-ttc, against the values that the RFC prints and against pycose."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tsa_core.cose import (
    CTT,
    TTC,
    CoseError,
    ExtraMissing,
    add_ctt,
    ctt_input,
    protected_header_with_ttc,
    read_message,
    tokens_of,
    ttc_input,
    verify_ctt,
    verify_ttc,
)
from tsa_core.cose.items import MAX_ITEMS, end_of
from tsa_core.protocol.hashes import SHA256
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.verify import ImprintMismatch, TrustStore, Verifier

pytestmark = pytest.mark.package("cbor2")
CHAIN = make_chain()
VERIFIER = Verifier(TrustStore.from_chain(CHAIN.pem))
PAYLOAD = b"This is the content."
SIGNATURE = bytes.fromhex(
    "8eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e"
    "2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36"
)
SIGN1 = b"\xd2\x84\x43\xa1\x01\x26\xa1\x04\x42\x31\x31\x54" + PAYLOAD + b"\x58\x40" + SIGNATURE
"""RFC 9052, C.2.1, with the key identifier `11`."""


def dumps(value: Any) -> bytes:
    import cbor2

    return bytes(cbor2.dumps(value))


def tagged(number: int, value: Any) -> Any:
    import cbor2

    return cbor2.CBORTag(number, value)


def loaded(data: bytes) -> Any:
    import cbor2

    return cbor2.loads(data).value


def token(data: bytes, *, reply: bool = False) -> bytes:
    content = forge.tst_info(data)
    made = forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der, CHAIN.intermediate.der])
    return forge.reply(made) if reply else made


def test_what_ctt_is_over() -> None:
    """RFC 9921 3.1.1: the signature of RFC 9052 C.2.1 with the head 0x5840 has the SHA-256 44c2419d..."""
    data = ctt_input(read_message(SIGN1))
    assert data == b"\x58\x40" + SIGNATURE
    assert SHA256.digest(data).hex().startswith("44c2419d")


def test_what_ttc_is_over() -> None:
    """RFC 9921 A.1: the SHA-256 of the payload without its head is 09e638d4..."""
    data = ttc_input(read_message(SIGN1))
    assert data == PAYLOAD
    assert SHA256.digest(data).hex().startswith("09e638d4")


def test_what_ctt_of_several_signatures_is_over() -> None:
    """RFC 9921 3.1.2: the array of signatures with all headers."""
    one = [b"\xa1\x01\x26", {4: b"11"}, SIGNATURE]
    message = read_message(dumps(tagged(98, [b"", {}, PAYLOAD, [one]])))
    assert message.kind == "COSE_Sign"
    assert ctt_input(message).hex() == "818343a10126a1044231315840" + SIGNATURE.hex()


def test_ctt_is_added_and_verified() -> None:
    message = read_message(SIGN1)
    stamped = add_ctt(message, token(ctt_input(message), reply=True))
    again = read_message(stamped)
    assert (again.signatures_cbor, again.protected_cbor) == (message.signatures_cbor, message.protected_cbor)
    assert again.unprotected == {4: b"11", CTT: token_in(again)}
    assert verify_ctt(again, VERIFIER).gen_time == forge.GEN_TIME
    with pytest.raises(CoseError, match="already"):
        add_ctt(again, token(b""))
    with pytest.raises(CoseError, match="no 3161-ttc"):
        verify_ttc(again, VERIFIER)


def token_in(message: Any) -> bytes:
    return tokens_of(message)[CTT]


def test_a_token_over_the_bare_signature_is_refused() -> None:
    stamped = add_ctt(read_message(SIGN1), token(SIGNATURE))
    with pytest.raises(ImprintMismatch):
        verify_ctt(read_message(stamped), VERIFIER)


def with_ttc(payload: bytes | None, over: bytes) -> bytes:
    protected = protected_header_with_ttc(token(over), {1: -7})
    return dumps(tagged(18, [protected, {}, payload, SIGNATURE]))


def test_ttc_in_and_outside_of_the_message() -> None:
    assert verify_ttc(read_message(with_ttc(PAYLOAD, PAYLOAD)), VERIFIER).gen_time == forge.GEN_TIME
    detached = read_message(with_ttc(None, PAYLOAD))
    assert detached.protected[1] == -7
    assert verify_ttc(detached, VERIFIER, PAYLOAD).proof is None
    with pytest.raises(CoseError, match="has to be given"):
        verify_ttc(detached, VERIFIER)
    with pytest.raises(ImprintMismatch):
        verify_ttc(detached, VERIFIER, b"other")
    with pytest.raises(CoseError, match="not the one in the message"):
        verify_ttc(read_message(with_ttc(PAYLOAD, PAYLOAD)), VERIFIER, b"other")
    with pytest.raises(ImprintMismatch):
        verify_ttc(read_message(with_ttc(PAYLOAD, dumps(PAYLOAD))), VERIFIER)


def message(protected: Any = None, unprotected: Any = None) -> bytes:
    header = dumps(protected) if protected else b""
    return dumps(tagged(18, [header, unprotected or {}, PAYLOAD, SIGNATURE]))


def test_the_wrong_header_is_refused() -> None:
    with pytest.raises(CoseError, match="must stand in the unprotected header"):
        tokens_of(read_message(message({CTT: b""})))
    with pytest.raises(CoseError, match="must stand in the protected header"):
        tokens_of(read_message(message(None, {TTC: b""})))
    with pytest.raises(CoseError, match="no byte string"):
        tokens_of(read_message(message(None, {CTT: [token(b"")]})))
    with pytest.raises(CoseError, match="cannot be put"):
        add_ctt(read_message(SIGN1), b"nothing")


def test_the_encoding_of_the_signature_is_kept() -> None:
    """What is hashed is the field as it was sent, pieces of an indefinite string included."""
    pieces = b"\x5f\x58\x20" + SIGNATURE[:32] + b"\x58\x20" + SIGNATURE[32:] + b"\xff"
    sent = read_message(SIGN1[: -len(SIGNATURE) - 2] + pieces)
    assert ctt_input(sent) == pieces
    assert read_message(add_ctt(sent, token(pieces))).signatures_cbor == pieces


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends at byte 0"),
        (b"\xd2", "ends at byte 0"),
        (b"\xd8\x60\x80", "tag 96"),
        (b"\xd2\x83\x40\xa0\xf6", "has 3 fields"),
        (b"\x9b" + b"\xff" * 8, "ends at byte"),
        (b"\xd2\x84\x5b" + b"\xff" * 8, "longer than the data"),
        (b"\xd2" + b"\x81" * 100, "nested more than 32"),
        (b"\xd2\x84\x40\x9f" + b"\x00" * (MAX_ITEMS + 1), f"more than {MAX_ITEMS} items"),
        (b"\xd2\x84\x40\x80\x40\x40", "unprotected header is no map"),
        (b"\xd2\x84\xa0\xa0\x40\x40", "protected header is no byte string"),
        (b"\xd2\x84\x40\xa0\x60\x40", "payload is no byte string"),
        (b"\xd2\x84\x40\xa0\x40\x80", "as its tag says"),
        (b"\x84\x40\xa0\x40\x01", "neither a signature"),
        (b"\xd2\x84\x40\xa2\x04\x00\x04\x00\x40\x40", "twice"),
        (b"\xd2\x84\x40\xa1\xf6\x00\x40\x40", "neither a number nor text"),
        (b"\xd2\x84\x40\xa1\xf5\x00\x40\x40", "neither a number nor text"),
        (b"\xd2\x84\x41\xff\xa0\x40\x40", "begins no CBOR item"),
        (b"\xd2\x84\x40\xa0\x40\x40\x00", "1 bytes follow"),
        (b"\xd2\x84\x40\xbf\x04\xff\x40\x40", "key without a value"),
    ],
)
def test_hostile_messages(data: bytes, reason: str) -> None:
    with pytest.raises(CoseError, match=reason):
        read_message(data)


def test_every_cut_message_is_refused() -> None:
    stamped = add_ctt(read_message(SIGN1), token(b"\x58\x40" + SIGNATURE))
    for end in range(len(stamped)):
        with pytest.raises(CoseError):
            read_message(stamped[:end])
    assert end_of(stamped, 0) == len(stamped)


def test_the_signature_of_the_message_still_holds() -> None:
    """An ES256 signature by RFC 9052 4.4, made over a protected header with our 3161-ttc, and kept by our 3161-ctt."""
    key = ec.generate_private_key(ec.SECP256R1())
    protected = protected_header_with_ttc(token(PAYLOAD), {1: -7})
    signed_octets = dumps(["Signature1", protected, b"", PAYLOAD])
    r, s = decode_dss_signature(key.sign(signed_octets, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    signed = read_message(dumps(tagged(18, [protected, {4: b"11"}, PAYLOAD, signature])))
    stamped = add_ctt(signed, token(ctt_input(signed)))
    fields = loaded(stamped)
    r, s = int.from_bytes(fields[3][:32], "big"), int.from_bytes(fields[3][32:], "big")
    octets = dumps(["Signature1", fields[0], b"", fields[2]])
    key.public_key().verify(encode_dss_signature(r, s), octets, ec.ECDSA(hashes.SHA256()))
    assert set(fields[1]) == {4, CTT}
    assert verify_ctt(read_message(stamped), VERIFIER).gen_time == forge.GEN_TIME
    assert verify_ttc(read_message(stamped), VERIFIER).gen_time == forge.GEN_TIME


def test_without_cbor2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cbor2", None)
    with pytest.raises(ExtraMissing, match=r"needs the package cbor2.*tsa-core\[cose\]"):
        read_message(SIGN1)
