"""The nginx and HAProxy samples of deploy/, adapted to run on a free port in front of a server of a test."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tsa_backends.server_process import end_in_order, free_port
from tsa_core.testing import require_program, wait_until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SECONDS = 30.0
HOST = "tsa.example.org"


def replace(text: str, changes: Mapping[str, str]) -> str:
    """Adapt a sample; whatever is replaced must be in it."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@dataclass(frozen=True, kw_only=True)
class Tls:
    """A self-signed certificate for HOST: the file with it, the one with its key, and one with both."""

    certificate: Path
    key: Path
    both: Path


def make_tls(folder: Path) -> Tls:
    """Write a self-signed certificate for HOST and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    names = [x509.DNSName(HOST), x509.IPAddress(IPv4Address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = Tls(certificate=folder / "tls.pem", key=folder / "tls.key", both=folder / "both.pem")
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(secret)
    files.both.write_bytes(certificate + secret)
    return files


@contextmanager
def running(command: list[str], *, port: int, log: Path) -> Iterator[None]:
    """Run a proxy in the foreground until the block ends; it has to listen by then."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as trial:
                return trial.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_until(listens, seconds=SECONDS, what=f"{command[0]} listens")
            yield
        finally:
            end_in_order(process, seconds=SECONDS)


def nginx(folder: Path, tls: Tls, *upstreams: int) -> tuple[list[str], int]:
    port = free_port()
    fails = "fail_timeout=2s;"
    sample = replace(
        (DEPLOY / "nginx" / "tsa.conf").read_text(encoding="utf-8"),
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "    listen [::]:443 ssl;\n": "",
            "server 127.0.0.1:3000 ": f" {fails}\n    ".join(f"server 127.0.0.1:{each}" for each in upstreams) + " ",
            f"/etc/nginx/tls/{HOST}.pem": str(tls.certificate),
            f"/etc/nginx/tls/{HOST}.key": str(tls.key),
        },
    )
    own = folder / f"nginx-{port}"
    own.mkdir()
    own.chmod(0o777)
    (own / "tsa.conf").write_text(sample)
    places = "".join(
        f"  {name}_temp_path {own}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (own / "nginx.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {own}/pid;\nerror_log stderr info;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\n  access_log off;\n{places}  include {own}/tsa.conf;\n}}\n"
    )
    program = require_program("nginx", package="nginx-light")
    return [str(program), "-p", str(own), "-e", "stderr", "-c", str(own / "nginx.conf")], port


def haproxy(folder: Path, tls: Tls, *upstreams: int) -> tuple[list[str], int]:
    port = free_port()
    servers = (f"server tsa{number} 127.0.0.1:{each}" for number, each in enumerate(upstreams, 1))
    sample = replace(
        (DEPLOY / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8"),
        {
            "bind :443 ": f"bind 127.0.0.1:{port} ",
            f"/etc/haproxy/tls/{HOST}.pem": str(tls.both),
            "server tsa1 127.0.0.1:3000": "\n    ".join(servers),
        },
    )
    path = folder / f"haproxy-{port}.cfg"
    path.write_text(sample)
    return [str(require_program("haproxy")), "-f", str(path)], port


PROXIES: dict[str, Callable[..., tuple[list[str], int]]] = {"nginx": nginx, "haproxy": haproxy}
