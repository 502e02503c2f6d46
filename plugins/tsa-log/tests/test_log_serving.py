"""Real servers: an authority that logs, and witnesses that cosign its checkpoints."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_core.api.transparency import (
    NoteSigner,
    SignatureType,
    entry_of,
    minute_path,
    parse_signed_checkpoint,
    read_bundle,
    read_minute,
)
from tsa_core.testing import ServerProcess, encode_request, forge, on_threads, sample_record, wait_until
from tsa_core.testing.forged_pki import make_chain
from tsa_log.sink import open_sink

from .logs import LOG_KEY, ORIGIN, entries, options, settings

pytestmark = pytest.mark.plugin("memory", "file")

SYSTEM_FAILURE = bytes.fromhex("03050600000040")
WITNESSES = [
    NoteSigner(f"witness.example/w{number}", SignatureType.COSIGNATURE_ED25519, bytes([number] * 32))
    for number in (1, 2)
]


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(tomli_w.dumps(document))
    return path


def witness_config(folder: Path, signer: NoteSigner) -> Path:
    folder.mkdir()
    table = {"directory": str(folder / "state"), "key": signer.text(), "logs": [{"key": str(LOG_KEY.key)}]}
    document = {"profiles": {"default": {"signer": "memory:"}}, "routes": {"plugins": ["witness"], "witness": table}}
    return write(folder / "tsa.toml", document)


CHAIN = make_chain()
"""The authority's; its key is in a file, from which it can be stolen."""


def authority_config(folder: Path, **log: Any) -> Path:
    key = CHAIN.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key)
    (folder / "key.pem").chmod(0o600)
    (folder / "chain.pem").write_bytes(CHAIN.pem)
    profile = {"signer": f"file:{folder / 'key.pem'}", "certificate_chain": str(folder / "chain.pem")}
    return write(
        folder / "tsa.toml",
        {
            "profiles": {"default": profile},
            "audit": {"sinks": ["tokenlog"], "tokenlog": settings(folder / "log", **log)},
            "routes": {"plugins": ["log"], "log": {"origin": ORIGIN, "directory": str(folder / "log")}},
        },
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authority")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Iterator[ServerProcess]:
    """A server of two workers, and two witnesses, both of which must cosign."""
    with ExitStack() as stack:
        places = []
        for number, signer in enumerate(WITNESSES):
            server = stack.enter_context(ServerProcess(witness_config(folder / f"witness{number}", signer)))
            places.append({"url": f"{server.url}/witness", "key": str(signer.key)})
        config = authority_config(folder, witnesses=places, witness_threshold=2, interval="100ms", max_delay="5m")
        yield stack.enter_context(ServerProcess(config, "--workers", "2"))


def fetch(server: ServerProcess, path: str) -> bytes:
    reply = server.get(f"/log/{ORIGIN}/{path}")
    assert reply.status == 200, reply.body
    return reply.body


def test_every_token_is_in_a_checkpoint_that_both_witnesses_cosigned(authority: ServerProcess, folder: Path) -> None:
    replies = on_threads(lambda _: authority.stamp(encode_request()).body, range(40))
    wanted = {entry_of(reply).encode() for reply in replies}
    public = folder / "log" / "public"
    wait_until(lambda: wanted <= set(entries(public)), seconds=60, what="all entries are published")
    assert len(entries(public)) == len(set(entries(public)))

    data = fetch(authority, "checkpoint")
    signed = parse_signed_checkpoint(data)
    cosignatures = signed.signed_by([LOG_KEY.key, *(signer.key for signer in WITNESSES)])
    assert [each.key.name for each in cosignatures] == [ORIGIN, "witness.example/w1", "witness.example/w2"]
    width = min(signed.checkpoint.size, 256)
    name = "tile/entries/000" if width == 256 else f"tile/entries/000.p/{width}"
    assert wanted & set(read_bundle(fetch(authority, name), width))

    times = [each.time for each in cosignatures if each.time is not None]
    minute = read_minute(fetch(authority, minute_path(min(times))))
    assert all(each.signed_by([LOG_KEY.key]) for each in minute)
    assert [each.checkpoint.size for each in minute] == sorted({each.checkpoint.size for each in minute})


class Client:
    """timestamp-cli, with what it must know of the log."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.url = f"{server.url}/log/{ORIGIN}"
        self.key = ("--log-key", str(LOG_KEY.key))
        self.log = ("--log-url", self.url, *self.key)
        self.trust = ("--certificate-chain", str(folder / "chain.pem"))
        witnesses = [part for signer in WITNESSES for part in ("--witness", str(signer.key))]
        self.witnesses = (*self.key, *witnesses)

    def run(self, *arguments: str | Path, code: int = 0) -> str:
        """Return what it prints, errors too, after it ended with this code."""
        command = [sys.executable, "-m", "tsa_core.cli.timestamp", *map(str, arguments)]
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def verify(self, path: Path, *more: str | Path, code: int = 0) -> str:
        return self.run(
            "verify",
            "--timestamp",
            path,
            "--digest",
            hashlib.sha256(b"hello").hexdigest(),
            *self.trust,
            *more,
            code=code,
        )


def test_a_stolen_key_makes_a_token_for_yesterday_that_has_no_proof(
    authority: ServerProcess, folder: Path, tmp_path: Path
) -> None:
    client = Client(authority, folder)
    honest, forged = tmp_path / "honest.tsr", tmp_path / "forged.tsr"
    honest.write_bytes(authority.stamp(encode_request(b"hello")).body)
    entry = entry_of(honest.read_bytes()).encode()
    wait_until(lambda: entry in entries(folder / "log" / "public"), seconds=60, what="the entry is published")
    assert "the proof is in" in client.run("log", "prove", "--timestamp", honest, *client.log)
    proof = Path(f"{honest}.tlog-proof")
    shown = client.verify(honest, "--log-proof", proof, *client.witnesses)
    assert "witness.example/w1 saw it by" in shown
    assert "witness.example/w2 saw it by" in shown
    assert "is there already" in client.run("log", "prove", "--timestamp", honest, *client.log, code=2)

    # With the stolen key, outside the server: RFC 3161 sees nothing wrong.
    yesterday = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    token = forge.token(CHAIN.signer, forge.tst_info(b"hello", gen_time=yesterday))
    forged.write_bytes(forge.reply(token))
    client.verify(forged)
    assert "not in this log" in client.run("log", "prove", "--timestamp", forged, *client.log, code=1)
    assert "of another entry" in client.verify(forged, "--log-proof", proof, *client.witnesses, code=1)
    audited = client.run("log", "audit", tmp_path, *client.log, code=1)
    assert f"{honest}: entry" in audited
    assert f"{forged}: " in audited
    assert "1 of 2 timestamps are not in the log" in audited

    # Whatever form it has, and whatever it is called.
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "b.p7s").write_bytes(token)
    (kept / "c").write_bytes(b"-----BEGIN CMS-----\n" + base64.encodebytes(token) + b"-----END CMS-----\n")
    client.run("extend", "--wrap", "--timestamp", forged, "--out", kept / "d.tsd")
    (kept / "notes.txt").write_text("no timestamp")
    audited = client.run("log", "audit", kept, *client.log, code=1)
    for name in ("b.p7s", "c", "d.tsd"):
        assert f"{kept / name}: " in audited
    assert "3 of 3 timestamps are not in the log\n" in audited
    (kept / "e.TSR").write_text("no timestamp")
    audited = client.run("log", "audit", kept, *client.log, code=1)
    assert "3 of 3 timestamps are not in the log, and 1 files are none, or cannot be read" in audited


def fork_says(server: ServerProcess, text: str) -> bool:
    return text in server.log


def test_a_fork_of_the_log_is_published_nowhere(authority: ServerProcess, folder: Path, tmp_path: Path) -> None:
    """Who has the log's key begins another history, and asks the same witnesses."""
    authority.stamp(encode_request())
    public = folder / "log" / "public" / "checkpoint"
    wait_until(public.exists, seconds=60, what="the witnesses have cosigned the log")
    asked = tomllib.loads((folder / "tsa.toml").read_text())["audit"]["tokenlog"]["witnesses"]
    config = authority_config(tmp_path, witnesses=asked, witness_threshold=1, interval="100ms", max_delay="5m")
    with ServerProcess(config) as fork:
        for _ in range(parse_signed_checkpoint(public.read_bytes()).checkpoint.size + 1):
            fork.stamp(encode_request())
        for signer in WITNESSES:
            refused = f"the witness {signer.key.name} "
            wait_until(partial(fork_says, fork, refused), seconds=60, what="both witnesses refuse")
        assert "0 of 2 witnesses cosigned; 1 must" in fork.log
    assert not (tmp_path / "log" / "public" / "checkpoint").exists()


def has_entries(public: Path, count: int) -> bool:
    return len(entries(public)) == count


def test_an_operator_who_enters_a_token_for_yesterday_is_named_by_the_monitor(tmp_path: Path) -> None:
    """With all keys of the authority and of its log, but not the witness's."""
    config = witness_config(tmp_path / "server", WITNESSES[0])
    document = tomllib.loads(config.read_text())
    document["routes"] |= {"plugins": ["witness", "log"], "log": {"origin": ORIGIN, "directory": str(tmp_path / "log")}}
    (tmp_path / "chain.pem").write_bytes(CHAIN.pem)
    now = datetime.now(UTC).replace(microsecond=0)
    tokens = {
        name: forge.reply(forge.token(CHAIN.signer, forge.tst_info(b"hello", gen_time=time, serial_number=number)))
        for number, (name, time) in enumerate({"today": now, "yesterday": now - timedelta(days=1)}.items(), 1)
    }
    with ServerProcess(write(config, document)) as server:
        witness = {"url": f"{server.url}/witness", "key": str(WITNESSES[0].key)}
        lenient = options(tmp_path / "log", witnesses=[witness], witness_threshold=1, max_disorder="3d")
        sink = open_sink(lenient)
        for number, reply in enumerate(tokens.values(), 1):
            sink.write(replace(sample_record(number), response=reply, gen_time=entry_of(reply).gen_time))
            wait_until(partial(has_entries, tmp_path / "log" / "public", number), seconds=60, what="it is published")
        sink.close()
        client = Client(server, tmp_path)
        assert "entry 1 has a genTime 86400 s before" in client.run("log", "monitor", client.url, *client.key, code=1)
        for name, reply in tokens.items():
            token = tmp_path / f"{name}.tsr"
            token.write_bytes(reply)
            client.verify(token)
            client.run("log", "prove", "--timestamp", token, *client.log)
            proof = ("--log-proof", f"{token}.tlog-proof", *client.key, "--witness", str(WITNESSES[0].key))
            if name == "today":
                assert "witness.example/w1 saw it by" in client.verify(token, *proof)
            else:
                assert "too few witnesses saw the entry within 60 s" in client.verify(token, *proof, code=1)


def test_a_monitor_goes_on_where_it_was(authority: ServerProcess, folder: Path, tmp_path: Path) -> None:
    client = Client(authority, folder)
    state = tmp_path / "log.seen"
    fingerprint = CHAIN.signer.certificate.fingerprint(SHA256()).hex()
    follow = ("log", "monitor", client.url, *client.key, "--state", state, "--certificate-sha256", fingerprint)
    reply = authority.stamp(encode_request()).body
    entry = entry_of(reply)
    wait_until(lambda: entry.encode() in entries(folder / "log" / "public"), seconds=60, what="it is published")
    assert entry.tst_info_hash.hex() in client.run(*follow)
    assert " 0 of them new" in client.run(*follow)
    forked = json.loads(state.read_text())
    state.write_text(json.dumps({**forked, "root": bytes(32).hex()}))
    reply = authority.stamp(encode_request()).body
    entry = entry_of(reply)
    wait_until(lambda: entry.encode() in entries(folder / "log" / "public"), seconds=60, what="it is published")
    assert "does not continue what it signed before" in client.run(*follow, code=1)


def test_what_is_not_in_the_log_is_not_served(authority: ServerProcess, folder: Path) -> None:
    authority.stamp(encode_request())
    published = folder / "log" / "public" / "checkpoint"
    wait_until(published.exists, seconds=60, what="a checkpoint is published")
    for path in (
        "private/state.json",
        "tile/0/../../../private/state.json",
        "tile/0/999",
        "checkpoints/2026-01-01/9999",
    ):
        assert authority.get(f"/log/{ORIGIN}/{path}").status == 404
    cached = authority.get(f"/log/{ORIGIN}/checkpoint").headers
    assert "max-age=1" in next(value for name, value in cached.items() if name.lower() == "cache-control")


def test_without_its_witness_nothing_is_published_and_no_token_leaves(tmp_path: Path) -> None:
    gone = {"url": "http://127.0.0.1:9/witness", "key": str(WITNESSES[0].key)}
    config = authority_config(tmp_path, witnesses=[gone], witness_threshold=1, max_delay="200ms", interval="50ms")
    with ServerProcess(config) as server:
        wait_until(
            lambda: SYSTEM_FAILURE in server.stamp(encode_request()).body, seconds=60, what="tokens are withheld"
        )
        wait_until(lambda: server.get("/readyz").status == 503, seconds=60, what="readiness is red")
        server.wait_for_log("0 of 1 witnesses cosigned")
        server.wait_for_log("did not cosign: it cannot be reached")
    assert not (tmp_path / "log" / "public" / "checkpoint").exists()


def test_a_server_that_is_killed_loses_no_token_from_the_log(tmp_path: Path) -> None:
    config = authority_config(tmp_path, interval="1h")
    with ServerProcess(config) as server:
        replies = [server.stamp(encode_request()).body for _ in range(10)]
        server.kill()
    assert not entries(tmp_path / "log" / "public")
    with ServerProcess(authority_config(tmp_path)):
        wanted = {entry_of(reply).encode() for reply in replies}
        wait_until(
            lambda: set(entries(tmp_path / "log" / "public")) == wanted, seconds=60, what="the entries are published"
        )
