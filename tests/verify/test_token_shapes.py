"""Reading a token by the shape of an earlier one: the same outcome as the reader's, for whatever comes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.tstinfo import Accuracy, encode_signing_time
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Chain, ca_extensions, issue, shared, signer_extensions, timestamping
from tsa_core.verify import TrustStore, VerificationError, Verifier, shapes
from tsa_core.verify.shapes import Shape, Shapes
from tsa_core.verify.statement import Reading, open_reply, read_statement

ROOT = issue("Root", key=shared("rsa2048", 1), extensions=ca_extensions())
INTERMEDIATE = issue(
    "Intermediate", issuer=ROOT, key=shared("rsa2048", 2), extensions=(*ca_extensions(0), timestamping(critical=False))
)
SIGNER = issue("Signer", issuer=INTERMEDIATE, key=shared("rsa2048"), extensions=signer_extensions())
CHAIN = Chain(root=ROOT, intermediate=INTERMEDIATE, signer=SIGNER)  # its signatures have one length
BAG = [CHAIN.signer.der, CHAIN.intermediate.der]
ATTRIBUTE = der.sequence(der.oid("1.2.3.4"), der.tlv(der.SET, der.null()))
BITS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF)


def reply(data: bytes = b"hello", *, hours: int = 0, serial_number: int = 1 << 70, nonce: int = 1 << 62) -> bytes:
    """Return a reply with every optional field; those with the same arguments' lengths have one shape."""
    time = forge.GEN_TIME + timedelta(hours=hours)
    info = forge.tst_info(
        data,
        gen_time=time,
        serial_number=serial_number,
        nonce=nonce,
        accuracy=Accuracy(microseconds=1_500_000),
        ordering=True,
        tsa=CHAIN.signer.certificate.subject,
        extensions=[forge.extension("1.2.3.4")],
    )
    attributes = {"1.2.840.113549.1.9.5": [encode_signing_time(time)]}
    return forge.reply(
        forge.token(CHAIN.signer, info, certificates=BAG, attributes=attributes, unsigned=der.tlv(0xA1, ATTRIBUTE))
    )


KNOWN = reply()


def read(data: bytes) -> Reading:
    status, token = open_reply(data)
    return Reading(status, token, read_statement(token))


def changed(data: bytes, masks: tuple[int, ...]) -> Iterator[bytes]:
    """Yield `data` with one octet changed; and again with the message digest made to fit."""
    content = read(data).token.content
    start, digest = data.index(content), SHA256.digest(content)
    place = data.index(der.octet_string(digest)) + 2
    for position in range(len(data)):
        for mask in masks:
            mutant = bytearray(data)
            mutant[position] ^= mask
            yield bytes(mutant)
            if start <= position < start + len(content):
                mutant[place : place + 32] = SHA256.digest(bytes(mutant[start : start + len(content)]))
                yield bytes(mutant)


def agrees(shape: Shape, data: bytes) -> bool:
    """Say whether the shape read `data`, which it must then do as the reader does."""
    found = shape.read(data)
    if found is not None:
        assert found == read(data)
    return found is not None


def test_a_shape_reads_every_changed_octet_as_the_reader_does() -> None:
    shape = Shape(KNOWN, read(KNOWN))
    outcomes = [agrees(shape, mutant) for mutant in changed(KNOWN, BITS)]
    # Most changes lie in constant pieces; those of imprint, numbers, times and signature may be read.
    assert 256 * len(BITS) <= sum(outcomes) < len(outcomes) // 2


def test_a_shape_reads_random_fields_as_the_reader_does() -> None:
    choose = random.Random(17)
    shape = Shape(KNOWN, read(KNOWN))
    content = read(KNOWN).token.content
    start = KNOWN.index(content)
    place = KNOWN.index(der.octet_string(SHA256.digest(content))) + 2
    outcomes = []
    for _ in range(2000):
        mutant = bytearray(KNOWN)
        for _ in range(choose.choice([1, 2, 5])):
            first = choose.randrange(start, start + len(content))
            octets = choose.choice([b"\x00", b"\xff", b"\x30\x80", b"\x02\x01\x00", b"00", b"99", b".5", b"Z"])
            mutant[first : first + len(octets)] = octets[: start + len(content) - first]
        mutant[place : place + 32] = SHA256.digest(bytes(mutant[start : start + len(content)]))
        outcomes.append(agrees(shape, bytes(mutant)))
    assert {True, False} == set(outcomes)


def test_what_a_verifier_says_does_not_depend_on_the_shapes_it_knows() -> None:
    trust = TrustStore.from_chain(CHAIN.pem)
    verifier = Verifier(trust)
    for number in range(12):
        data = reply(b"%d" % number, hours=number, serial_number=(1 << 70) + number, nonce=(1 << 62) + number)
        verdict = verifier.verify_response(data, artifact=b"%d" % number)
        expected = Verifier(trust).verify_response(data, artifact=b"%d" % number, time=verdict.checked_at)
        assert verifier.verify_response(data, artifact=b"%d" % number, time=verdict.checked_at) == expected
        assert expected.tst_info.nonce == (1 << 62) + number
        assert expected.tst_info.gen_time == forge.GEN_TIME + timedelta(hours=number)
    assert verifier._shapes.read(data, is_reply=True) == read(data)


def test_a_token_of_a_known_shape_is_refused_with_the_same_words() -> None:
    trust = TrustStore.from_chain(CHAIN.pem)
    warm = Verifier(trust)
    for _ in range(2):
        warm.verify_response(KNOWN, artifact=b"hello")
    assert warm._shapes.read(KNOWN, is_reply=True) is not None

    def reason(verifier: Verifier, data: bytes) -> str:
        with pytest.raises(VerificationError) as caught:
            verifier.verify_response(data, artifact=b"hello")
        return f"{type(caught.value).__name__}: {caught.value}"

    cold = Verifier(trust)
    signature = read(KNOWN).statement.signed.info.signature
    for position in (40, KNOWN.index(read(KNOWN).token.content) + 60, KNOWN.index(signature) + 5):
        mutant = bytearray(KNOWN)
        mutant[position] ^= 1
        assert reason(warm, bytes(mutant)) == reason(cold, bytes(mutant))
    assert reason(warm, reply(b"another")) == reason(cold, reply(b"another"))


def test_a_reply_is_never_read_as_a_token() -> None:
    verifier = Verifier(TrustStore.from_chain(CHAIN.pem))
    for _ in range(3):
        verifier.verify_response(KNOWN, artifact=b"hello")
    with pytest.raises(VerificationError, match="cannot be read"):
        verifier.verify_token(KNOWN, artifact=b"hello")


def test_one_token_of_an_authority_teaches_nothing() -> None:
    verifier = Verifier(TrustStore.from_chain(CHAIN.pem))
    verifier.verify_response(KNOWN, artifact=b"hello")
    assert verifier._shapes.read(KNOWN, is_reply=True) is None
    verifier.verify_response(KNOWN, artifact=b"hello")
    assert verifier._shapes.read(KNOWN, is_reply=True) is not None
    verifier.forget()
    assert verifier._shapes.read(KNOWN, is_reply=True) is None


def test_shapes_are_bounded_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "MAX_SHAPES", 3)
    known = Shapes()
    replies = [reply(nonce=1 << bits) for bits in (6, 14, 22, 30)]
    replies += [reply(serial_number=1 << 71, nonce=1 << 30), reply(nonce=1 << 38)]
    for data in replies:
        known.learn(data, read(data))
        assert known.read(data, is_reply=True) == read(data)
    assert known.read(replies[0], is_reply=True) is None
    assert sum(known.read(data, is_reply=True) is not None for data in replies) <= 3
    monkeypatch.setattr(shapes, "MAX_OCTETS", len(KNOWN) - 1)
    known.forget()
    known.learn(KNOWN, read(KNOWN))
    assert known.read(KNOWN, is_reply=True) is None


def test_few_shapes_of_one_length_are_tried() -> None:
    known = Shapes()
    end = KNOWN.index(ATTRIBUTE) + len(ATTRIBUTE)
    alike = [KNOWN[: end - 2] + bytes((tag, 0)) + KNOWN[end:] for tag in range(4, 12)]  # other unsigned attributes
    for data in alike:
        known.learn(data, read(data))
    assert [known.read(data, is_reply=True) is not None for data in alike] == [False] * 4 + [True] * 4


def test_a_token_in_ber_has_no_shape() -> None:
    indefinite = b"\x30\x80" + KNOWN[4:] + b"\x00\x00"
    known = Shapes()
    known.learn(indefinite, read(indefinite))
    assert known.read(indefinite, is_reply=True) is None
