"""`timestamp-server serve` as a process with any listeners, and the certificates that its TLS needs."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests import pki
from tsa_core.testing.waiting import wait_until

_SECONDS = 40.0


@dataclass
class TlsMaterial:
    """A CA, a server's certificate for 127.0.0.1 and clients', as files in `folder`."""

    folder: Path
    name: str = "CA"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.ca = self.folder / f"{self.name}.pem"
        self._certificate = self._issue(self.name, self._key, ca=True)
        self.ca.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def write(self, name: str, *, days: float = 30) -> tuple[Path, Path]:
        """Write a certificate for 127.0.0.1 and its key; returns both paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(name, key, ca=False, days=days)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def _issue(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool, days: float = 30) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(pki.key_usage(sign=True, issue=ca), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
            builder = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def client_context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return what a client needs to trust the server, and to be trusted with `certificate`."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context


class EdgeServer:
    """A running server: where it listens by scheme, its process and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def wait_for_log(self, pattern: str) -> None:
        def seen() -> bool:
            ended = self.process.poll() is not None
            if ended:
                self._reader.join(_SECONDS)
            found = re.search(pattern, self.log, re.MULTILINE) is not None
            assert found or not ended, f"the server ended with {self.process.returncode}:\n{self.log}"
            return found

        try:
            wait_until(seen, seconds=_SECONDS, what=f"the server logs {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; so far it said:\n{self.log}") from None

    def address(self, scheme: str) -> tuple[str, int]:
        """Where it listens for `http` or `https`."""
        found = re.search(rf"listening on {scheme}://([0-9.]+):(\d+)", self.log, re.MULTILINE)
        assert found is not None, self.log
        return found[1], int(found[2])

    def resident_octets(self) -> int:
        """Return the memory of the server and its workers."""
        pids = [self.process.pid, *_descendants(self.process.pid)]
        return sum(_resident_octets(pid) for pid in pids)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in children for each in (int(child), *_descendants(int(child)))]


def _resident_octets(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def edge_server(
    *flags: str, env: Mapping[str, str] | None = None, wait_for: str = "listening on "
) -> Iterator[EdgeServer]:
    """Run `timestamp-server serve` with these flags until the block ends, then stop it; it must end with 0.

    `wait_for` is a pattern of the last line that it prints at its start. It is killed, with its workers, when it
    does not end.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
    command = [sys.executable, "-m", "tsa_core.cli.server", "serve", *flags]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "NO_COLOR": "1", "COLUMNS": "200", **(env or {})},
        start_new_session=True,
    ) as process:
        try:
            server = EdgeServer(process)
            server.wait_for_log(wait_for)
            yield server
            assert process.poll() in {None, 0}, server.log
            process.terminate()
            assert process.wait(60) == 0, server.log
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # its own session: the server and its workers, nobody else
