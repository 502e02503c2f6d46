"""The reader of TimeStampReq against hostile bytes, and against a decoder that shares nothing with it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from time import thread_time

import pytest
from cryptography.hazmat import asn1
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.protocol.strict_decoder import StrictRequest, decode
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError, RequestRejected
from tsa_core.protocol.hashes import SHA256, SHA512
from tsa_core.protocol.request import (
    MAX_EXTENSIONS,
    RequestExtension,
    TimeStampReq,
    encode_request,
    read_extensions,
    read_request,
)
from tsa_core.protocol.response import encode_rejection
from tsa_core.protocol.status import PKIFailureInfo

EXAMPLES = int(os.environ.get("TSA_TEST_EXAMPLES", "1000"))
"""1,000 reach every branch that 2,000 reach; give more where there is time, TSA_TEST_EXAMPLES=20000 for example."""
MUTATIONS = 100 * EXAMPLES
MAX_BODY = 65536

READER_FAILURES = {PKIFailureInfo.BAD_DATA_FORMAT, PKIFailureInfo.BAD_REQUEST, PKIFailureInfo.BAD_ALG}


def extension(oid: str, value: bytes = b"\x05\x00", critical: bytes = b"") -> bytes:
    return der.sequence(der.oid(oid), critical, der.octet_string(value))


SEEDS = [
    encode_request(algorithm=SHA256, digest=bytes(32)),
    encode_request(algorithm=SHA256, digest=bytes(32), nonce=2**63, cert_req=True),
    encode_request(algorithm=SHA512, digest=bytes(64), policy="1.3.6.1.4.1.57264.2", nonce=-1, cert_req=True),
    encode_request(algorithm=SHA256, digest=bytes(32), policy="2.999.1", nonce=2**512 - 1),
    encode_request(algorithm=SHA256, digest=bytes(32), extensions=(extension("1.2.3"), extension("1.2.4", b"x" * 200))),
    encode_request(
        algorithm=SHA256,
        digest=bytes(32),
        policy="1.2.3",
        nonce=5,
        cert_req=True,
        extensions=(extension("1.2.3", critical=b"\x01\x01\xff"),),
    ),
    encode_request(algorithm=SHA256, digest=bytes(32), extensions=(extension("1.2.3", critical=b"\x01\x01\x00"),)),
]


def reencode(request: TimeStampReq) -> bytes:
    """Return the canonical DER of what was read."""
    return der.sequence(
        der.integer(1),
        request.imprint_der,
        request.policy_der,
        request.nonce_der,
        der.boolean(True) if request.cert_req else b"",
        der.tlv(0xA0, b"".join(one.der for one in request.extensions)) if request.extensions else b"",
    )


def without_false(data: bytes) -> bytes:
    """Return a request that was accepted with the FALSE values left out that DER omits: the documented tolerance."""
    _, start, stop = der.read(data, 0, len(data))
    parts = []
    while start < stop:
        tag, inner, after = der.read(data, start, stop)
        part = data[start:after]
        if tag == 0xA0:
            extensions = []
            while inner < after:
                _, member, end = der.read(data, inner, after)
                whole = []
                while member < end:
                    kind, _, member_end = der.read(data, member, end)
                    if kind != der.BOOLEAN or data[member:member_end] != b"\x01\x01\x00":
                        whole.append(data[member:member_end])
                    member = member_end
                extensions.append(der.sequence(*whole))
                inner = end
            part = der.tlv(0xA0, b"".join(extensions))
        if part != b"\x01\x01\x00":
            parts.append(part)
        start = after
    return der.sequence(*parts)


def read(data: bytes) -> tuple[TimeStampReq | None, RequestRejected | None]:
    try:
        return read_request(data), None
    except RequestRejected as rejection:
        return None, rejection


def check(data: bytes) -> TimeStampReq | None:
    """Read `data`; whatever happens must be a request that means these bytes, or a rejection that can be sent."""
    strict = decode(data)
    request, rejection = read(data)
    if request is None:
        assert rejection is not None
        assert rejection.failure in READER_FAILURES
        assert rejection.text
        assert rejection.text.isascii()
        assert len(rejection.text) < 400
        assert strict is None, "an independent decoder accepts it"
        return None
    canonical = reencode(request)
    if canonical == data:
        agree(request, strict, data)
    else:
        assert canonical == without_false(data)
        assert strict is None, "a decoder that is strict accepts what is not canonical"
        agree(request, decode(canonical), canonical)
    return request


def agree(request: TimeStampReq, strict: StrictRequest | None, data: bytes) -> None:
    """Compare the two decoders' views."""
    identifiers = [request.hash_oid_der, request.policy_der, *(der.oid(one.oid) for one in request.extensions)]
    if any(len(one) > 65 or too_wide(one) for one in identifiers):
        return  # cryptography holds identifiers of 63 octets, with components below 2 ** 128
    assert strict is not None, data.hex()
    imprint = strict.message_imprint
    assert imprint.hash_algorithm.algorithm.dotted_string == request.hash_oid
    assert imprint.hashed_message == request.digest
    assert (strict.req_policy and strict.req_policy.dotted_string) == request.policy
    assert strict.nonce == request.nonce
    assert strict.cert_req == request.cert_req
    seen = [(one.extn_id.dotted_string, one.critical, one.extn_value) for one in strict.extensions or []]
    assert seen == [(one.oid, one.critical, one.value) for one in request.extensions]
    assert asn1.encode_der(strict) == data


def too_wide(identifier: bytes) -> bool:
    return bool(identifier) and any(int(arc) >= 2**128 for arc in der.dotted(identifier).split("."))


# -- generators ---------------------------------------------------------------------------------------------------

tags = st.sampled_from([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x17, 0x18, 0x24, 0x30, 0x31, 0x80, 0xA0, 0xA1])
lengths = st.sampled_from([None, None, None, None, None, 0, 1, 0x7F, 0x80, 0x81, 0x82, 0x84, 0x85, 0xFF])


def raw_tlv(tag: int, content: bytes, wrong_length: int | None) -> bytes:
    if wrong_length is None:
        return der.tlv(tag, content)
    return bytes((tag, wrong_length)) + content


leaves = st.one_of(
    st.just(b"\x02\x01\x01"),
    st.just(b"\x01\x01\xff"),
    st.just(b"\x01\x01\x00"),
    st.just(b"\x05\x00"),
    st.just(SHA256.oid_der),
    st.just(der.sequence(der.sequence(SHA256.oid_der), der.octet_string(bytes(32)))),
    st.builds(raw_tlv, tags, st.binary(max_size=70), lengths),
    st.binary(max_size=10),
)
trees = st.recursive(
    leaves,
    lambda inner: st.builds(raw_tlv, tags, st.lists(inner, max_size=6).map(b"".join), lengths),
    max_leaves=25,
)
imprints = st.one_of(
    st.just(der.sequence(der.sequence(SHA256.oid_der), der.octet_string(bytes(32)))), trees, st.just(b"")
)
shaped = st.builds(
    lambda parts: der.sequence(*parts),
    st.tuples(
        st.sampled_from([b"\x02\x01\x01", b"\x02\x01\x01", b"\x02\x01\x01", b"\x02\x01\x02", b""]),
        imprints,
        st.one_of(st.just(b""), st.binary(max_size=30).map(lambda content: der.tlv(der.OBJECT_IDENTIFIER, content))),
        st.one_of(st.just(b""), st.binary(max_size=70).map(lambda content: der.tlv(der.INTEGER, content))),
        st.sampled_from([b"", b"\x01\x01\xff", b"\x01\x01\x00", b"\x01\x01\x7f"]),
        st.one_of(
            st.just(b""),
            st.lists(
                st.builds(
                    lambda oid, critical, value: der.sequence(der.tlv(6, oid), critical, der.octet_string(value)),
                    st.binary(min_size=1, max_size=8),
                    st.sampled_from([b"", b"\x01\x01\xff", b"\x01\x01\x00"]),
                    st.binary(max_size=20),
                ),
                max_size=5,
            ).map(lambda members: der.tlv(0xA0, b"".join(members))),
        ),
    ),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(shaped, trees, st.binary(max_size=200)))
@example(b"")
@example(encode_request(algorithm=SHA256, digest=bytes(32), extensions=(extension("1.2.3"), extension("1.2.3"))))
def test_no_bytes_raise_anything_but_a_rejection(data: bytes) -> None:
    check(data)


@settings(max_examples=EXAMPLES // 4, deadline=None)
@given(
    st.sampled_from([b"", b"\x30", b"\x30\x83\x00\xff\xfb", b"\x30\x84", *SEEDS]),
    st.sampled_from([0, 1, 255, 256, 4096, 65535, 65536]),
    st.binary(min_size=1, max_size=64),
)
def test_no_bytes_up_to_64_kb_raise_anything_but_a_rejection(start: bytes, size: int, pattern: bytes) -> None:
    data = (start + pattern * (size // len(pattern) + 1))[:size]
    check(data)
    # The same inside a SEQUENCE of the right length, so that the reader does not stop at the first header.
    check(der.sequence(data[: MAX_BODY - 8]))


@pytest.mark.parametrize("wrap", range(5))
def test_64_kb_in_the_place_of_every_field(wrap: int) -> None:
    noise = bytes(range(256)) * 255
    fields = [b"\x02\x01\x01", SEEDS[0][5:], b"", b"", b"", b""]
    tag = (0x02, 0x30, 0x06, 0x02, 0xA0)[wrap]
    place = (0, 1, 2, 3, 5)[wrap]
    for content in (noise, bytes(65000), b"\xff" * 65000, b"\x81" * 65000, b"\x30\x00" * 32000):
        fields[place] = der.tlv(tag, content)
        check(der.sequence(*fields))


def mutate(source: random.Random, data: bytes) -> bytes:
    """Return `data` with one to four small wounds."""
    mutant = bytearray(data)
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(mutant) + 1)
        match source.randrange(7):
            case 0 if mutant:
                mutant[place % len(mutant)] ^= 1 << source.randrange(8)
            case 1 if mutant:
                mutant[place % len(mutant)] = source.choice((0, 1, 2, 5, 6, 0x30, 0x7F, 0x80, 0x81, 0x82, 0xA0, 0xFF))
            case 2:
                del mutant[place : place + source.randint(1, 4)]
            case 3:
                mutant[place:place] = source.randbytes(source.randint(1, 4))
            case 4:
                other = source.choice(SEEDS)
                start = source.randrange(len(other))
                mutant[place:place] = other[start : start + source.randint(1, 20)]
            case 5 if mutant:  # a length that is one more or less
                mutant[place % len(mutant)] = (mutant[place % len(mutant)] + source.choice((-1, 1))) % 256
            case _:
                del mutant[place:]
    if source.randrange(2) and len(mutant) > 2:
        # Mend the outer length, so that the wound inside is what the reader sees.
        mutant = bytearray(der.sequence(bytes(mutant[2:])))
    return bytes(mutant)


@pytest.mark.parametrize("seed", range(4))
def test_no_mutant_raises_anything_but_a_rejection(seed: int) -> None:
    source = random.Random(seed)
    accepted = 0
    for _ in range(MUTATIONS // 4):
        accepted += check(mutate(source, source.choice(SEEDS))) is not None
    assert accepted > MUTATIONS // 400, "the mutants are all so broken that nothing deep was reached"


def test_every_single_byte_mutant_of_every_seed() -> None:
    """All values in all places: what is accepted means what the bytes say."""
    for seed in SEEDS[1:3]:
        for place in range(len(seed)):
            for value in range(256):
                check(seed[:place] + bytes((value,)) + seed[place + 1 :])


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_are_accepted(seed: bytes) -> None:
    assert check(seed) is not None


# -- the reader's own promises ------------------------------------------------------------------------------------


def test_fields() -> None:
    request = read_request(SEEDS[5])
    assert (request.hash_algorithm, request.hash_oid) == (SHA256, "2.16.840.1.101.3.4.2.1")
    assert (request.policy, request.nonce, request.cert_req) == ("1.2.3", 5, True)
    (only,) = request.extensions
    assert only == RequestExtension("1.2.3", True, b"\x05\x00", extension("1.2.3", critical=b"\x01\x01\xff"))
    bare = read_request(SEEDS[0])
    assert (bare.policy, bare.nonce, bare.cert_req, bare.extensions) == (None, None, False, ())


def test_an_unknown_hash_is_read_and_left_to_the_authority() -> None:
    imprint = der.sequence(der.sequence(der.oid("1.2.3")), der.octet_string(b""))
    request = read_request(der.sequence(der.integer(1), imprint))
    assert (request.hash_algorithm, request.hash_oid, request.digest) == (None, "1.2.3", b"")


@pytest.mark.parametrize("bad", [b"\x00", b"\x30\x00", extension("1.2.3")[:-1], extension("1.2.3") + b"\x30"])
def test_read_extensions_refuses(bad: bytes) -> None:
    with pytest.raises(EncodingError):
        read_extensions(bad)


def test_read_extensions() -> None:
    both = extension("1.2.3") + extension("1.2.4", critical=b"\x01\x01\xff")
    assert [(one.oid, one.critical) for one in read_extensions(both)] == [("1.2.3", False), ("1.2.4", True)]
    with pytest.raises(EncodingError, match="twice"):
        read_extensions(extension("1.2.3") * 2)
    with pytest.raises(RequestRejected, match="more than 32"):
        read_extensions(b"".join(extension(f"1.2.{number}") for number in range(MAX_EXTENSIONS + 1)))


def test_encode_request_refuses_a_digest_of_the_wrong_length() -> None:
    with pytest.raises(EncodingError, match="32 bytes"):
        encode_request(algorithm=SHA256, digest=bytes(31))


def slowest(make: Callable[[int], bytes], size: int) -> float:
    """Return the processor time that a refusal takes, whatever else the machine does."""
    data = make(size)
    best = 1e9
    for _ in range(5):
        started = thread_time()
        with pytest.raises(RequestRejected):
            read_request(data)
        best = min(best, thread_time() - started)
    return best


@pytest.mark.parametrize(
    "make",
    [
        lambda size: der.sequence(SEEDS[0][2:], der.tlv(6, b"\x2a" + b"\x01" * size)),
        lambda size: der.sequence(SEEDS[0][2:], der.tlv(6, b"\x2a" + b"\x81" * size + b"\x01")),
        lambda size: der.sequence(SEEDS[0][2:], der.tlv(2, b"\x01" * size)),
        lambda size: der.sequence(SEEDS[0][2:], der.tlv(0xA0, extension("1.2.3") * (size // 8))),
        lambda size: der.sequence(SEEDS[0][2:], der.tlv(0xA0, b"\x30\x00" * (size // 2))),
        lambda size: b"\x30\x82\xff\xfc" * (size // 4),
        lambda size: der.sequence(SEEDS[0][2:], b"\x01\x01\xff" * (size // 3)),
    ],
)
def test_time_is_bounded_whatever_the_size(make: Callable[[int], bytes]) -> None:
    assert slowest(make, 1_000_000) < 0.02


def test_rejections_of_the_reader_can_be_sent() -> None:
    with pytest.raises(RequestRejected) as caught:
        read_request(b"\x30\x80")
    assert encode_rejection(caught.value.failure, caught.value.text).startswith(b"\x30")
