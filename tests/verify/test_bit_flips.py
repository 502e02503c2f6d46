"""2,000 bits flipped in a token, 2,000 in a chain: a verdict each time, never another exception."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

from tsa_core.protocol import der
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.verify import TrustStore, VerificationError, Verifier

FLIPS = 2_000
RULES = {f"V{number}" for number in range(1, 21)}
CHAIN = make_chain("ed25519")
TSA = der.tlv(0xA4, certificate_fields(CHAIN.signer.der).subject)
TOKEN = forge.token(
    CHAIN.signer,
    forge.tst_info(nonce=7, accuracy=Accuracy(microseconds=1), tsa=TSA, extensions=[forge.extension("1.2.3")]),
    certificates=[CHAIN.signer.der, CHAIN.intermediate.der],
)


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


def pem(certificate: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(certificate) + b"-----END CERTIFICATE-----\n"


def outcomes(data: bytes, verify: Callable[[bytes], object]) -> list[int]:
    """Return the positions, in bytes, at which a flip was accepted."""
    accepted: list[int] = []
    errors: list[VerificationError] = []
    for position in random.Random(161).choices(range(8 * len(data)), k=FLIPS):
        try:
            verify(flipped(data, position))
        except VerificationError as error:
            errors.append(error)
        else:
            accepted.append(position // 8)
    assert all(error.rule in RULES and "\n" not in str(error) for error in errors)
    assert len(errors) + len(accepted) == FLIPS
    return accepted


def test_flips_of_a_token() -> None:
    verifier = Verifier(TrustStore(roots=(CHAIN.root.certificate,)))
    assert outcomes(TOKEN, lambda data: verifier.verify_token(data, artifact=b"hello")) == []


def test_flips_of_a_chain_as_the_caller_gives_it() -> None:
    bare = forge.token(CHAIN.signer)

    def verify(data: bytes) -> object:
        parts = (data[: lengths[0]], data[lengths[0] : lengths[1]], data[lengths[1] :])
        pem = b"".join(
            b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(part) + b"-----END CERTIFICATE-----\n"
            for part in parts
        )
        return Verifier(TrustStore.from_chain(pem)).verify_token(bare, artifact=b"hello")

    ders = [CHAIN.signer.der, CHAIN.intermediate.der, CHAIN.root.der]
    lengths = (len(ders[0]), len(ders[0]) + len(ders[1]))
    # What the caller trusts is trusted as it is given, even if a bit of it is wrong; what it vouches for must be right.
    accepted = outcomes(b"".join(ders), verify)
    assert all(position >= lengths[1] for position in accepted)
    assert len(accepted) < FLIPS // 100
