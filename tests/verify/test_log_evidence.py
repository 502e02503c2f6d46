"""V22: a proof from a log counts when a trusted log signed it, and enough witnesses cosigned it in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import pytest

from tsa_core.protocol.transparency.checkpoint import Checkpoint, SignedCheckpoint
from tsa_core.protocol.transparency.leaf import entry_of, read_entry
from tsa_core.protocol.transparency.log_proof import LogProof
from tsa_core.protocol.transparency.merkle import leaf_hash, node_hash
from tsa_core.protocol.transparency.note import SignatureType, SignedNote
from tsa_core.protocol.transparency.policy import LogPolicy, threshold_policy
from tsa_core.protocol.transparency.signing import NoteSigner
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.verify import LogProofError, verify_log_proof

ORIGIN = "log.example/tsa"
LOG = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))
WITNESSES = [NoteSigner(f"w{n}.example", SignatureType.COSIGNATURE_ED25519, bytes([n] * 32)) for n in (1, 2, 3)]
POST_QUANTUM = NoteSigner("pq.example", SignatureType.COSIGNATURE_ML_DSA_44, bytes(32))
CHAIN = make_chain()
REPLY = forge.reply(forge.token(CHAIN.signer))
GEN_TIME = forge.GEN_TIME
NEIGHBOUR = leaf_hash(b"another entry")


def proof(
    *cosigned: tuple[NoteSigner, timedelta], reply: bytes = REPLY, log: NoteSigner | None = LOG, origin: str = ORIGIN
) -> LogProof:
    """Return the proof of entry 1 of two, cosigned at these distances from genTime."""
    root = node_hash(NEIGHBOUR, leaf_hash(entry_of(reply).encode()))
    checkpoint = Checkpoint(origin, 2, root)
    lines = [log.sign(checkpoint)] if log is not None else []
    lines += [signer.sign(checkpoint, seconds=seconds(GEN_TIME + distance)) for signer, distance in cosigned]
    return LogProof(1, (NEIGHBOUR,), SignedCheckpoint(SignedNote(checkpoint.text, tuple(lines)), checkpoint))


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def policy(threshold: int, witnesses: Sequence[NoteSigner] = WITNESSES) -> LogPolicy:
    return threshold_policy([LOG.key], [signer.key for signer in witnesses], threshold)


def refused(found: LogProof, threshold: int = 1, *, reply: bytes = REPLY) -> str:
    with pytest.raises(LogProofError) as caught:
        verify_log_proof(reply, found.encode(), policy=policy(threshold))
    assert caught.value.rule == "V22"
    return str(caught.value)


def after(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_a_timestamp_that_two_witnesses_saw_in_time() -> None:
    found = proof((WITNESSES[0], after(5)), (WITNESSES[2], after(2)), (WITNESSES[1], after(61)))
    evidence = verify_log_proof(REPLY, found.encode(), policy=policy(2))
    assert (evidence.origin, evidence.index, evidence.size) == (ORIGIN, 1, 2)
    assert [each.key.name for each in evidence.witnesses] == ["w3.example", "w1.example"]
    assert evidence.seen_by == GEN_TIME + after(5)


def test_the_entry_of_a_token_is_that_of_its_reply() -> None:
    token = forge.token(CHAIN.signer)
    entry = entry_of(token)
    assert read_entry(entry.encode()) == entry
    found = proof((WITNESSES[0], after(1)), reply=forge.reply(token))
    assert verify_log_proof(token, found.encode(), policy=policy(1)).index == 1


def test_witnesses_of_both_kinds_count() -> None:
    found = proof((WITNESSES[0], after(1)), (POST_QUANTUM, after(2)))
    evidence = verify_log_proof(REPLY, found.encode(), policy=policy(2, [WITNESSES[0], POST_QUANTUM]))
    assert evidence.seen_by == GEN_TIME + after(2)


def test_without_witnesses_nothing_bounds_the_time() -> None:
    evidence = verify_log_proof(REPLY, proof().encode(), policy=policy(0))
    assert evidence.seen_by is None


@pytest.mark.parametrize("distance", [61, 86_400, -61, -86_400])
def test_a_witness_far_from_gen_time_does_not_count(distance: int) -> None:
    """A token dated yesterday that is logged today; or one dated tomorrow."""
    text = refused(proof((WITNESSES[0], after(distance))))
    assert f"{abs(distance)} s {'after' if distance > 0 else 'before'} genTime" in text


def test_how_long_a_witness_may_take_is_the_verifiers_choice() -> None:
    found = proof((WITNESSES[0], after(90))).encode()
    assert verify_log_proof(REPLY, found, policy=policy(1), delay=after(120)).seen_by == GEN_TIME + after(90)


def test_one_witness_twice_is_one() -> None:
    found = proof((WITNESSES[0], after(1)), (WITNESSES[0], after(2)), (WITNESSES[0], after(70)))
    assert "2 of w1, w2, w3" in refused(found, 2)


def test_a_stranger_is_no_witness() -> None:
    stranger = NoteSigner.generate(WITNESSES[0].key.name, SignatureType.COSIGNATURE_ED25519)
    assert "none of the known witnesses" in refused(proof((stranger, after(1))))


def test_the_log_must_have_signed_in_its_own_name() -> None:
    other = NoteSigner.generate(ORIGIN, SignatureType.ED25519)
    assert "not signed by the log" in refused(proof((WITNESSES[0], after(1)), log=None))
    assert "not signed by the log" in refused(proof((WITNESSES[0], after(1)), log=other))
    assert "none that is trusted" in refused(proof((WITNESSES[0], after(1)), origin="elsewhere.example"))


def test_a_proof_is_for_its_token_alone() -> None:
    other = forge.reply(forge.token(CHAIN.signer, forge.tst_info(serial_number=0x4321)))
    assert "of another entry" in refused(proof((WITNESSES[0], after(1))), reply=other)


def test_the_same_statement_signed_again_is_another_token() -> None:
    """Whoever has the key can sign the TSTInfo of a logged token again; the signature is part of the entry."""
    again = forge.reply(forge.token(CHAIN.signer))
    assert again != REPLY
    assert "of another entry" in refused(proof((WITNESSES[0], after(1))), reply=again)


def test_no_octet_of_a_proof_can_be_changed() -> None:
    """Every octet but the log's alternatives: a changed proof is refused, or proves the very same."""
    data = proof((WITNESSES[0], after(5)), (WITNESSES[1], after(2))).encode()
    verify = partial(verify_log_proof, REPLY, policy=policy(2))
    good = verify(data)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        try:
            assert verify(bytes(changed)) == good
        except LogProofError:
            continue


@pytest.mark.parametrize("data", [b"", b"c2sp.org/tlog-proof@v1\n", b"\xff" * 100], ids=["nothing", "a line", "octets"])
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(LogProofError, match="cannot be used"):
        verify_log_proof(REPLY, data, policy=policy(1))
    with pytest.raises(LogProofError, match="cannot be used"):
        verify_log_proof(data, proof().encode(), policy=policy(0))
