"""Witnesses that lie, drip, or say nothing: none is believed, and none is waited for beyond its time."""

from __future__ import annotations

import gc
import socket
import threading
from pathlib import Path

import pytest

from tsa_core.api.transparency import (
    Checkpoint,
    NoteSigner,
    SignatureType,
    SignedCheckpoint,
    SignedNote,
    Tile,
    leaf_hash,
    parse_signed_checkpoint,
)
from tsa_core.testing import ends_within, wait_until
from tsa_log.publisher import Publisher
from tsa_log.state import Published
from tsa_log.storage import LocalStorage
from tsa_log.tree import GrowingTree
from tsa_log.witnesses import Round, Witness, WitnessError, WitnessThread

from .logs import LOG_KEY, ORIGIN, WITNESS_KEY, numbered
from .peers import Answer, drip, flood, listening, reply, say_nothing, silent_address


@pytest.fixture
def log(tmp_path: Path) -> tuple[LocalStorage, SignedCheckpoint]:
    storage = LocalStorage(tmp_path)
    tree = GrowingTree(storage, 0, b"")
    storage.write_all(tree.add(numbered(0, 3)))
    checkpoint = Checkpoint(ORIGIN, tree.size, tree.root)
    return storage, SignedCheckpoint(SignedNote(checkpoint.text, (LOG_KEY.sign(checkpoint),)), checkpoint)


def cosignature(signer: NoteSigner, checkpoint: Checkpoint) -> bytes:
    return str(signer.sign(checkpoint, seconds=1_800_000_000)).encode()


OTHER = NoteSigner("witness.example/w1", SignatureType.COSIGNATURE_ED25519, bytes(32))
FORK = Checkpoint(ORIGIN, 3, leaf_hash(b"another history"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (reply(b""), "does not verify"),
        (reply(b"\xff\n"), "does not verify"),
        (reply(cosignature(OTHER, FORK)), "no signature by the key"),
        (reply(cosignature(WITNESS_KEY, FORK)), "another key made it"),
        (reply(b"x" * 70_000), "longer than"),
        (reply(b"gone\x1b[31m\n", status="500 Oops"), r"it answered 500: gone\.\[31m\."),
        (reply(b"2\n", status="409 Conflict") * 3, "it answered 409"),
        (reply(b"7\n", status="409 Conflict"), "it has cosigned a tree of 7 entries, and ours has 3"),
        (reply(b"many\n", status="409 Conflict"), "the size in its answer"),
        (reply(b"", status="302 Found\r\nLocation: http://127.0.0.1:9/"), "it answered 302"),
        (b"no http at all\r\n\r\n", "it cannot be reached"),
        (b"", "it cannot be reached"),
    ],
    ids=[
        "empty",
        "octets",
        "stranger",
        "fork",
        "long",
        "500",
        "conflicts",
        "ahead",
        "no size",
        "redirect",
        "no http",
        "closed",
    ],
)
def test_what_is_no_cosignature_is_not_believed(
    log: tuple[LocalStorage, SignedCheckpoint], answer: bytes, message: str
) -> None:
    storage, signed = log
    with listening(lambda peer: peer.sendall(answer)) as url:
        witness = Witness(url, WITNESS_KEY.key, storage)
        with pytest.raises(WitnessError, match=message):
            witness.cosign(signed, seconds=60)
        witness.close()


@pytest.mark.parametrize(
    "answer",
    [
        say_nothing,
        drip(b"HTTP/1.1 200 "),
        drip(b"HTTP/1.1 200 OK\r\nX-Header: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"),
    ],
    ids=["silence", "status line", "head", "body"],
)
def test_a_witness_that_drips_is_given_up(log: tuple[LocalStorage, SignedCheckpoint], answer: Answer) -> None:
    """Without a limit over the whole exchange, this test would not end."""
    storage, signed = log
    with listening(answer) as url:
        witness = Witness(url, WITNESS_KEY.key, storage)
        with pytest.raises(WitnessError, match="no answer in time"):
            witness.cosign(signed, seconds=0.5)
        witness.close()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "the head of its answer is longer than 65536 octets"),
        (flood(b"HTTP/1.1 200 OK\r\n", b"X-Header: xxx\r\n"), "the head of its answer is longer than|100 headers"),
        (
            flood(b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 65_000 + b"\r\n"),
            "the head of its answer is longer than",
        ),
        (flood(b"HTTP/1.1 200 OK\r\n", b"x" * 65_536), "the head of its answer is longer than"),
        (flood(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536), "longer than"),
    ],
    ids=["continue", "heads", "long heads", "head", "body"],
)
def test_of_a_witness_that_floods_little_is_read(
    log: tuple[LocalStorage, SignedCheckpoint], answer: Answer, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, signed = log
    octets: list[int] = []
    readinto = socket.SocketIO.readinto

    def count(stream: socket.SocketIO, buffer: bytearray) -> int | None:
        read = readinto(stream, buffer)
        octets.append(read or 0)
        return read

    monkeypatch.setattr(socket.SocketIO, "readinto", count)  # the peer here reads by another way
    with listening(answer) as url:
        witness = Witness(url, WITNESS_KEY.key, storage)
        with pytest.raises(WitnessError, match=message):
            witness.cosign(signed, seconds=60)
        witness.close()
    assert 1 <= sum(octets) <= 3 << 16


def test_a_late_witness_is_asked_though_the_partial_tiles_of_its_checkpoint_are_gone(
    log: tuple[LocalStorage, SignedCheckpoint], tmp_path: Path
) -> None:
    """The log has grown meanwhile, without this witness: its tiles are full, and published."""
    storage, signed = log
    tree = GrowingTree(storage, signed.checkpoint.size, signed.checkpoint.root)
    storage.write_all(tree.add(numbered(3, 300)))
    storage.drop_parts(Tile(0, 0))
    answers = [reply(b"2\n", status="409 Conflict"), reply(cosignature(WITNESS_KEY, signed.checkpoint))]
    with listening(lambda peer: peer.sendall(answers.pop(0))) as url:
        witness = Witness(url, WITNESS_KEY.key, storage)
        assert len(witness.cosign(signed, seconds=60)) == 1
        witness.close()


def test_a_witness_of_many_addresses_that_say_nothing_is_given_up(
    log: tuple[LocalStorage, SignedCheckpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were each given the whole time, that would be three minutes."""
    storage, signed = log
    asked = socket.getaddrinfo
    with silent_address() as (host, port), ends_within(0.5):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: asked(*given, **more) * 400)
        witness = Witness(f"http://{host}:{port}", WITNESS_KEY.key, storage)
        with pytest.raises(WitnessError, match="no answer in time"):
            witness.cosign(signed, seconds=0.5)
        witness.close()


def cosigning(signed: SignedCheckpoint) -> Answer:
    return lambda peer: peer.sendall(reply(cosignature(WITNESS_KEY, signed.checkpoint)))


def rounds() -> int:
    gc.collect()
    return sum(isinstance(each, Round) for each in gc.get_objects())


def test_one_witness_that_drips_holds_up_nobody_and_has_one_thread(
    log: tuple[LocalStorage, SignedCheckpoint], tmp_path: Path
) -> None:
    """It has an hour: if publishing waited for it, this test would not end."""
    storage, signed = log
    (tmp_path / "private").mkdir()
    with listening(drip(b"HTTP/1.1 200 ")) as slow, listening(cosigning(signed)) as good:
        witnesses = [
            WitnessThread(Witness(url, key, storage), 3600) for url, key in ((slow, OTHER.key), (good, WITNESS_KEY.key))
        ]
        before = threading.active_count()
        for _ in range(5):
            publisher = Publisher(tmp_path / "private", storage, witnesses, threshold=1, seconds=3600)
            publisher.published = Published()
            assert publisher.publish(signed, {})
        # The limit of the exchange that drips is a thread too; what the helper's sockets need is not the witness's.
        named = [each for each in threading.enumerate() if each.name.startswith("log-witness")]
        assert len(named) == len(witnesses)
        wait_until(lambda: threading.active_count() <= before + 1, seconds=60, what="no other thread is left")
        wait_until(lambda: rounds() <= 2, seconds=60, what="one checkpoint is asked for, and the newest one waits")
        for witness in witnesses:
            witness.close()
    published = parse_signed_checkpoint(storage.read("checkpoint"))
    assert [each.key for each in published.signed_by([LOG_KEY.key, WITNESS_KEY.key])] == [LOG_KEY.key, WITNESS_KEY.key]


def test_a_witness_that_must_cosign_and_drips_is_waited_for_until_the_limit(
    log: tuple[LocalStorage, SignedCheckpoint], tmp_path: Path
) -> None:
    storage, signed = log
    (tmp_path / "private").mkdir()
    with listening(drip(b"HTTP/1.1 200 ")) as slow:
        witness = WitnessThread(Witness(slow, OTHER.key, storage), 3600)
        publisher = Publisher(tmp_path / "private", storage, [witness], threshold=1, seconds=0.2)
        assert not publisher.publish(signed, {})
        assert publisher.lacking == "0 of 1 witnesses cosigned; 1 must"
        witness.close()


def test_a_handshake_that_drips_is_given_up(log: tuple[LocalStorage, SignedCheckpoint]) -> None:
    storage, signed = log
    with listening(drip(b"\x16\x03\x03\x40\x00")) as url:
        witness = Witness(url.replace("http:", "https:"), WITNESS_KEY.key, storage)
        with pytest.raises(WitnessError, match="no answer in time"):
            witness.cosign(signed, seconds=0.5)
        witness.close()
