"""Replies with the oddities of other authorities' replies, and the outcome that each must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tests.verify import foreign_tokens as foreign
from tsa_core.protocol.hashes import SHA256, SHA384, SHA512
from tsa_core.protocol.reply import read_reply, read_signer_info, read_token
from tsa_core.protocol.request import encode_request
from tsa_core.protocol.tstinfo_reader import read_tst_info
from tsa_core.verify import (
    ImprintMismatch,
    MalformedTimestamp,
    NonceMismatch,
    PathError,
    SignatureInvalid,
    SignerCertificateMissing,
    TrustStore,
    VerificationError,
    Verifier,
)
from tsa_core.verify.algorithms import digest_algorithm, signature_scheme


@dataclass(frozen=True, kw_only=True)
class Case:
    """A reply, the file of what is trusted, what it is about, and how it must end."""

    name: str
    reply: Callable[[], bytes]
    trusted: Callable[[], bytes]
    outcome: type[VerificationError] | str
    """The error, or the common name of the signer."""
    artifact: bytes | None = b"hello"
    """None: the digest in the token is taken as given."""


def three() -> bytes:
    return foreign.three_levels().pem


def two() -> bytes:
    return foreign.pem(*reversed(foreign.two_levels()))


def changed(reply: bytes) -> bytes:
    """The last octet is the signature's."""
    return reply[:-1] + bytes([reply[-1] ^ 0x01])


def hexadecimal() -> bytes:
    return SHA256.digest(b"hello").hex().encode()


ACCEPTED = [
    Case(name="imprint of SHA-256", reply=foreign.reply_of_two_levels, trusted=two, outcome="Two-level signer"),
    Case(
        name="imprint and ESSCertIDv2 of SHA-384 under SHA-256",
        reply=lambda: foreign.reply_of_two_levels(SHA384),
        trusted=two,
        outcome="Two-level signer",
    ),
    Case(
        name="imprint and ESSCertIDv2 of SHA-512 under SHA-256",
        reply=lambda: foreign.reply_of_two_levels(SHA512),
        trusted=two,
        outcome="Two-level signer",
    ),
    Case(
        name="no certificates, the signer's is in the chain file",
        reply=lambda: foreign.reply_of_two_levels(certificates=False),
        trusted=two,
        outcome="Two-level signer",
    ),
    Case(name="root, intermediate and signer", reply=foreign.reply_of_three_levels, trusted=three, outcome="Signer"),
    Case(
        name="certificates injected ahead of the signer's",
        reply=lambda: foreign.reply_of_three_levels(*foreign.injected()),
        trusted=three,
        outcome="Signer",
    ),
    Case(
        name="chain expired since, negative serial number",
        reply=foreign.reply_of_the_expired,
        trusted=lambda: foreign.pem(*reversed(foreign.expired())),
        artifact=foreign.PAYLOAD,
        outcome="Expired signer",
    ),
    Case(
        name="unsorted certificates, ESSCertID, the file of the root is DER",
        reply=foreign.reply_of_the_commercial,
        trusted=lambda: foreign.commercial().root.der,
        outcome="Signer",
    ),
    Case(
        name="ESSCertID, ordering, no accuracy, the root in the token",
        reply=foreign.reply_of_the_free,
        trusted=lambda: foreign.pem(foreign.free_of_charge()[0]),
        outcome="www.example.org",
    ),
]
REFUSED = [
    Case(
        name="another artifact",
        reply=foreign.reply_of_three_levels,
        trusted=three,
        artifact=b"hell0",
        outcome=ImprintMismatch,
    ),
    Case(name="another's chain", reply=foreign.reply_of_three_levels, trusted=two, outcome=PathError),
    Case(
        name="another's chain, and no certificates",
        reply=lambda: foreign.reply_of_two_levels(certificates=False),
        trusted=three,
        outcome=SignerCertificateMissing,
    ),
    Case(
        name="a broken signature",
        reply=lambda: changed(foreign.reply_of_two_levels()),
        trusted=two,
        outcome=SignatureInvalid,
    ),
    Case(
        name="the digits of a digest in place of the digest",
        reply=lambda: foreign.reply_of_two_levels(digest=hexadecimal()),
        trusted=two,
        artifact=None,
        outcome=ImprintMismatch,
    ),
    Case(
        name="cut off",
        reply=lambda: foreign.reply_of_two_levels(certificates=False)[:-15],
        trusted=two,
        outcome=MalformedTimestamp,
    ),
]


def verify(case: Case) -> x509.Certificate:
    reply = case.reply()
    digest = None
    if case.artifact is None:
        token = read_reply(reply).token
        assert token is not None
        digest = read_tst_info(token.content).hashed_message
    verifier = Verifier(TrustStore.from_chain(case.trusted()))
    return verifier.verify_response(reply, artifact=case.artifact, digest=digest).signer_certificate


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_an_odd_reply_that_is_right_verifies(case: Case) -> None:
    names = verify(case).subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    assert [name.value for name in names] == [case.outcome]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_reply_that_is_wrong_is_refused_for_its_reason(case: Case) -> None:
    with pytest.raises(VerificationError) as caught:
        verify(case)
    assert type(caught.value) is case.outcome


def test_a_reply_answers_its_own_request_alone() -> None:
    own, other = (
        encode_request(algorithm=SHA512, digest=SHA512.digest(b"hello"), nonce=nonce, cert_req=True)
        for nonce in (0x36A4, 0x36A5)
    )
    verifier = Verifier(TrustStore.from_chain(three()))
    assert verifier.verify_response(foreign.reply_of_three_levels(), request=own).tst_info.nonce == 0x36A4
    with pytest.raises(NonceMismatch):
        verifier.verify_response(foreign.reply_of_three_levels(), request=other)


@pytest.mark.parametrize("kind", ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
def test_ml_dsa_signs_the_attributes_as_rfc_9882_says(kind: str) -> None:
    signer, data = foreign.cms_of_ml_dsa(kind, b"signed data with signed attributes")
    info = read_signer_info(read_token(data).signers[0])
    digest = digest_algorithm(info.digest_algorithm_der, "the message digest")
    scheme = signature_scheme(info.signature_algorithm_der, digest)
    key = signer.key.public_key()
    scheme.verify(key, info.signature, info.signed_attributes_der)
    with pytest.raises(InvalidSignature):
        scheme.verify(key, info.signature, info.signed_attributes_der + b"\x00")
