"""Real servers: an authority that logs, and witnesses that cosign its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tsa_core.api.transparency import (
    NoteSigner,
    SignatureType,
    entry_of,
    minute_path,
    parse_signed_checkpoint,
    read_bundle,
    read_minute,
)
from tsa_core.testing import ServerProcess, encode_request, on_threads, wait_until

from .logs import LOG_KEY, ORIGIN, entries, settings

pytestmark = pytest.mark.plugin("memory")

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


def authority_config(folder: Path, **log: Any) -> Path:
    return write(
        folder / "tsa.toml",
        {
            "profiles": {"default": {"signer": "memory:"}},
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


def test_what_is_not_in_the_log_is_not_served(authority: ServerProcess) -> None:
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
            lambda: server.stamp(encode_request()) and server.get("/readyz").status == 503,
            seconds=60,
            what="readiness is red",
        )
        assert SYSTEM_FAILURE in server.stamp(encode_request()).body
        assert "0 of 1 witnesses cosigned" in server.log
        assert "did not cosign: it cannot be reached" in server.log
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
