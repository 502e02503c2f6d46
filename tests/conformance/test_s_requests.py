"""Rules about requests: what is granted, what is refused and how (rfc3161: 2.4.1, 2.4.2)."""

from __future__ import annotations

import hashlib

import pytest
from asn1crypto import core

from tests.conformance.plain_encoder import HASHES, PlainRequest
from tests.conformance.profiles.conforming import Conforming
from tests.conformance.replies import assert_der, granted, read_reply, refused
from tests.serving import Parts, Server, TestSigner, open_service, running_server
from tsa_core.api import RequestContext, ResponseProcessor, TokenDraft

BAD_ALG = "03020780"
BAD_REQUEST = "03020520"
BAD_DATA_FORMAT = "03020204"
UNACCEPTED_POLICY = "0303000001"
UNACCEPTED_EXTENSION = "030407000080"
SYSTEM_FAILURE = "03050600000040"

ACCEPTED = ("sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512")
GOOD = PlainRequest().encode()


def tlv(tag: int, *contents: bytes) -> bytes:
    """Return a value; written here again so that the tests do not lean on what they test."""
    content = b"".join(contents)
    size = len(content)
    head = bytes((size,)) if size < 0x80 else bytes((0x80 | (size.bit_length() + 7) // 8,))
    rest = b"" if size < 0x80 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag,)) + head + rest + content


VERSION = bytes.fromhex("020101")
IMPRINT = tlv(0x30, bytes.fromhex("300d06096086480165030402010500"), tlv(0x04, bytes(32)))


def request(*parts: bytes, version: bytes = VERSION, imprint: bytes = IMPRINT) -> bytes:
    return tlv(0x30, version, imprint, *parts)


def imprint(oid: str, digest: bytes, parameters: bytes = b"\x05\x00") -> bytes:
    return tlv(0x30, tlv(0x30, core.ObjectIdentifier(oid).dump(), parameters), tlv(0x04, digest))


def extension(oid: str, critical: bytes = b"", value: bytes = b"\x05\x00") -> bytes:
    return tlv(0x30, core.ObjectIdentifier(oid).dump(), critical, tlv(0x04, value))


@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_s05_digest_length_must_fit_the_hash(server: Server, size: int) -> None:
    text = refused(server.post(PlainRequest(digest=bytes(size)).encode()).body, BAD_DATA_FORMAT)
    assert "32 bytes" in text


@pytest.mark.parametrize("name", ACCEPTED)
def test_s05_every_accepted_hash_has_its_own_length(server: Server, name: str) -> None:
    size = HASHES[name][1]
    reply = granted(server.post(PlainRequest(hash_name=name, digest=bytes(size)).encode()).body)
    assert reply.tst_info["message_imprint"]["hash_algorithm"]["algorithm"].dotted == HASHES[name][0]
    for wrong in (size - 1, size + 1):
        refused(server.post(PlainRequest(hash_name=name, digest=bytes(wrong)).encode()).body, BAD_DATA_FORMAT)


@pytest.mark.parametrize(
    ("oid", "size"),
    [
        ("1.3.14.3.2.26", 20),  # SHA-1
        ("1.2.840.113549.2.5", 16),  # MD5
        ("2.16.840.1.101.3.4.2.4", 28),  # SHA-224
        ("1.3.36.3.2.1", 20),  # RIPEMD-160
        ("2.16.840.1.101.3.4.2.12", 64),  # SHAKE256
        ("1.2.3.4.5.6.7.8.9", 32),
    ],
)
def test_s05_weak_and_unknown_hashes_are_bad_alg(server: Server, oid: str, size: int) -> None:
    text = refused(server.post(request(imprint=imprint(oid, bytes(size)))).body, BAD_ALG)
    assert all(name in text for name in ACCEPTED), "the text says what would be accepted"


def test_s05_sha1_only_by_an_explicit_switch() -> None:
    with open_service(profiles={"default": {"accept_sha1": True}}) as service:
        reply = service.authority.respond(PlainRequest(hash_name="sha1", digest=bytes(20)).encode(), RequestContext())
        granted(reply.der)
        refused(
            service.authority.respond(PlainRequest(hash_name="sha1", digest=bytes(32)).encode(), RequestContext()).der,
            BAD_DATA_FORMAT,
        )


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, hashlib.sha256(b"").digest()])
def test_s06_imprint_is_not_examined_otherwise(server: Server, digest: bytes) -> None:
    reply = granted(server.post(PlainRequest(digest=digest).encode()).body)
    assert reply.tst_info["message_imprint"]["hashed_message"].native == digest


@pytest.mark.parametrize("critical", [b"", b"\x01\x01\xff", b"\x01\x01\x00"])
def test_s09_unknown_extension_is_refused_critical_or_not(server: Server, critical: bytes) -> None:
    body = request(tlv(0xA0, extension("1.2.3.4.5.6", critical)))
    text = refused(server.post(body).body, UNACCEPTED_EXTENSION)
    assert "1.2.3.4.5.6" in text


class ClaimingProcessor(ResponseProcessor):
    """Understands one request extension and answers it with one of its own in the token."""

    request_extensions = frozenset({"1.2.3.4.5.6"})

    def extend(self, draft: TokenDraft) -> list[bytes]:
        return [extension("1.2.3.4.5.7", value=one.value) for one in draft.request.extensions]


def test_s09_a_processor_that_claims_the_identifier_turns_it_into_a_grant() -> None:
    with running_server(Parts(processors=[ClaimingProcessor()])) as server:
        reply = granted(server.post(request(tlv(0xA0, extension("1.2.3.4.5.6", value=b"\x04\x01x")))).body)
        (only,) = reply.tst_info["extensions"]
        assert only["extn_id"].dotted == "1.2.3.4.5.7"
        assert only["extn_value"].native == b"\x04\x01x"
        both = tlv(0xA0, extension("1.2.3.4.5.6"), extension("1.2.3.4.5.9"))
        assert "1.2.3.4.5.9" in refused(server.post(request(both)).body, UNACCEPTED_EXTENSION)


def test_s09_allow_custom_extensions_copies_them() -> None:
    with open_service(profiles={"default": {"allow_custom_extensions": True}}) as service:
        parts = (extension("1.2.3.4.5.6", b"\x01\x01\xff"), extension("1.2.3.4.5.7"))
        reply = granted(service.authority.respond(request(tlv(0xA0, *parts)), RequestContext()).der)
        assert reply.tst_info["extensions"].contents == b"".join(parts)


def test_s09_s21_a_copied_extension_is_der_even_if_it_was_not_sent_so() -> None:
    with open_service(profiles={"default": {"allow_custom_extensions": True}}) as service:
        sent = request(tlv(0xA0, extension("1.2.3.4.5.6", b"\x01\x01\x00")))
        reply = granted(service.authority.respond(sent, RequestContext()).der)
        assert reply.tst_info["extensions"].contents == extension("1.2.3.4.5.6")


@pytest.mark.parametrize("qualified", [False, True])
def test_s09_nobody_can_ask_for_a_qualified_token(qualified: bool) -> None:
    settings = {"allow_custom_extensions": True, "qualified": qualified}
    statement = bytes.fromhex("300b30090607040081975e0101")
    with Conforming(profile=settings).open("etsi") as service:
        sent = request(tlv(0xA0, extension("1.3.6.1.5.5.7.1.3", value=statement)))
        refused(service.authority.respond(sent, RequestContext()).der, UNACCEPTED_EXTENSION)
        extensions = granted(service.authority.respond(GOOD, RequestContext()).der).tst_info["extensions"]
        assert bool(extensions.contents) == qualified


class WrongProcessor(ResponseProcessor):
    """Adds whatever bytes a test says."""

    def __init__(self, *added: bytes) -> None:
        self._added = added

    def extend(self, draft: TokenDraft) -> tuple[bytes, ...]:
        return self._added


@pytest.mark.parametrize(
    "added",
    [
        (extension("1.2.3"), extension("1.2.3", b"\x01\x01\xff")),
        (b"not an extension",),
        (extension("1.2.3") + b"\x00",),
        (extension("1.2.3")[:-1],),
    ],
)
def test_s21_extensions_of_processors_are_checked_before_they_are_signed(added: tuple[bytes, ...]) -> None:
    with open_service(Parts(processors=[WrongProcessor(*added)])) as service:
        refused(service.authority.respond(GOOD, RequestContext()).der, SYSTEM_FAILURE)


@pytest.mark.parametrize("version", [0, 2, 3, -1, 257])
def test_s10_version_1_only(server: Server, version: int) -> None:
    text = refused(server.post(request(version=core.Integer(version).dump())).body, BAD_REQUEST)
    assert "version" in text


@pytest.mark.parametrize("version", ["0200", "02020001", "0a0101", "030101", "0202ffff"])
def test_s10_version_that_is_not_der_is_bad_data_format(server: Server, version: str) -> None:
    refused(server.post(request(version=bytes.fromhex(version))).body, BAD_DATA_FORMAT)


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("parameters", [b"", b"\x05\x00"])
def test_s11_null_and_absent_parameters_are_echoed_as_sent(server: Server, name: str, parameters: bytes) -> None:
    oid, size = HASHES[name]
    sent = imprint(oid, bytes(range(size)), parameters)
    reply = granted(server.post(request(imprint=sent)).body)
    assert reply.tst_info["message_imprint"].dump() == sent


@pytest.mark.parametrize("parameters", ["0500 0500", "3000", "020101", "0400", "050100", "06022a03", "a000"])
def test_s11_other_parameters_are_refused(server: Server, parameters: str) -> None:
    sent = imprint(HASHES["sha256"][0], bytes(32), bytes.fromhex(parameters))
    expected = BAD_DATA_FORMAT if parameters == "0500 0500" else BAD_ALG
    refused(server.post(request(imprint=sent)).body, expected)


def test_s14_policy_exactly_as_asked(server: Server) -> None:
    for policy, expected in ((None, "1.3.6.1.4.1.57264.2"), ("1.2.3.4.5", "1.2.3.4.5")):
        reply = granted(server.post(PlainRequest(policy=policy).encode()).body)
        assert reply.tst_info["policy"].dotted == expected


@pytest.mark.parametrize("policy", ["1.2.3.4", "1.2.3.4.5.0", "2.25.340282366920938463463374607431768211455", "0.0"])
def test_s14_unlisted_policy_is_unaccepted(server: Server, policy: str) -> None:
    text = refused(server.post(PlainRequest(policy=policy).encode()).body, UNACCEPTED_POLICY)
    assert policy in text
    assert "1.2.3.4.5" in text, "the text says what is offered"


def test_s14_policy_of_another_profile(server: Server) -> None:
    """The default URL leads to the profile of the policy; a profile's own URL leads nowhere else."""
    body = PlainRequest(policy="1.2.3.4.6").encode()
    reply = granted(server.post(body).body)
    assert reply.signer_info["signature_algorithm"]["algorithm"].dotted == "1.2.840.113549.1.1.1"
    granted(server.post(body, path="/tsa/rsa").body)
    refused(server.post(body, path="/tsa/default").body, UNACCEPTED_POLICY)


@pytest.mark.parametrize("name", ACCEPTED)
def test_s15_imprint_bytes_are_the_requests(server: Server, name: str) -> None:
    digest = hashlib.new(name.replace("sha3-", "sha3_"), b"an artifact").digest()
    sent = imprint(HASHES[name][0], digest)
    assert granted(server.post(request(imprint=sent)).body).tst_info["message_imprint"].dump() == sent


NONCES = [0, 1, 127, 128, 255, 256, 2**63, 2**64, 2**159, 2**160 - 1, 2**255, 2**256 - 1, 2**503, 2**512 - 1]


@pytest.mark.parametrize("nonce", [*NONCES, -1, -128, -129, -(2**63), -(2**159), -(2**511)])
def test_s16_nonce_is_returned_unchanged(server: Server, nonce: int) -> None:
    reply = granted(server.post(PlainRequest(nonce=nonce).encode()).body)
    assert reply.tst_info["nonce"].dump() == core.Integer(nonce).dump()


def test_s16_no_nonce_no_nonce(server: Server) -> None:
    assert isinstance(granted(server.post(GOOD).body).tst_info["nonce"], core.Void)


@pytest.mark.parametrize("nonce", [2**512, 2**520 - 1, -(2**511) - 1, -(2**512), 2**8000])
def test_s16_nonce_over_64_bytes_is_bad_request(server: Server, nonce: int) -> None:
    assert "64" in refused(server.post(PlainRequest(nonce=nonce).encode()).body, BAD_REQUEST)


MALFORMED = {
    "empty": b"",
    "one byte": b"\x30",
    "not a SEQUENCE": b"\x04" + GOOD[1:],
    "indefinite length": b"\x30\x80" + GOOD[2:] + b"\x00\x00",
    "indefinite imprint": tlv(0x30, VERSION, b"\x30\x80" + IMPRINT[2:] + b"\x00\x00"),
    "long form of a short length": b"\x30\x81" + GOOD[1:],
    "length with a leading zero": b"\x30\x82\x00" + GOOD[1:],
    "length of five octets": b"\x30\x85\x00\x00\x00\x00" + GOOD[1:],
    "length of 4 GiB": b"\x30\x84\xff\xff\xff\xff" + GOOD[2:],
    "length of 127 octets": b"\x30\xff" + GOOD[2:],
    "trailing byte": GOOD + b"\x00",
    "two requests": GOOD + GOOD,
    "trailing inside": request(b"\x05\x00"),
    "trailing in the imprint": request(imprint=tlv(0x30, IMPRINT[2:], b"\x05\x00")),
    "no imprint": tlv(0x30, VERSION),
    "nothing": tlv(0x30),
    "multi-byte tag": b"\x3f\x30" + GOOD[1:],
    "version after imprint": tlv(0x30, IMPRINT, VERSION),
    "version tagged": tlv(0x30, b"\x0a\x01\x01", IMPRINT),
    "constructed OCTET STRING": request(
        imprint=tlv(0x30, bytes.fromhex("300d06096086480165030402010500"), tlv(0x24, tlv(0x04, bytes(32))))
    ),
    "digest as BIT STRING": request(
        imprint=tlv(0x30, bytes.fromhex("300d06096086480165030402010500"), tlv(0x03, bytes(33)))
    ),
    "nonce empty": request(b"\x02\x00"),
    "nonce with leading zeros": request(b"\x02\x02\x00\x01"),
    "nonce with leading ones": request(b"\x02\x02\xff\x80"),
    "certReq of 01": request(b"\x01\x01\x01"),
    "certReq of two octets": request(b"\x01\x02\xff\xff"),
    "certReq empty": request(b"\x01\x00"),
    "nonce before policy": request(b"\x02\x01\x05", b"\x06\x02\x2a\x03"),
    "certReq before nonce": request(b"\x01\x01\xff", b"\x02\x01\x05"),
    "two policies": request(b"\x06\x02\x2a\x03", b"\x06\x02\x2a\x03"),
    "two nonces": request(b"\x02\x01\x05", b"\x02\x01\x05"),
    "two certReqs": request(b"\x01\x01\xff", b"\x01\x01\xff"),
    "policy empty": request(b"\x06\x00"),
    "policy cut off": request(b"\x06\x02\x2a\x83"),
    "policy with a leading zero": request(b"\x06\x03\x2a\x80\x01"),
    "policy of 129 components": request(tlv(0x06, b"\x2a" + b"\x01" * 127)),
    "policy with an endless component": request(tlv(0x06, b"\x2a" + b"\x81" * 19 + b"\x01")),
    "hash identifier empty": request(imprint=tlv(0x30, tlv(0x30, b"\x06\x00"), tlv(0x04, bytes(32)))),
    "no hash identifier": request(imprint=tlv(0x30, tlv(0x30), tlv(0x04, bytes(32)))),
    "extensions empty": request(b"\xa0\x00"),
    "extensions primitive": request(tlv(0x80, extension("1.2.3"))),
    "extensions wrapped in a SEQUENCE": request(tlv(0xA0, tlv(0x30, extension("1.2.3")))),
    "extension twice": request(tlv(0xA0, extension("1.2.3"), extension("1.2.3"))),
    "extension without a value": request(tlv(0xA0, tlv(0x30, b"\x06\x02\x2a\x03"))),
    "extension critical 01": request(tlv(0xA0, extension("1.2.3", b"\x01\x01\x01"))),
    "extension with something after": request(tlv(0xA0, tlv(0x30, extension("1.2.3")[2:], b"\x05\x00"))),
    "digest of 1025 bytes": request(imprint=imprint(HASHES["sha256"][0], bytes(1025))),
    "a reply": bytes.fromhex("30053003020102"),
    "text": b"GET / HTTP/1.1\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_s29_malformed_der_is_bad_data_format(server: Server, name: str) -> None:
    reply = server.post(MALFORMED[name])
    assert reply.status == 200
    refused(reply.body, BAD_DATA_FORMAT)


def test_s29_every_truncation_is_bad_data_format(server: Server) -> None:
    whole = PlainRequest(policy="1.2.3.4.5", nonce=2**64, cert_req=True).encode()
    granted(server.post(whole).body)
    assert server.service is not None
    for size in range(len(whole)):
        refused(server.service.authority.respond(whole[:size], RequestContext()).der, BAD_DATA_FORMAT)


def test_s29_too_many_extensions_is_bad_request(server: Server) -> None:
    many = request(tlv(0xA0, *(extension(f"1.2.3.{number}") for number in range(33))))
    refused(server.post(many).body, BAD_REQUEST)
    refused(server.post(request(tlv(0xA0, *(extension(f"1.2.3.{n}") for n in range(32))))).body, UNACCEPTED_EXTENSION)


def test_s16_explicit_false_is_tolerated(server: Server) -> None:
    """Toolkits write certReq FALSE although DER omits it; it cannot mean anything else."""
    assert granted(server.post(request(b"\x01\x01\x00")).body).certificates is None


def test_s17_token_present_exactly_when_granted(server: Server) -> None:
    for body in (GOOD, PlainRequest(cert_req=True).encode(), *MALFORMED.values()):
        posted = server.post(body)
        assert_der(posted.body)
        reply = read_reply(posted.body)
        assert (reply.token is not None) == (reply.status == 0)
        assert (reply.fail_info is None) == (reply.status == 0)
        assert (reply.texts is None) == (reply.status == 0)


def test_s09_signer_is_not_reached_by_refused_requests() -> None:
    signer = TestSigner()
    with open_service(Parts(signers={"p256": signer})) as service:
        signer.go_down()
        sent = request(tlv(0xA0, extension("1.2.3")))
        refused(service.authority.respond(sent, RequestContext()).der, UNACCEPTED_EXTENSION)
