"""Bits flipped in CRLs and OCSP responses: nothing but a verdict comes out, and a revocation never disappears."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest

from tests.paths.revocation_material import CHAIN, DAY, GEN_TIME, RECENTLY, check, path_of
from tsa_core.paths.errors import VerificationError
from tsa_core.protocol import der
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.testing.forged_pki import issue, signer_extensions
from tsa_core.testing.forged_revocation import (
    archive_cutoff,
    basic_response,
    crl,
    entry,
    keeps_expired,
    ocsp_response,
    scope,
    single,
)

FLIPS = 2000
CA = CHAIN.intermediate
OTHER = issue("Other", issuer=CA, extensions=signer_extensions())
PATH = path_of(CHAIN.signer)

REVOKING_CRL = crl(
    CA,
    entry(OTHER, GEN_TIME, 1, invalid_since=GEN_TIME),
    entry(CHAIN.signer, GEN_TIME + DAY, 1),
    this_update=RECENTLY,
    extensions=[scope(only_contains_user_certs=True), keeps_expired(GEN_TIME)],
)
REVOKING_RESPONSE = ocsp_response(
    basic_response(
        CA,
        single(OTHER, CA, this_update=RECENTLY, extensions=[archive_cutoff(GEN_TIME)]),
        single(CHAIN.signer, CA, this_update=RECENTLY, revoked=GEN_TIME + DAY, reason=1),
        produced_at=RECENTLY,
        certificates=[OTHER.der],
    )
)


@pytest.mark.parametrize(
    ("data", "verify"),
    [
        (REVOKING_CRL, lambda flipped: check(("f", flipped), path=PATH)),
        (REVOKING_RESPONSE, lambda flipped: check(ocsp=[("f", flipped)], path=PATH)),
    ],
    ids=["CRL", "OCSP response"],
)
def test_no_flipped_bit_verifies_or_crashes(data: bytes, verify: Callable[[bytes], object]) -> None:
    generator = random.Random(17)
    places = generator.sample(range(len(data) * 8), min(FLIPS, len(data) * 8))
    while len(places) < FLIPS:
        places.append(-1)  # short evidence: pairs of bits instead
    for place in places:
        flipped = bytearray(data)
        bits = [place] if place >= 0 else generator.sample(range(len(data) * 8), 2)
        for bit in bits:
            flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            verify(bytes(flipped))


RESIGNED = 1000


def signed_again(signed: bytes) -> tuple[bytes, bytes]:
    """Return the signature algorithm and a BIT STRING with the CA's signature on these bytes."""
    algorithm = signature_algorithm(CA.certificate.public_key())
    signature = algorithm.signing_function(CA.key)(signed)
    return algorithm.identifier, der.tlv(der.BIT_STRING, b"\x00" + signature)


def tbs(data: bytes, *steps: int) -> bytes:
    """Return the first value inside `data`, after entering a value for each step, which says how many to pass."""
    start, end = 0, len(data)
    for step in steps:
        _, start, end = der.read(data, start, end)
        for _ in range(step):
            start = der.read(data, start, end)[2]
    return data[start : der.read(data, start, end)[2]]


def crl_around(signed: bytes) -> bytes:
    return der.sequence(signed, *signed_again(signed))


def response_around(signed: bytes) -> bytes:
    return ocsp_response(der.sequence(signed, *signed_again(signed)))


@pytest.mark.parametrize(
    ("signed", "around", "verify"),
    [
        (tbs(REVOKING_CRL, 0), crl_around, lambda data: check(("f", data), path=PATH)),
        (tbs(REVOKING_RESPONSE, 1, 0, 1, 0, 0), response_around, lambda data: check(ocsp=[("f", data)], path=PATH)),
    ],
    ids=["CRL", "OCSP response"],
)
def test_an_authority_that_signs_nonsense_crashes_nothing(
    signed: bytes, around: Callable[[bytes], bytes], verify: Callable[[bytes], object]
) -> None:
    with pytest.raises(VerificationError, match="was revoked"):
        verify(around(signed))
    generator = random.Random(18)
    for place in generator.choices(range(len(signed) * 8), k=RESIGNED):
        flipped = bytearray(signed)
        flipped[place // 8] ^= 1 << place % 8
        with contextlib.suppress(VerificationError):
            verify(around(bytes(flipped)))
