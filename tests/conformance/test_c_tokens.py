"""Rules C1 to C12: the CMS token, for every signature algorithm, read by asn1crypto and verified by cryptography."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from asn1crypto import core, x509

from tests import pki
from tests.conformance.plain_encoder import SIGNATURES, PlainRequest
from tests.conformance.replies import ReadReply, granted, members, signed_data, verify
from tests.serving import Parts, TestClock, TestSigner, open_service
from tsa_core.api import RequestContext, UnsupportedKey
from tsa_core.service import Service

CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
ALGORITHM_PROTECTION = "1.2.840.113549.1.9.52"
DIGESTS = {
    "sha256": "300b0609608648016503040201",
    "sha384": "300b0609608648016503040202",
    "sha512": "300b0609608648016503040203",
    "shake256": "300f060960864801650304021202020200",
}
BODY = PlainRequest(nonce=2**63, cert_req=True).encode()
KINDS = pki.KINDS


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def service(kind: str) -> Iterator[Service]:
    with open_service(Parts(signers={"p256": TestSigner(kind)})) as opened:
        yield opened


@pytest.fixture(scope="module")
def body(service: Service) -> bytes:
    return service.authority.respond(BODY, RequestContext()).der


@pytest.fixture(scope="module")
def reply(body: bytes) -> ReadReply:
    return granted(body)


def issue(parts: Parts | None = None, request: bytes = BODY, **settings: object) -> ReadReply:
    with open_service(parts, profiles={"default": settings}) as service:
        return granted(service.authority.respond(request, RequestContext()).der)


def signer_info(body: bytes) -> list[bytes]:
    """Return the members of the one SignerInfo."""
    signer_infos = members(signed_data(body))[-1]
    assert signer_infos[0] == 0x31
    (only,) = members(signer_infos)
    return members(only)


def test_c00_signature_and_digest_verify(kind: str, reply: ReadReply) -> None:
    verify(reply, pki.der(pki.chain(kind))[0])


def test_c01_signed_data_version_3(body: bytes, reply: ReadReply) -> None:
    assert members(signed_data(body))[0] == b"\x02\x01\x03"
    assert reply.token is not None
    assert reply.token["content_type"].dotted == "1.2.840.113549.1.7.2"


def test_c02_signer_info_version_1_with_issuer_and_serial(kind: str, body: bytes) -> None:
    version, sid, *_ = signer_info(body)
    leaf = x509.Certificate.load(pki.der(pki.chain(kind))[0])
    assert version == b"\x02\x01\x01"
    assert members(sid) == [leaf.issuer.dump(), core.Integer(leaf.serial_number).dump()]


def test_c03_signed_attributes_in_der_order(body: bytes, reply: ReadReply) -> None:
    attributes = members(signer_info(body)[3])
    assert signer_info(body)[3][0] == 0xA0
    assert attributes == sorted(attributes)
    assert sorted(one["type"].dotted for one in reply.signer_info["signed_attrs"]) == sorted(
        [CONTENT_TYPE, SIGNING_TIME, MESSAGE_DIGEST, SIGNING_CERTIFICATE_V2]
    )
    assert reply.attribute(CONTENT_TYPE).dotted == "1.2.840.113549.1.9.16.1.4"
    # After the signature nothing: no unsigned attributes.
    assert [part[0] for part in signer_info(body)] == [0x02, 0x30, 0x30, 0xA0, 0x30, 0x04]


def test_c03_algorithm_protection_by_switch(kind: str) -> None:
    with open_service(
        Parts(signers={"p256": TestSigner(kind)}), profiles={"default": {"algorithm_protection": True}}
    ) as service:
        body = service.authority.respond(BODY, RequestContext()).der
    reply = granted(body)
    verify(reply, pki.der(pki.chain(kind))[0])
    attributes = members(signer_info(body)[3])
    assert attributes == sorted(attributes)
    value = reply.attribute(ALGORITHM_PROTECTION)
    _, _, digest, _, algorithm, _ = signer_info(body)
    assert members(value.dump()) == [digest, b"\xa1" + algorithm[1:]]


@pytest.mark.parametrize("include", ["leaf", "intermediates", "full"])
def test_c04_certificates_in_der_order(include: str) -> None:
    """A short leaf, which sorts before its issuer's certificate, and a long one, which sorts after it."""
    places = []
    for kind in ("ed25519", "rsa-4096"):
        chain = pki.der(pki.chain(kind))
        reply = issue(Parts(signers={"p256": TestSigner(kind)}), include_chain=include)
        assert reply.certificates is not None
        assert reply.certificates == sorted(chain[: len(reply.certificates)])
        places.append(reply.certificates.index(chain[0]))
    assert places == {"leaf": [0, 0], "intermediates": [0, 1], "full": [1, 2]}[include]


def test_c05_c07_one_digest_throughout(kind: str, body: bytes, reply: ReadReply) -> None:
    expected = bytes.fromhex(DIGESTS[SIGNATURES[kind][0]])
    assert members(members(signed_data(body))[1]) == [expected]
    assert signer_info(body)[2] == expected
    name = SIGNATURES[kind][0]
    digest = (
        hashlib.shake_256(reply.content).digest(64) if name == "shake256" else hashlib.new(name, reply.content).digest()
    )
    assert reply.attribute(MESSAGE_DIGEST).native == digest


@pytest.mark.parametrize(
    ("time", "encoded"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC), b"\x17\x0d260102030405Z"),
        (datetime(2049, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), b"\x17\x0d491231235959Z"),
        (datetime(2050, 1, 1, 0, 0, 0, 999999, tzinfo=UTC), b"\x18\x0f20500101000000Z"),
        (datetime(2069, 1, 1, 0, 0, 0, 0, tzinfo=UTC), b"\x18\x0f20690101000000Z"),
    ],
)
@pytest.mark.parametrize("digits", [0, 6])
def test_c06_signing_time_is_the_second_of_gen_time(time: datetime, encoded: bytes, digits: int) -> None:
    reply = issue(Parts(clock=TestClock(lambda: time)), fraction_digits=digits)
    assert reply.attribute(SIGNING_TIME).chosen.dump() == encoded
    assert encoded[2:-1].decode() in reply.gen_time
    verify(reply, pki.der(pki.chain("p256"))[0])


def test_c08_signature_algorithm_identifiers(kind: str, body: bytes) -> None:
    parameters = b"\x05\x00" if kind.startswith("rsa") else b""
    identifier = core.ObjectIdentifier(SIGNATURES[kind][1]).dump() + parameters
    algorithm = signer_info(body)[4]
    assert algorithm == bytes((0x30, len(identifier))) + identifier


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("pss", [False, True])
def test_c07_rsa_digest_as_configured(digest: str, pss: bool) -> None:
    signer = TestSigner("rsa-2048", rsa_pss=pss, digest=digest)
    reply = issue(Parts(signers={"p256": signer}))
    verify(reply, pki.der(pki.chain("rsa-2048"))[0])
    info = reply.signer_info
    assert info["digest_algorithm"]["algorithm"].native == digest
    assert isinstance(info["digest_algorithm"]["parameters"], core.Void)
    assert info["signature_algorithm"]["algorithm"].native == ("rsassa_pss" if pss else "rsassa_pkcs1v15")
    if pss:
        parameters = info["signature_algorithm"]["parameters"]
        assert parameters["hash_algorithm"]["algorithm"].native == digest
        assert parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native == digest
        assert parameters["salt_length"].native == hashlib.new(digest).digest_size


@pytest.mark.parametrize(("kind_", "digest"), [("p256", "sha512"), ("p384", "sha256"), ("p521", "sha256")])
def test_c07_ecdsa_digest_as_configured(kind_: str, digest: str) -> None:
    reply = issue(Parts(signers={"p256": TestSigner(kind_, digest=digest)}))
    verify(reply, pki.der(pki.chain(kind_))[0])
    assert reply.signer_info["digest_algorithm"]["algorithm"].native == digest
    assert reply.signer_info["signature_algorithm"]["algorithm"].native == f"{digest}_ecdsa"


@pytest.mark.parametrize("kind_", ["ed25519", "ml-dsa-44"])
def test_c09_c10_a_digest_that_contradicts_the_key_is_refused(kind_: str) -> None:
    assert TestSigner(kind_, digest="sha512").algorithm.digest.name == "sha512"
    with pytest.raises(UnsupportedKey, match="sha512"):
        TestSigner(kind_, digest="sha256")


def test_c11_ess_cert_id_v2(kind: str, reply: ReadReply) -> None:
    leaf = pki.der(pki.chain(kind))[0]
    parsed = x509.Certificate.load(leaf)
    (ess_cert_ids,) = members(reply.attribute(SIGNING_CERTIFICATE_V2).dump())
    (ess_cert_id,) = members(ess_cert_ids)
    # hashAlgorithm would stand first; SHA-256 is its default and must not be written.
    cert_hash, issuer_serial = members(ess_cert_id)
    assert cert_hash == b"\x04\x20" + hashlib.sha256(leaf).digest()
    names, serial = members(issuer_serial)
    (name,) = members(names)
    assert name[0] == 0xA4
    assert members(name) == [parsed.issuer.dump()]
    assert serial == core.Integer(parsed.serial_number).dump()


def test_c12_sizes_are_stable_to_a_few_bytes(kind: str, service: Service) -> None:
    """PDF signers reserve the size of the last token and 32 bytes more."""
    sizes = [len(service.authority.respond(BODY, RequestContext()).der) for _ in range(12)]
    spread = max(sizes) - min(sizes)
    assert spread <= (8 if kind.startswith("p") else 0)
