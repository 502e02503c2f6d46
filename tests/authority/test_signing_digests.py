"""Keys in memory are given digests, which makes the very signatures that their messages would get."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import pki
from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted, refused, verify
from tests.serving import Parts, TestSigner, open_service
from tsa_core.api import LocalKeySigner, RequestContext
from tsa_core.authority import Reply

REQUEST = PlainRequest(cert_req=True).encode()
SHORT_KINDS = ("rsa-2048", "p256", "p384", "p521", "ed25519", "ed448", "ml-dsa-65")


class KeyInMemory(LocalKeySigner):
    """Signs as LocalKeySigner does, as the signers memory, file and tink do."""

    def __init__(self, kind: str, *, rsa_pss: bool = False, digest: str | None = None) -> None:
        super().__init__(pki.key(kind), rsa_pss=rsa_pss, digest=digest)
        self._chain = pki.der(pki.chain(kind))

    def certificate_chain(self) -> Sequence[bytes]:
        return self._chain


def reply(signer: LocalKeySigner, **profile: object) -> Reply:
    with open_service(Parts(signers={"p256": signer}), profiles={"default": profile}) as service:
        return service.authority.respond(REQUEST, RequestContext(request_id="7"))


@pytest.mark.parametrize(
    "signer",
    [
        *(pytest.param(KeyInMemory(kind), id=kind) for kind in SHORT_KINDS),
        pytest.param(KeyInMemory("rsa-2048", rsa_pss=True), id="rsa-pss"),
        pytest.param(KeyInMemory("p256", digest="sha512"), id="p256-sha512"),
    ],
)
def test_tokens_verify(signer: KeyInMemory) -> None:
    assert (signer.sign_digest is not None) == (signer.algorithm.scheme in {"ecdsa", "rsa-pkcs1v15", "rsa-pss"})
    for settings in ({}, {"verify_signatures": True}):
        verify(granted(reply(signer, **settings).der), signer.certificate_chain()[0])


class Counting(TestSigner):
    """Has a `sign` of its own."""

    messages = 0

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        self.messages += 1
        return super().sign(message, timeout=timeout)


def test_a_class_with_its_own_sign_is_asked_by_it() -> None:
    signer = Counting()
    assert signer.sign_digest is None
    verify(granted(reply(signer).der), signer.certificate_chain()[0])
    assert signer.messages == 2  # one for the trial at start


def test_a_key_that_fails_is_a_refusal_and_a_line_for_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    signer = KeyInMemory("p256")
    works = signer.sign_digest
    assert works is not None
    left = [works]

    def sign_once(digest: bytes) -> bytes:
        return left.pop()(digest)

    signer.sign_digest = sign_once
    text = refused(reply(signer).der, "03050600000040")
    assert text == "the timestamp cannot be signed now; try again later"
    assert "request 7: the signer plugin 'test' of profile 'default' crashed" in caplog.text


class Distant(KeyInMemory):
    """A key in memory that says that it waits, and signs digests."""

    latency = "remote"


def test_signer_that_waits_may_sign_digests() -> None:
    """In its thread it is asked for what was hashed for it; else the token would not verify."""
    with open_service(Parts(signers={"p256": Distant("p256")})) as service:
        profile = service.authority.profiles["default"]
        assert profile.waits
        assert profile.digest is not None
        assert service.authority.respond(REQUEST, RequestContext()).rejection is None
