"""Time servers with NTS on loopback, certificates for them, and a man in the middle."""

from __future__ import annotations

import dataclasses
import ipaddress
import random
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.testing import wait_until
from tsa_core.testing.chronyd import Chronyd
from tsa_monitor_nts.key_exchange import KeyExchange, Keys

DAY = timedelta(days=1)
START_SECONDS = 15.0


class KeyServerCa:
    """A CA whose certificate is `ca.pem` in `folder`."""

    def __init__(self, folder: Path, name: str = "Test CA of time servers") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._count = 0
        now = datetime.now(UTC)
        certificate = (
            self._builder(self._name, self._key, now - 30 * DAY, now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    def issue(
        self,
        *names: str,
        begin: timedelta = -DAY,
        end: timedelta = DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> tuple[Path, Path]:
        """Return the files of a certificate for names or addresses, and of its key."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a time server")])
        certificate = (
            self._builder(subject, key, now + begin, now + end)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._count += 1
        files = self._folder / f"server{self._count}.pem", self._folder / f"server{self._count}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class NtsChronyd(Chronyd):
    """A chronyd that serves NTS keys too, which it makes anew at each start."""

    def __init__(self, folder: Path, files: tuple[Path, Path]) -> None:
        self.key_port = free_tcp_port()
        super().__init__(
            folder,
            lines=[
                f"ntsservercert {files[0]}",
                f"ntsserverkey {files[1]}",
                f"ntsport {self.key_port}",
                "ntsprocesses 0",
            ],
        )

    @property
    def server(self) -> str:
        """What to write into a monitor's settings."""
        return f"127.0.0.1:{self.key_port}"

    def start(self) -> Self:
        """Start it, and wait until it takes connections."""
        super().start()
        wait_until(self._listens, seconds=START_SECONDS, what="chronyd serves NTS keys")
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.key_port)) == 0


def free_tcp_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago, and that no client's connection gets by chance."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return int(probe.getsockname()[1])


class ManInTheMiddle:
    """Passes packets between one client and a time server; a context manager.

    `change` gets the question and the answer, and returns what the client gets instead, in this order. What was passed
    is in `questions` and `answers`.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.change: Callable[[bytes, bytes], Sequence[bytes]] = lambda _, answer: [answer]
        self.questions: list[bytes] = []
        self.answers: list[bytes] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="man-in-the-middle", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
            upstream.connect(self._server)
            upstream.settimeout(2)
            while not self._stopping.is_set():
                question, client = self._socket.recvfrom(4096)
                if not question:
                    continue
                self.questions.append(question)
                try:
                    upstream.send(question)
                    answer = upstream.recv(4096)
                except OSError:
                    continue
                self.answers.append(answer)
                for packet in self.change(question, answer):
                    self._socket.sendto(packet, client)


class ExchangeThrough(KeyExchange):
    """A key exchange after which the time is asked for at another port; counts itself."""

    time_port: int | None = None
    runs = 0

    def run(self, *, deadline: float) -> Keys:
        self.runs += 1
        keys = super().run(deadline=deadline)
        return keys if self.time_port is None else dataclasses.replace(keys, port=self.time_port)
