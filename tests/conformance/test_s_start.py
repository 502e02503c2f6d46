"""Rule S8: the key is dedicated to timestamps, or the server does not start and one line says why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests import pki
from tests.conformance.plain_encoder import PlainRequest
from tests.conformance.replies import granted
from tests.serving import Parts, TestSigner, open_service
from tsa_core.api import ConfigError, KeyMismatch, RequestContext, SignerError, TsaError

NOW = datetime.now(UTC)
KEY = pki.key("p256")
CONSTRAINTS, USAGE, EXTENDED = pki.LEAF_EXTENSIONS
ROOT, INTERMEDIATE = pki.root(), pki.intermediate()


class ChainedSigner(TestSigner):
    """Brings a chain of the test's."""

    def __init__(self, chain: Sequence[x509.Certificate], kind: str = "p256") -> None:
        super().__init__(kind)
        self._chain = pki.der(chain)


def start(chain: Sequence[x509.Certificate], **settings: object) -> None:
    """Open a service with that chain and get a token from it."""
    with open_service(Parts(signers={"p256": ChainedSigner(chain)}), profiles={"default": settings}) as service:
        granted(service.authority.respond(PlainRequest().encode(), RequestContext()).der)


def one_line(error: TsaError) -> str:
    text = str(error)
    assert "\n" not in text
    assert "Traceback" not in text
    assert text.startswith("profiles.default")
    return text


def with_usages(*usages: x509.ObjectIdentifier, critical: bool = True) -> x509.Certificate:
    return pki.leaf(KEY, [CONSTRAINTS, USAGE, (x509.ExtendedKeyUsage(usages), critical)])


STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
BAD_LEAVES = {
    "EKU absent": (pki.leaf(KEY, [CONSTRAINTS, USAGE]), "extended key usage.*timeStamping.*none"),
    "EKU not critical": (with_usages(STAMPING, critical=False), "is not critical"),
    "EKU with another": (with_usages(STAMPING, ExtendedKeyUsageOID.CODE_SIGNING), "nothing else"),
    "EKU with another first": (with_usages(ExtendedKeyUsageOID.SERVER_AUTH, STAMPING), "nothing else"),
    "EKU with an unknown one": (with_usages(STAMPING, x509.ObjectIdentifier("1.2.3.4")), "1.2.3.4"),
    "EKU with any": (with_usages(STAMPING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), "nothing else"),
    "EKU another": (with_usages(ExtendedKeyUsageOID.CODE_SIGNING), "timeStamping"),
    "EKU twice": (with_usages(STAMPING, STAMPING), "nothing else"),
    "a CA": (pki.leaf(KEY, [*pki.ca_extensions(), EXTENDED]), "is a CA's"),
    "no signing": (
        pki.leaf(KEY, [CONSTRAINTS, (pki.key_usage(sign=False, encipher=True), True), EXTENDED]),
        "key usage",
    ),
    "signing and enciphering": (
        pki.leaf(KEY, [CONSTRAINTS, (pki.key_usage(sign=True, encipher=True), True), EXTENDED]),
        "allows more than signatures",
    ),
    "signing and issuing": (
        pki.leaf(KEY, [CONSTRAINTS, (pki.key_usage(sign=True, issue=True), True), EXTENDED]),
        "allows more than signatures",
    ),
    "ended": (pki.leaf(KEY, not_before=NOW - pki.days(2), not_after=NOW - pki.days(1)), "ended on"),
    "not begun": (pki.leaf(KEY, not_before=NOW + pki.days(1), not_after=NOW + pki.days(2)), "not valid before"),
    "another key's": (pki.leaf(pki.key("p384")), "is not the one"),
    "another kind of key's": (pki.leaf(pki.key("rsa-2048")), "RSA 2048"),
}


@pytest.mark.parametrize("name", BAD_LEAVES)
def test_s08_start_refuses_each_violation_with_one_line(name: str) -> None:
    leaf, pattern = BAD_LEAVES[name]
    with pytest.raises((ConfigError, KeyMismatch), match=pattern) as caught:
        start([leaf, INTERMEDIATE, ROOT])
    one_line(caught.value)


def ca(extensions: Sequence[tuple[x509.ExtensionType, bool]], **validity: datetime) -> x509.Certificate:
    return pki.certificate(
        pki.name("Conformance Intermediate"),
        pki.key("p384"),
        pki.name("Conformance Root"),
        pki.key("p256"),
        extensions,
        **validity,
    )


LEAF = pki.chain("p256")[0]
BAD_CHAINS = {
    "leaf alone": ([LEAF], "has 1 certificate"),
    "no root": ([LEAF, INTERMEDIATE], "not self-signed"),
    "no intermediate": ([LEAF, ROOT], "was not issued by"),
    "wrong order": ([LEAF, ROOT, INTERMEDIATE], "was not issued by"),
    "root first": ([ROOT, INTERMEDIATE, LEAF], "was not issued by|self-signed"),
    "17 certificates": ([LEAF, *[INTERMEDIATE] * 15, ROOT], "16 at most"),
    "intermediate ended": (
        [
            LEAF,
            ca(
                [*pki.ca_extensions(0), (pki.TIMESTAMPING, False)],
                not_before=NOW - pki.days(2),
                not_after=NOW - pki.days(1),
            ),
            ROOT,
        ],
        "ended on",
    ),
    "intermediate is no CA": ([LEAF, ca(pki.LEAF_EXTENSIONS), ROOT], "is no CA's"),
    "intermediate without constraints": ([LEAF, ca([(pki.TIMESTAMPING, False)]), ROOT], "is no CA's"),
    "intermediate without EKU": ([LEAF, ca(pki.ca_extensions(0)), ROOT], "enforce_intermediate_eku"),
    "intermediate with another EKU": (
        [LEAF, ca([*pki.ca_extensions(), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)]), ROOT],
        "timeStamping",
    ),
    "intermediate may not issue": (
        [
            LEAF,
            ca(
                [
                    (x509.BasicConstraints(ca=True, path_length=None), True),
                    (pki.key_usage(sign=True), True),
                    (pki.TIMESTAMPING, False),
                ]
            ),
            ROOT,
        ],
        "keyCertSign",
    ),
}


@pytest.mark.parametrize("name", BAD_CHAINS)
def test_s08_start_refuses_each_broken_chain_with_one_line(name: str) -> None:
    chain, pattern = BAD_CHAINS[name]
    with pytest.raises(ConfigError, match=pattern) as caught:
        start(chain)
    one_line(caught.value)


def test_s08_path_length_is_respected() -> None:
    """A root that allows no CA below it, above one."""
    own = pki.name("Conformance Root")
    narrow = pki.certificate(own, pki.key("p256"), own, pki.key("p256"), pki.ca_extensions(0))
    with pytest.raises(ConfigError, match="allows 0 CA") as caught:
        start([LEAF, INTERMEDIATE, narrow])
    one_line(caught.value)


def test_s08_good_chains_start() -> None:
    start([LEAF, INTERMEDIATE, ROOT])
    start([LEAF, ca(pki.ca_extensions(0)), ROOT], enforce_intermediate_eku=False)
    start([pki.leaf(KEY, [EXTENDED]), INTERMEDIATE, ROOT])
    commitment = x509.KeyUsage(
        digital_signature=False,
        content_commitment=True,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    start([pki.leaf(KEY, [CONSTRAINTS, (commitment, True), EXTENDED]), INTERMEDIATE, ROOT])


class ForgetfulSigner(TestSigner):
    """Claims one key and signs with another, as a backend does whose key was rotated."""

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        return self.algorithm.signing_function(pki.new_key("p256"))(message)


def test_s08_trial_signature_must_verify() -> None:
    with pytest.raises(SignerError, match="does not verify") as caught:
        open_service(Parts(signers={"p256": ForgetfulSigner()}))
    one_line(caught.value)


def test_s08_trial_signature_fails_with_the_signer() -> None:
    signer = TestSigner()
    signer.go_down()
    with pytest.raises(SignerError):
        open_service(Parts(signers={"p256": signer}))
