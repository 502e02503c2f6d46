"""BouncyCastle and DSS validate our evidence records, and we verify those that BouncyCastle makes (RFC 4998)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.evidence.authorities import Authority, at, trusting
from tests.interop.builds import LANGUAGES, NoToolchain, built, not_on_this_machine
from tsa_core.evidence import (
    DataGroup,
    EvidenceRecord,
    make_records,
    renew_hash_trees,
    renew_timestamps,
    verify_record,
)

FIRST = Authority("First", "rsa3072", start=at(2020), end=at(2030))
SECOND = Authority("Second", "p256", start=at(2022), end=at(2032))
GROUP = DataGroup((b"letter", b"annex A", b"annex B"))
ITEMS: tuple[bytes | DataGroup, ...] = (b"one", GROUP, *(bytes([number]) for number in range(40)))
PLACES = {"one": 0, "group": 1, "last": 41}
"""What is judged: a record of one object, of the group, and of another leaf."""


class Judge:
    """BouncyCastle and DSS in a process of their own for each question."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str | Path) -> list[str]:
        program, *start = LANGUAGES["ers"].start
        command = [shutil.which(program) or program, *start, *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def judge() -> Judge:
    try:
        return Judge(built("ers"))
    except NoToolchain as error:
        not_on_this_machine(str(error))


def put(folder: Path, name: str, record: EvidenceRecord, item: bytes | DataGroup, signer: Authority) -> None:
    (folder / f"{name}.ers").write_bytes(record.encode())
    (folder / f"{name}.signer.cer").write_bytes(signer.signer.der)
    members = item.members if isinstance(item, DataGroup) else (item,)
    objects = folder / f"{name}.{'group' if isinstance(item, DataGroup) else 'single'}"
    objects.mkdir()
    for number, member in enumerate(members):
        assert isinstance(member, bytes)
        (objects / str(number)).write_bytes(member)


def stages() -> dict[str, tuple[Sequence[EvidenceRecord], Authority]]:
    """Return the records after each renewal, with the authority of the last one."""
    made = make_records(ITEMS, FIRST.at(at(2022)))
    again = renew_timestamps(made, SECOND.at(at(2023)))
    third = renew_timestamps(again, SECOND.at(at(2024)))
    rehashed = renew_hash_trees(third, ITEMS, SECOND.at(at(2025)), hash_name="sha3-256")
    both = renew_timestamps(rehashed, SECOND.at(at(2026)))
    return {
        "made": (made, FIRST),
        "renewed": (again, SECOND),
        "renewed-twice": (third, SECOND),
        "rehashed": (rehashed, SECOND),
        "rehashed-and-renewed": (both, SECOND),
    }


def test_bouncycastle_and_dss_validate_ours(judge: Judge, tmp_path: Path) -> None:
    for authority in (FIRST, SECOND):
        (tmp_path / f"root-{authority.title}.cer").write_bytes(authority.root.der)
    for stage, (records, signer) in stages().items():
        for name, number in PLACES.items():
            put(tmp_path, f"{stage}-{name}", records[number], ITEMS[number], signer)
    (alone,) = make_records([b"alone"], FIRST.at(at(2022)))
    put(tmp_path, "alone", alone, b"alone", FIRST)
    (group,) = make_records([GROUP], FIRST.at(at(2022)))
    put(tmp_path, "group-alone", group, GROUP, FIRST)
    put(tmp_path, "wrong", alone, b"another", FIRST)
    said = dict(line.split("\t", 1) for line in judge("judge", tmp_path))
    assert len(said) == len(PLACES) * 5 + 3
    wrong = said.pop("wrong")
    assert wrong.startswith("refused: ")
    assert "FAILED" in wrong.partition("\t")[2]
    assert said == dict.fromkeys(said, "valid\tPASSED null 2022-01-01T12:00:00Z")


def test_we_verify_those_of_bouncycastle(judge: Judge, tmp_path: Path) -> None:
    single, group, out = tmp_path / "single", tmp_path / "group", tmp_path / "out"
    for folder in (single, group, out):
        folder.mkdir()
    for name in ("one", "two", "three"):
        (single / name).write_bytes(name.encode())
    for name in ("x", "y"):
        (group / name).write_bytes(name.encode())
    key = SECOND.signer.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.der").touch(0o600)
    (tmp_path / "key.der").write_bytes(key)
    (tmp_path / "signer.cer").write_bytes(SECOND.signer.der)
    material = (tmp_path / "key.der", tmp_path / "signer.cer")
    assert judge("make", out, *material, single, group, "2023", "2024", "2025") == []
    counts = {"1": 1, "2": 2, "3": 3, "again": 3}
    records = sorted(out.iterdir())
    assert len(records) == 4 * len(counts)
    for path in records:
        name, _, stage = path.stem.partition("-")
        item = DataGroup((b"x", b"y")) if name == "group" else name.encode()
        record = EvidenceRecord.from_der(path.read_bytes())
        assert record.encode() == path.read_bytes()
        verdict = verify_record(record, item, trust=trusting(SECOND), time=at(2026))
        assert verdict.existed == at(2023)
        assert verdict.notes == ()
        assert len(verdict.layers) == counts[stage]
