"""Witnesses that lie, drip, or say nothing: none is believed, and none is waited for beyond its time."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tsa_core.api.transparency import (
    Checkpoint,
    NoteSigner,
    SignatureType,
    SignedCheckpoint,
    SignedNote,
    leaf_hash,
)
from tsa_log.storage import LocalStorage
from tsa_log.tree import GrowingTree
from tsa_log.witnesses import Witness, WitnessError

from .logs import LOG_KEY, ORIGIN, WITNESS_KEY, entry

Answer = Callable[[socket.socket], None]


@contextmanager
def listening(answer: Answer) -> Iterator[str]:
    """A server that reads a request and does what `answer` says, for every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer, suppress(OSError):
                    read_request(peer)
                    answer(peer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/witness"
        finally:
            server.shutdown(socket.SHUT_RDWR)


def read_request(peer: socket.socket) -> None:
    """Read all of it: a socket that is closed with octets unread is reset, and its answer may be lost."""
    if (data := peer.recv(65_536)).startswith(b"\x16"):  # a TLS handshake, which is not answered as one
        return
    while b"\r\n\r\n" not in data and (part := peer.recv(65_536)):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    left = int(found[1]) - len(body) if found else 0
    while left > 0 and (part := peer.recv(left)):
        left -= len(part)


def reply(body: bytes, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def say_nothing(peer: socket.socket) -> None:
    while peer.recv(65_536):
        pass


def drip(start: bytes) -> Answer:
    """Send an octet, again and again, which a limit on each read never ends."""

    def answer(peer: socket.socket) -> None:
        peer.sendall(start)
        while not peer_closed(peer):
            peer.sendall(b"x")

    return answer


def peer_closed(peer: socket.socket) -> bool:
    peer.settimeout(0.05)
    try:
        return peer.recv(1) == b""
    except TimeoutError:
        return False


@pytest.fixture
def log(tmp_path: Path) -> tuple[LocalStorage, SignedCheckpoint]:
    storage = LocalStorage(tmp_path)
    tree = GrowingTree(storage, 0, b"")
    tree.add([entry(number) for number in range(3)])
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


def test_a_handshake_that_drips_is_given_up(log: tuple[LocalStorage, SignedCheckpoint]) -> None:
    storage, signed = log
    with listening(drip(b"\x16\x03\x03\x40\x00")) as url:
        witness = Witness(url.replace("http:", "https:"), WITNESS_KEY.key, storage)
        with pytest.raises(WitnessError, match="no answer in time"):
            witness.cosign(signed, seconds=0.5)
        witness.close()
