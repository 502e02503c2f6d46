"""Our log read by other people's packages, and our witness asked by their log."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.interop import builds
from tsa_core.client.deadline import Deadline
from tsa_core.client.log_reader import LogReader
from tsa_core.protocol.transparency.leaf import entry_of
from tsa_core.protocol.transparency.note import SignatureType
from tsa_core.protocol.transparency.signing import NoteSigner
from tsa_core.testing import ServerProcess, encode_request, on_threads, wait_until

pytestmark = pytest.mark.plugin("memory", "tokenlog")

ORIGIN = "log.example/tsa"
LOG = NoteSigner(ORIGIN, SignatureType.ED25519, bytes(range(32)))
OTHER_LOG = NoteSigner("tessera.example", SignatureType.ED25519, bytes(32))
WITNESSES = [
    NoteSigner("witness.example/w1", SignatureType.COSIGNATURE_ED25519, bytes([1] * 32)),
    NoteSigner("witness.example/pq", SignatureType.COSIGNATURE_ML_DSA_44, bytes([2] * 32)),
]
TOKENS = 300
"""More than a bundle has."""


@pytest.fixture(scope="module")
def judge() -> list[str]:
    try:
        folder = builds.built("tlog")
    except builds.NoToolchain as error:
        builds.not_on_this_machine(str(error))
    return [str(folder / "tlog")]


def run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write(path: Path, document: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps({"profiles": {"default": {"signer": "memory:"}}, **document}))
    return path


def witness_of(folder: Path, signer: NoteSigner) -> Path:
    logs = [{"key": str(log.key)} for log in (LOG, OTHER_LOG)]
    table = {"directory": str(folder / "state"), "key": signer.text(), "logs": logs}
    return write(folder / "tsa.toml", {"routes": {"plugins": ["witness"], "witness": table}})


@pytest.fixture(scope="module")
def witnesses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two witnesses, one of which signs with ML-DSA-44; their addresses."""
    folder = tmp_path_factory.mktemp("witnesses")
    with ExitStack() as stack:
        servers = [
            stack.enter_context(ServerProcess(witness_of(folder / str(number), signer)))
            for number, signer in enumerate(WITNESSES)
        ]
        yield [f"{server.url}/witness" for server in servers]


def test_a_log_is_read_by_tessera_and_the_go_packages(witnesses: list[str], judge: list[str], tmp_path: Path) -> None:
    table = {
        "origin": ORIGIN,
        "directory": str(tmp_path / "log"),
        "key": LOG.text(),
        "interval": "100ms",
        "max_delay": "10m",
        "witness_threshold": 2,
        "witnesses": [{"url": url, "key": str(each.key)} for url, each in zip(witnesses, WITNESSES, strict=True)],
    }
    routes = {"plugins": ["log"], "log": {"origin": ORIGIN, "directory": str(tmp_path / "log")}}
    document = {"audit": {"sinks": ["tokenlog"], "tokenlog": table}, "routes": routes}
    with ServerProcess(write(tmp_path / "tsa.toml", document)) as server:
        replies = on_threads(lambda _: server.stamp(encode_request()).body, range(TOKENS))
        published = tmp_path / "log" / "public" / "checkpoint"
        wait_until(
            lambda: published.exists() and published.read_text().split("\n")[1] == str(TOKENS),
            seconds=120,
            what="all entries are published",
        )
        url = f"{server.url}/log/{ORIGIN}/"
        entry = entry_of(replies[0])
        with Deadline(60) as deadline:
            proven = LogReader(url, [LOG.key], deadline=deadline).prove(entry)
        found = run([*judge, "read", url, str(LOG.key), *(str(each.key) for each in WITNESSES)])
    assert (found["origin"], found["size"]) == (ORIGIN, TOKENS)
    assert set(found["entries"]) == {entry_of(reply).encode().hex() for reply in replies}
    assert found["signers"][0] == ORIGIN
    assert sorted(found["signers"][1:]) == sorted(each.key.name for each in WITNESSES)

    proof = tmp_path / "proof"
    proof.write_bytes(proven.encode())
    checked = run([*judge, "proof", str(proof), str(LOG.key), entry.encode().hex()])
    assert (checked["origin"], checked["size"]) == (ORIGIN, proven.signed.checkpoint.size)


@pytest.mark.parametrize("number", range(len(WITNESSES)), ids=["ed25519", "ml-dsa-44"])
def test_our_witness_cosigns_a_log_of_tessera(
    witnesses: list[str], judge: list[str], tmp_path: Path, number: int
) -> None:
    key = WITNESSES[number].key
    found = run([*judge, "witness", str(tmp_path), OTHER_LOG.text(), witnesses[number], str(key), "5"])
    assert found["signers"] == [key.name] * 5
