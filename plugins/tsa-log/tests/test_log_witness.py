"""What a witness cosigns, and what it does not."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tsa_core.api import AuthorityAccess, ClockReport, ConfigError, ProfileReport, RouteReply, RouteRequest
from tsa_core.api.transparency import (
    EMPTY_ROOT,
    Checkpoint,
    NoteSigner,
    SignatureType,
    SignedCheckpoint,
    SignedNote,
    consistency_path,
    leaf_hash,
    parse_signatures,
    tree_root,
)
from tsa_core.testing import on_threads
from tsa_log.options import WitnessRoutesOptions
from tsa_log.witness_routes import WitnessRoutes, open_witness, parse_submission

from .logs import LOG_KEY, ORIGIN, WITNESS_KEY

LEAVES = [leaf_hash(str(number).encode()) for number in range(64)]
FORK = [leaf_hash(b"another history"), *LEAVES[1:]]


def hash_of(leaves: Sequence[bytes], level: int, index: int) -> bytes:
    from tsa_core.api.transparency import node_hash

    if level == 0:
        return leaves[index]
    return node_hash(hash_of(leaves, level - 1, 2 * index), hash_of(leaves, level - 1, 2 * index + 1))


def root(size: int, leaves: Sequence[bytes] = LEAVES) -> bytes:
    return tree_root(size, lambda level, index: hash_of(leaves, level, index))


def body(
    old: int,
    size: int,
    *,
    leaves: Sequence[bytes] = LEAVES,
    signer: NoteSigner = LOG_KEY,
    proof: list[bytes] | None = None,
) -> bytes:
    """Return what a log sends."""
    checkpoint = Checkpoint(signer.key.name, size, root(size, leaves))
    path = proof
    if path is None:
        path = (
            consistency_path(old, size, lambda level, index: hash_of(leaves, level, index)) if 0 < old <= size else []
        )
    lines = [f"old {old}", *(base64.b64encode(each).decode() for each in path), ""]
    return (
        "".join(f"{line}\n" for line in lines).encode()
        + SignedNote(checkpoint.text, (signer.sign(checkpoint),)).encode()
    )


def options(folder: Path) -> WitnessRoutesOptions:
    table = {"directory": str(folder), "key": WITNESS_KEY.text(), "logs": [{"key": str(LOG_KEY.key)}]}
    return WitnessRoutesOptions.model_validate(table)


@pytest.fixture
def witness(tmp_path: Path) -> WitnessRoutes:
    return open_witness(options(tmp_path))


def add(witness: WitnessRoutes, data: bytes) -> RouteReply:
    [route] = [each for each in witness.routes() if each.path == "/witness/add-checkpoint"]
    assert not isinstance(route.answer, RouteReply)
    return route.answer(RouteRequest(method="POST", path=route.path, body=data))


def test_a_log_that_grows_is_cosigned(witness: WitnessRoutes) -> None:
    for old, size in ((0, 0), (0, 5), (5, 5), (5, 8), (8, 64)):
        before = datetime.now(UTC).replace(microsecond=0)
        reply = add(witness, body(old, size))
        assert reply.status == 200, reply.body
        checkpoint = Checkpoint(ORIGIN, size, root(size))
        note = SignedNote(checkpoint.text, parse_signatures(reply.body.decode()))
        [cosignature] = SignedCheckpoint(note, checkpoint).signed_by([WITNESS_KEY.key])
        assert cosignature.time is not None
        assert before <= cosignature.time <= datetime.now(UTC) + timedelta(seconds=1)


def test_a_fork_is_never_cosigned(witness: WitnessRoutes, tmp_path: Path) -> None:
    assert add(witness, body(0, 5)).status == 200
    assert add(witness, body(5, 8, leaves=FORK)).status == 422
    assert add(witness, body(5, 5, leaves=FORK)).status == 409
    honest = consistency_path(5, 8, lambda level, index: hash_of(LEAVES, level, index))
    assert add(witness, body(5, 8, leaves=FORK, proof=honest)).status == 422
    assert add(witness, body(5, 8, proof=honest[:-1])).status == 422
    assert add(witness, body(0, 8, leaves=FORK)).status == 409
    again = open_witness(options(tmp_path))  # it has not forgotten
    assert add(again, body(0, 8, leaves=FORK)).status == 409
    assert add(again, body(5, 8)).status == 200


class Access(AuthorityAccess):
    """Knows of a clock what a test says."""

    def __init__(self) -> None:
        self.trusted = False

    def profiles(self) -> Sequence[ProfileReport]:
        return ()

    def clock(self) -> ClockReport:
        return ClockReport(state="any", trusted=self.trusted, text="")

    def issue(self, query: bytes, request: RouteRequest, *, profile: str | None = None) -> bytes:
        raise NotImplementedError


def test_nothing_is_cosigned_with_a_clock_that_cannot_be_trusted(witness: WitnessRoutes) -> None:
    access = Access()
    witness.bind(access)
    reply = add(witness, body(0, 5))
    assert (reply.status, reply.body) == (503, b"the clock of this witness cannot be trusted now\n")
    access.trusted = True
    assert add(witness, body(0, 5)).status == 200
    access.trusted = False
    assert add(witness, body(5, 8)).status == 503
    access.trusted = True
    assert add(witness, body(5, 8)).status == 200


def test_a_log_learns_the_size_that_was_cosigned(witness: WitnessRoutes) -> None:
    add(witness, body(0, 8))
    reply = add(witness, body(5, 8))
    assert (reply.status, reply.body, reply.content_type) == (409, b"8\n", "text/x.tlog.size")


def test_an_old_checkpoint_is_not_cosigned_again(witness: WitnessRoutes) -> None:
    add(witness, body(0, 8))
    assert add(witness, body(0, 5)).status == 409
    assert add(witness, body(8, 5)).status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"old 0\n\n", 400),
        (body(0, 5).replace(b"old 0", b"old 00"), 400),
        (body(0, 5).replace(b"old 0", b"old -1"), 400),
        (body(0, 5, proof=[bytes(32)] * 64), 400),
        (body(0, 5, proof=[bytes(32)]), 422),
        (body(0, 5).replace(b"log.example", b"log.elsewhere"), 404),
        (body(0, 5, signer=NoteSigner(ORIGIN, SignatureType.ED25519, bytes(32))), 403),
        (body(0, 5).replace(b"\n5\n", b"\n6\n"), 403),
        (b"\xff" * 60_000, 400),
    ],
    ids=[
        "empty",
        "no note",
        "zeros",
        "sign",
        "long",
        "proof of nothing",
        "unknown log",
        "other key",
        "changed",
        "octets",
    ],
)
def test_what_is_no_submission_is_refused(witness: WitnessRoutes, data: bytes, status: int) -> None:
    assert add(witness, data).status == status
    assert add(witness, body(0, 5)).status == 200


def test_the_request_that_the_specification_prints() -> None:
    """c2sp.org/tlog-witness, the example of add-checkpoint."""
    found = parse_submission(
        """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa \
opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()
    )
    assert found.old == 20_852_014
    assert len(found.path) == 4
    assert found.signed.checkpoint[:2] == ("example.com/behind-the-sofa", 20_852_163)
    assert len(found.signed.note.signatures) == 2


def test_an_empty_tree_has_one_root(witness: WitnessRoutes) -> None:
    checkpoint = Checkpoint(ORIGIN, 0, bytes(32))
    note = SignedNote(checkpoint.text, (LOG_KEY.sign(checkpoint),))
    assert add(witness, b"old 0\n\n" + note.encode()).status == 422
    assert root(0) == EMPTY_ROOT


def test_of_two_histories_at_once_one_is_cosigned(witness: WitnessRoutes) -> None:
    histories = [[leaf_hash(bytes([number])), *LEAVES[1:]] for number in range(8)]
    replies = on_threads(lambda number: add(witness, body(0, 5, leaves=histories[number])).status, range(8))
    assert sorted(replies) == [200] + [409] * 7


def test_a_damaged_memory_cosigns_nothing(witness: WitnessRoutes, tmp_path: Path) -> None:
    add(witness, body(0, 5))
    [kept] = tmp_path.glob("*.checkpoint")
    kept.write_bytes(kept.read_bytes()[:20])
    assert add(witness, body(0, 5)).status == 500
    assert add(witness, body(5, 8)).status == 500


def test_a_key_of_a_log_is_none_for_a_witness(tmp_path: Path) -> None:
    table = {"directory": str(tmp_path), "key": LOG_KEY.text(), "logs": [{"key": str(LOG_KEY.key)}]}
    with pytest.raises(ConfigError, match="witness keygen"):
        open_witness(WitnessRoutesOptions.model_validate(table))
