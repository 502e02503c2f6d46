"""A served directory whose key and chain change, and clients that ask all the while."""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_backends.server_process import free_port
from tsa_core.hosting.pid_file import ReloadReport, last_report, running_server
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import encode_request
from tsa_core.testing import Pki, ServerProcess, new_key, wait_until
from tsa_core.verify import TrustStore, VerificationError, Verifier

ENGINES = {
    "waitress": (),
    "waitress-2": ("--workers", "2"),
    "granian-2": ("--server", "granian", "--workers", "2"),
}
FLAGS = {**ENGINES, "granian": ("--server", "granian")}
"""How `served` makes a server of each engine; the last one leaves the number of workers to the test."""
SECONDS = 60.0
_PACE_SECONDS = 0.002


class Identity:
    """A key and the chain that certifies it."""

    def __init__(self, pki: Pki | None = None) -> None:
        self.key = new_key()
        self.chain = (pki or Pki(intermediates=1)).chain(self.key.public_key())
        trust = TrustStore(roots=self.chain[-1:], certificates=self.chain[1:-1])
        self.verifier = Verifier(trust, tsa_certificate=self.chain[0])

    @property
    def pem(self) -> bytes:
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)

    def objection(self, reply: bytes, request: bytes) -> str:
        """Why the reply is not a token of this identity, or nothing."""
        try:
            self.verifier.verify_response(reply, request=request)
        except VerificationError as error:
            return str(error)
        return ""

    def signed(self, reply: bytes, request: bytes) -> bool:
        return not self.objection(reply, request)


class TsaDirectory:
    """tsa.toml, key.pem and chain.pem in a folder."""

    def __init__(self, folder: Path, *, server: str = "", profile: str = "", tables: str = "") -> None:
        self.folder = folder
        self.pid_file = folder / "tsa.pid"
        self.config = folder / "tsa.toml"
        self.identity = Identity()
        self.write(self.identity)
        self.configure(server=server, profile=profile, tables=tables)

    def configure(self, *, server: str = "", profile: str = "", tables: str = "") -> None:
        put(
            self.config,
            f'[server]\npid_file = "tsa.pid"\n{server}\n[profiles.default]\nsigner = "file:key.pem"\n'
            f'certificate_chain = "chain.pem"\n{profile}\n{tables}\n'.encode(),
        )

    def write(self, identity: Identity) -> None:
        pem = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        put(self.folder / "key.pem", pem)
        put(self.folder / "chain.pem", identity.pem)
        self.identity = identity

    def write_broken(self) -> None:
        """A chain for another key: what an operator does who forgot one of two files."""
        put(self.folder / "chain.pem", Identity().pem)

    def report(self) -> ReloadReport:
        found = last_report(self.pid_file)
        assert found is not None
        return found

    def reload(self) -> ReloadReport:
        """Send SIGHUP and wait for what becomes of it."""
        before = self.report().number
        os.kill(running_server(self.pid_file), signal.SIGHUP)
        return self.wait_for_report(before)

    def wait_for_report(self, before: int) -> ReloadReport:
        wait_until(lambda: self.report().number > before, seconds=SECONDS, what="the server tells of its reload")
        return self.report()

    @contextmanager
    def served(self, engine: str, *flags: str) -> Iterator[ServerProcess]:
        """Serve with an engine of FLAGS; `server.port` is right for granian, too."""
        if engine.startswith("granian"):
            flags = ("--port", str(free_port()), *flags)
        with ServerProcess(self.config, *FLAGS[engine], *flags) as server:
            yield server


def put(path: Path, data: bytes) -> None:
    """Replace a file in one step, as careful operators do."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.chmod(0o600)
    new.replace(path)


class Answered(NamedTuple):
    """One request, its answer, and when the two were sent and received."""

    request: bytes
    status: int
    reply: bytes
    sent: float
    received: float


@dataclass
class Clients:
    """Threads that ask on a keep-alive connection each, one request after the other."""

    port: int
    count: int = 8
    answers: list[Answered] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reconnects: int = 0
    reconnect: bool = False
    """Whether a connection that the server has closed between two requests may be opened again."""

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), name=f"client {number}") for number in range(self.count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "a client waits for ever"

    def wait_for(self, more: int) -> None:
        """Return when so many more requests have been answered."""
        goal = len(self.answers) + more
        wait_until(
            lambda: len(self.answers) >= goal or bool(self.failures), seconds=SECONDS, what=f"{more} more answers"
        )

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        nonce = number << 32
        try:
            while not self._stopping.is_set():
                nonce += 1
                request = encode_request(algorithm=SHA256, digest=nonce.to_bytes(32, "big"), nonce=nonce, cert_req=True)
                sent = monotonic()
                try:
                    connection.request(
                        "POST", "/api/v1/timestamp", request, {"Content-Type": "application/timestamp-query"}
                    )
                    response = connection.getresponse()
                    body = response.read()
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    # Nothing of an answer came: the server had closed an idle connection, which HTTP lets it do.
                    closed_idle = isinstance(error, http.client.RemoteDisconnected | ConnectionError)
                    if self.reconnect and closed_idle:  # also when this thread is to stop: a killed worker may end late
                        self.reconnects += 1
                        self._stopping.wait(0.05)
                        continue
                    self.failures.append(f"client {number}: {type(error).__name__}: {error}")
                    return
                self.answers.append(Answered(request, response.status, body, sent, monotonic()))
                self._stopping.wait(_PACE_SECONDS)
        finally:
            connection.close()


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
