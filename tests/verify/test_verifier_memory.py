"""What a Verifier remembers: faster, and never another answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tsa_core.protocol.hashes import SHA256
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import ca_extensions, issue, make_chain, signer_extensions
from tsa_core.verify import PathError, TrustStore, VerificationError, Verifier
from tsa_core.verify import verifier as verifier_module

CHAIN = make_chain()
ROOT_ONLY = TrustStore(roots=(CHAIN.root.certificate,))
BOTH = [CHAIN.signer.der, CHAIN.intermediate.der]


def reply(bag: list[bytes], **info: Any) -> bytes:
    return forge.reply(forge.token(CHAIN.signer, forge.tst_info(**info), certificates=bag))


def test_what_one_token_carried_does_not_help_another() -> None:
    verifier = Verifier(ROOT_ONLY)
    assert verifier.verify_response(reply(BOTH), artifact=b"hello").status == 0
    with pytest.raises(PathError):
        verifier.verify_response(reply([CHAIN.signer.der]), artifact=b"hello")


def test_a_remembered_path_is_not_used_outside_of_its_validity() -> None:
    signer = issue(
        "Short",
        issuer=CHAIN.root,
        extensions=signer_extensions(),
        not_after=forge.GEN_TIME + timedelta(hours=1),
    )
    verifier = Verifier(ROOT_ONLY)

    def at(hours: int) -> bytes:
        info = forge.tst_info(gen_time=forge.GEN_TIME + timedelta(hours=hours))
        return forge.reply(forge.token(signer, info, certificates=[signer.der]))

    for hours in (0, 1, -5):
        assert verifier.verify_response(at(hours), artifact=b"hello").path[0] == signer.certificate
    with pytest.raises(PathError, match="ended at"):
        verifier.verify_response(at(2), artifact=b"hello")
    assert verifier.verify_response(at(0), artifact=b"hello").path[0] == signer.certificate


def test_another_path_is_found_when_the_remembered_one_has_ended() -> None:
    key = CHAIN.intermediate.key
    later = forge.GEN_TIME + timedelta(days=10)
    old = issue("Intermediate", issuer=CHAIN.root, key=key, extensions=ca_extensions(), not_after=later)
    new = issue("Intermediate", issuer=CHAIN.root, key=key, extensions=ca_extensions(), not_before=later)
    bag = [CHAIN.signer.der, old.der, new.der]
    verifier = Verifier(ROOT_ONLY)
    for time, expected in ((forge.GEN_TIME, old), (later + timedelta(days=1), new), (forge.GEN_TIME, old)):
        result = verifier.verify_response(reply(bag, gen_time=time), artifact=b"hello")
        assert result.path[1] == expected.certificate


def test_signature_and_digest_are_checked_every_time() -> None:
    verifier = Verifier(ROOT_ONLY)
    good = reply(BOTH)
    assert verifier.verify_response(good, artifact=b"hello").status == 0
    for position in range(len(good) - 40, len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        with pytest.raises(VerificationError):
            verifier.verify_response(bytes(changed), artifact=b"hello")
    with pytest.raises(VerificationError):
        verifier.verify_response(good, artifact=b"hell0")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier_module, "_MAX_PATHS", 3)
    verifier = Verifier(ROOT_ONLY)
    for number in range(10):
        stuffing = issue(f"Stuffing {number}").der
        assert verifier.verify_response(reply([*BOTH, stuffing]), artifact=b"hello").status == 0
    assert len(verifier._paths) == 3
    monkeypatch.setattr(verifier_module, "_MAX_CACHED_OCTETS", 100)
    verifier.forget()
    verifier.verify_response(reply(BOTH), artifact=b"hello")
    assert len(verifier._paths) == 0


def test_many_threads() -> None:
    verifier = Verifier(TrustStore.from_chain(CHAIN.pem))
    replies = [reply(BOTH, nonce=number) for number in range(20)]

    def verify(number: int) -> bool:
        if number % 7 == 0:
            verifier.forget()
        result = verifier.verify_response(replies[number % 20], digest=SHA256.digest(b"hello"))
        return result.tst_info.nonce == number % 20

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(verify, range(400)))
