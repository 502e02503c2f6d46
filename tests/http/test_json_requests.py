"""The reference system's JSON: requests, messages and refusals of DER requests (`--rejections=sigstore`)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.plain_encoder import HASHES, PlainRequest
from tests.conformance.replies import ReadReply, granted, refused
from tests.serving import JSON, REPLY, HttpReply, Parts, Server, TestClock, TestSigner, running_server
from tsa_core.api import ClockError

UNDECODABLE = "Error generating timestamp response"
WEAK = "Weak hash algorithm in timestamp request"
LENGTH = "Message digest has incorrect length for specified algorithm"
POLICY = "unaccepted policy: requested TSA policy is not supported by the TSA"
EXTENSION = "unaccepted extension: requested extensions are not supported by the TSA"
ARCS = "OID should be comprised of at most 128 components"
TOO_LARGE = "timestamp request is too large"

PUBLISHED_HASH = "n4bQgYhMfWWaL-qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="
DIGEST = hashlib.sha256(b"test").digest()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


def document(**changes: Any) -> dict[str, Any]:
    fields = {"artifactHash": PUBLISHED_HASH, "hashAlgorithm": "sha256", **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def good(reply: HttpReply, status: int = 200) -> ReadReply:
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/timestamp-reply"
    return granted(reply.body)


def bad(reply: HttpReply, message: str, code: int = 400, media_type: str = JSON) -> None:
    assert reply.status == code
    assert reply.headers["content-type"] == media_type
    assert reply.json == {"code": code, "message": message}


def test_the_published_example(server: Server) -> None:
    sent = document(certificates=False, nonce=1123343434, tsaPolicyOID="1.3.6.1.4.1.57264.2")
    reply = good(server.post_json(sent))
    info = reply.tst_info
    assert info["nonce"].native == 1123343434
    assert info["policy"].dotted == "1.3.6.1.4.1.57264.2"
    assert info["accuracy"].native == {"seconds": 1, "millis": None, "micros": None}
    assert info["message_imprint"]["hashed_message"].native == DIGEST
    assert reply.certificates is None


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512", "SHA256", "Sha-256", "sha-384", "SHA-512"])
def test_hash_names(server: Server, name: str) -> None:
    plain = name.lower().replace("-", "")
    digest = hashlib.new(plain, b"artifact").digest()
    sent = document(hashAlgorithm=name, artifactHash=base64.b64encode(digest).decode())
    imprint = good(server.post_json(sent)).tst_info["message_imprint"]
    assert imprint["hash_algorithm"]["algorithm"].dotted == HASHES[plain][0]
    assert imprint["hashed_message"].native == digest


def test_certificates(server: Server) -> None:
    assert len(good(server.post_json(document(certificates=True))).certificates or ()) == 2
    for value in (False, None, ...):
        assert good(server.post_json(document(certificates=value))).certificates is None


ODD = bytes(range(0xE0, 0x100))  # its base64 is full of 62nd and 63rd letters


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(ODD).decode(),
        base64.urlsafe_b64encode(ODD).decode(),
        base64.b64encode(ODD).decode().rstrip("="),
        base64.urlsafe_b64encode(ODD).decode().rstrip("="),
        base64.b64encode(ODD).decode().replace("+", "-", 1),
        base64.urlsafe_b64encode(ODD).decode().replace("_", "/", 3),
    ],
)
def test_base64_alphabets_mixed_and_padded_or_not(server: Server, text: str) -> None:
    reply = good(server.post_json(document(artifactHash=text)))
    assert reply.tst_info["message_imprint"]["hashed_message"].native == ODD


@pytest.mark.parametrize("nonce", [0, 1, -1, 2**63, 2**64, 2**159, 2**511, -(2**511)])
def test_nonces(server: Server, nonce: int) -> None:
    assert good(server.post_json(document(nonce=nonce))).tst_info["nonce"].native == nonce


def test_keys_ignore_case_and_unknown_ones_are_ignored(server: Server) -> None:
    sent = {"ARTIFACTHASH": PUBLISHED_HASH, "hashalgorithm": "sha256", "Nonce": 7, "comment": "hello"}
    assert good(server.post_json(sent)).tst_info["nonce"].native == 7


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON", "application/json; charset=utf-8"])
def test_content_type(server: Server, content_type: str) -> None:
    import json

    good(server.post(json.dumps(document()).encode(), content_type=content_type))


UNDECODABLES: dict[str, Any] = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe{}",
    "a list": [],
    "a text": "text",
    "null": None,
    "nested": b"[" * 1000,
    "hash not base64": document(artifactHash="not*base64*encoded"),
    "hash is a number": document(artifactHash=5),
    "hash with a blank": document(artifactHash=" " + PUBLISHED_HASH),
    "hash of one letter": document(artifactHash="A"),
    "hash not ASCII": document(artifactHash="é" * 44),
    "algorithm unknown": document(hashAlgorithm="sha3-256"),
    "algorithm absent": document(hashAlgorithm=...),
    "algorithm a number": document(hashAlgorithm=256),
    "algorithm md5": document(hashAlgorithm="md5"),
    "nonce a text": document(nonce="5"),
    "nonce a fraction": document(nonce=1.5),
    "nonce a float": document(nonce=1.0),
    "nonce true": document(nonce=True),
    "nonce of 65 bytes": document(nonce=2**512),
    "nonce of 900 digits": document(nonce=10**900),
    "certificates a text": document(certificates="yes"),
    "certificates a number": document(certificates=1),
    "policy a number": document(tsaPolicyOID=1.2),
}


@pytest.mark.parametrize("name", UNDECODABLES)
def test_undecodable(server: Server, name: str) -> None:
    bad(server.post_json(UNDECODABLES[name]), UNDECODABLE)


@pytest.mark.parametrize("name", ["sha1", "SHA1", "SHA-1"])
def test_weak_hash(server: Server, name: str) -> None:
    bad(server.post_json(document(hashAlgorithm=name)), WEAK)


@pytest.mark.parametrize("text", ["", ..., None, "AAAA", base64.b64encode(bytes(33)).decode(), PUBLISHED_HASH[:27]])
def test_digest_length(server: Server, text: Any) -> None:
    bad(server.post_json(document(artifactHash=text)), LENGTH)


def test_unaccepted_policy(server: Server) -> None:
    bad(server.post_json(document(tsaPolicyOID="1.2.3.4")), POLICY)
    good(server.post_json(document(tsaPolicyOID="")))
    good(server.post_json(document(tsaPolicyOID=None)))


@pytest.mark.parametrize("policy", [".".join(["1"] * 130), "." * 800, "policy", "1.", "1..2", " 1.2", "1.x", "1" * 30])
def test_policy_of_too_many_components_or_of_what_is_no_number(server: Server, policy: str) -> None:
    bad(server.post_json(document(tsaPolicyOID=policy)), ARCS)


@pytest.mark.parametrize(
    "policy", [".".join(["1"] * 129), ".".join(["1"] * 128), "1", "3.1", "1.02.3", "1.-2.3", "1.99.1"]
)
def test_numbers_that_make_no_identifier_are_a_policy_that_is_not_accepted(server: Server, policy: str) -> None:
    bad(server.post_json(document(tsaPolicyOID=policy)), POLICY)
    bad(server.post_json(document(tsaPolicyOID=policy, artifactHash="AAAA")), LENGTH)


def test_a_line_break_in_base64_means_nothing(server: Server) -> None:
    reply = good(server.post_json(document(artifactHash=PUBLISHED_HASH[:20] + "\r\n" + PUBLISHED_HASH[20:] + "\n")))
    assert reply.tst_info["message_imprint"]["hashed_message"].native == DIGEST


def test_json_is_utf_8_as_far_as_it_is_read(server: Server) -> None:
    text = json.dumps(document())
    good(server.post_json(text.replace("}", ', "x": "?"}').encode().replace(b"?", b"\xff")))
    for body in (text.encode("utf-16"), text.encode("utf-8-sig"), text.replace("}", ', "x": NaN}').encode()):
        bad(server.post_json(body), UNDECODABLE)


def test_body_over_1024_bytes_is_refused_before_it_is_parsed(server: Server) -> None:
    padded = b'{"artifactHash": "%b", "hashAlgorithm": "sha256"' % PUBLISHED_HASH.encode()
    good(server.post_json(padded.ljust(1023) + b"}"))
    bad(server.post_json(padded.ljust(1024) + b"}"), TOO_LARGE)
    bad(server.post_json(b"9" * 1025), TOO_LARGE)


def test_a_profile_of_its_own_path() -> None:
    profiles = {"other": {"policies": ["1.2.3.4"]}}
    with running_server(profiles=profiles) as server:
        reply = good(server.post_json(document(), path="/tsa/other"))
        assert reply.tst_info["policy"].dotted == "1.2.3.4"
        missing = server.post_json(document(), path="/tsa/nobody")
        assert (missing.status, missing.json["code"]) == (404, 404)


def test_signer_down_is_503() -> None:
    signer = TestSigner()
    with running_server(Parts(signers={"p256": signer})) as server:
        signer.go_down()
        bad(server.post_json(document()), UNDECODABLE, 503)
        signer.come_back()
        good(server.post_json(document()))


def test_clock_down_is_503() -> None:
    clock = TestClock()

    def no_time() -> Any:
        raise ClockError("no time")

    with running_server(Parts(clock=clock)) as server:
        clock.read = no_time
        bad(server.post_json(document()), UNDECODABLE, 503)


def test_http_201_for_granted_requests_alone() -> None:
    with running_server(use_http_201=True) as server:
        good(server.post_json(document()), 201)
        assert server.post(PlainRequest().encode()).status == 201
        refused_reply = server.post(b"nonsense")
        assert refused_reply.status == 200
        refused(refused_reply.body, "03020204")
        bad(server.post_json({}), UNDECODABLE)


def with_extension(policy: str | None = None) -> bytes:
    return PlainRequest(policy=policy, extensions=(("1.2.3", False, b"\x05\x00"),)).encode()


REFUSED_DER = {
    "malformed": (b"nonsense", UNDECODABLE),
    "version": (b"\x30\x36\x02\x01\x02" + PlainRequest().encode()[5:], UNDECODABLE),
    "weak hash": (PlainRequest(hash_name="sha1", digest=bytes(20)).encode(), WEAK),
    "length": (PlainRequest(digest=bytes(20)).encode(), LENGTH),
    "hash that is only unknown": (PlainRequest(hash_name="sha224", digest=bytes(28)).encode(), UNDECODABLE),
    "policy": (PlainRequest(policy="1.2.3.4").encode(), POLICY),
    "extension": (with_extension(), EXTENSION),
    "policy and extension": (with_extension("1.2.3.4"), POLICY),
}


@pytest.mark.parametrize("name", REFUSED_DER)
def test_rejections_as_the_reference_system_gives_them(name: str) -> None:
    body, message = REFUSED_DER[name]
    with running_server(rejections="sigstore") as server:
        bad(server.post(body), message, media_type=REPLY)
        good(server.post(PlainRequest().encode()))


def test_rejections_as_the_reference_system_gives_them_signer_down() -> None:
    signer = TestSigner()
    with running_server(Parts(signers={"p256": signer}), rejections="sigstore") as server:
        signer.go_down()
        bad(server.post(PlainRequest().encode()), UNDECODABLE, 503, REPLY)
