"""Our log read by other people's packages and cosigned by their witness, our witness asked by their log, and our tokens
in a log that their engine keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.interop import builds
from tsa_core.client.deadline import Deadline
from tsa_core.client.log_reader import LogReader
from tsa_core.protocol.transparency.checkpoint import SignedCheckpoint, parse_signed_checkpoint
from tsa_core.protocol.transparency.leaf import entry_of
from tsa_core.protocol.transparency.note import SignatureType
from tsa_core.protocol.transparency.policy import threshold_policy
from tsa_core.protocol.transparency.signing import NoteSigner
from tsa_core.testing import ServerProcess, encode_request, on_threads, wait_until
from tsa_core.verify import verify_log_proof

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


@contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """A program that prints where it serves, until its standard input is closed; yields the URL."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.stdin.close()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


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


def log_table(folder: Path, **more: Any) -> dict[str, Any]:
    return {"origin": ORIGIN, "directory": str(folder), "interval": "100ms", "max_delay": "10m", **more}


def published(folder: Path) -> SignedCheckpoint | None:
    path = folder / "public" / "checkpoint"
    return parse_signed_checkpoint(path.read_bytes()) if path.exists() else None


def size_of(folder: Path) -> int:
    signed = published(folder)
    return 0 if signed is None else signed.checkpoint.size


def logged(folder: Path, server: ServerProcess, count: int, *, size: int) -> list[bytes]:
    """Return so many replies, when the log has `size` entries."""
    replies = on_threads(lambda _: server.stamp(encode_request()).body, range(count))
    wait_until(lambda: size_of(folder) == size, seconds=120, what="all entries are published")
    return replies


def test_their_witness_cosigns_our_log_and_no_fork_of_it(judge: list[str], tmp_path: Path) -> None:
    """Two of them, one with ML-DSA-44."""
    refused = "did not cosign: it answered 422"
    with ExitStack() as stack:
        urls = [stack.enter_context(serving([*judge, "omniwitness", each.text(), str(LOG.key)])) for each in WITNESSES]
        asked = [{"url": url, "key": str(each.key)} for url, each in zip(urls, WITNESSES, strict=True)]
        for name in ("log", "fork"):
            table = log_table(tmp_path / name, key=LOG.text(), witness_threshold=2, witnesses=asked)
            document = {"audit": {"sinks": ["tokenlog"], "tokenlog": table}}
            with ServerProcess(write(tmp_path / name / "tsa.toml", document)) as server:
                if name == "log":
                    for size in (1, 2, 20):
                        logged(tmp_path / name, server, size - size_of(tmp_path / name), size=size)
                else:  # the same key begins anew, and grows larger than what was cosigned
                    on_threads(lambda _: server.stamp(encode_request()), range(30))
                    wait_until(lambda: server.log.count(refused) >= 2, seconds=60, what="both refuse")
    signed = published(tmp_path / "log")
    assert signed is not None
    keys = [LOG.key, *(each.key for each in WITNESSES)]
    assert [each.key for each in signed.signed_by(keys)] == keys
    assert published(tmp_path / "fork") is None


def test_tokens_of_two_machines_are_in_the_log_of_a_personality_of_tessera(judge: list[str], tmp_path: Path) -> None:
    """It pushes back at first; transparency-dev's witness cosigns its log."""
    signer = WITNESSES[0]
    with ExitStack() as stack:
        witness = stack.enter_context(serving([*judge, "omniwitness", signer.text(), str(LOG.key)]))
        command = [*judge, "personality", str(tmp_path / "engine"), LOG.text(), "10", witness, str(signer.key)]
        personality = stack.enter_context(serving(command))
        configs = []
        for name in ("a", "b"):
            table = log_table(
                tmp_path / name,
                backend="tessera",
                tessera={"url": personality, "log_key": str(LOG.key)},
                witness_threshold=1,
                witnesses=[{"key": str(signer.key)}],
            )
            routes = {"plugins": ["log"], "log": {"origin": ORIGIN, "directory": str(tmp_path / name)}}
            document = {"audit": {"sinks": ["tokenlog"], "tokenlog": table}, "routes": routes}
            configs.append(write(tmp_path / name / "tsa.toml", document))
        first, second = (stack.enter_context(ServerProcess(config)) for config in configs)
        replies = logged(tmp_path / "a", first, 40, size=40)
        replies += logged(tmp_path / "b", second, 40, size=80)
        assert "it answered 503" in first.log
        wait_until(lambda: size_of(tmp_path / "a") == 80, seconds=120, what="the other copy has them too")
        wanted = {entry_of(reply).encode().hex() for reply in replies}
        for server in (first, second):
            url = f"{server.url}/log/{ORIGIN}/"
            found = run([*judge, "read", url, str(LOG.key), str(signer.key)])
            assert (found["size"], set(found["entries"])) == (80, wanted)
            assert found["signers"] == [ORIGIN, signer.key.name]
            with Deadline(60) as deadline:
                proof = LogReader(url, [LOG.key], deadline=deadline).prove(entry_of(replies[0]))
            evidence = verify_log_proof(replies[0], proof.encode(), policy=threshold_policy([LOG.key], [signer.key], 1))
            assert evidence.seen_by is not None
        # The engine's own files prove it too, with its newest checkpoint.
        with Deadline(60) as deadline:
            proof = LogReader(personality, [LOG.key], deadline=deadline).prove(entry_of(replies[-1]))
        assert proof.proves(entry_of(replies[-1]).encode())
        copy = tmp_path / "mirror"
        command = ["log", "mirror", personality, "--log-key", str(LOG.key), "--directory", str(copy)]
        done = subprocess.run(
            [sys.executable, "-m", "tsa_core.cli.server", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    for name in ("tile/0/000.p/80", "tile/entries/000.p/80"):
        assert (copy / "public" / name).read_bytes() == (tmp_path / "engine" / name).read_bytes()
    signed = published(copy)
    assert signed is not None
    assert [each.key for each in signed.signed_by([LOG.key, signer.key])] == [LOG.key, signer.key]


@pytest.mark.parametrize("number", range(len(WITNESSES)), ids=["ed25519", "ml-dsa-44"])
def test_our_witness_cosigns_a_log_of_tessera(
    witnesses: list[str], judge: list[str], tmp_path: Path, number: int
) -> None:
    key = WITNESSES[number].key
    found = run([*judge, "witness", str(tmp_path), OTHER_LOG.text(), witnesses[number], str(key), "5"])
    assert found["signers"] == [key.name] * 5
