"""Other timestamp servers and clients, as far as this machine has them, for comparison with ours in the same run.

Servers: `uts-server` where that is on the path (C; it is in no package index: build it from its sources), and the
Sigstore Timestamp Authority, which is built once where Go is. Commands: `openssl ts`, rfc3161-client in a script, and
the Sigstore Timestamp Authority's own client. All keys are ECDSA P-256; uts-server and openssl have the one whose bare
signatures are measured.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.measure import RunningServer, free_port
from tsa_core.testing.pki import Pki, shared_key

_UTS_THREADS = 64
_OPENSSL_CONFIG = """\
oid_section = oids
[oids]
tsa_policy1 = 1.2.3.4.1
[tsa]
default_tsa = tsa_config1
[tsa_config1]
dir = {folder}
serial = $dir/serial
crypto_device = builtin
signer_cert = $dir/signer.pem
certs = $dir/chain.pem
signer_key = $dir/key.pem
signer_digest = sha256
default_policy = tsa_policy1
digests = sha256
accuracy = secs:1
clock_precision_digits = 6
ordering = no
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
_UTS_CONFIG = """\
[main]
listening_ports = 127.0.0.1:{port}
enable_keep_alive = yes
num_threads = {threads}
throttle = *=0
request_timeout_ms = 30000
tcp_nodelay = 1
log_level = emerg
"""
_RFC3161_CLIENT = """
import hashlib, rfc3161_client
from cryptography.x509 import load_pem_x509_certificates
signer, *others = load_pem_x509_certificates(open("ours.pem", "rb").read())
builder = rfc3161_client.VerifierBuilder().tsa_certificate(signer).add_root_certificate(others[-1])
for each in others[:-1]:
    builder = builder.add_intermediate_certificate(each)
digest = hashlib.sha256(open("a.txt", "rb").read()).digest()
builder.build().verify(rfc3161_client.decode_timestamp_response(open("r.tsr", "rb").read()), digest)
"""


class _UtsServer(RunningServer):
    path = "/"

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2):
            return True
        return False


def write_authority(folder: Path) -> Path:
    """Write key, chain and openssl.cnf of an authority into a folder; returns the path of openssl.cnf."""
    key = shared_key("ecdsa-p256")
    chain = [each.public_bytes(Encoding.PEM) for each in Pki().chain(key.public_key())]
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "signer.pem").write_bytes(chain[0])
    (folder / "chain.pem").write_bytes(b"".join(chain[1:]))
    (folder / "serial").write_text("01\n")
    path = folder / "openssl.cnf"
    path.write_text(_OPENSSL_CONFIG.format(folder=folder))
    return path


def write_uts_config(folder: Path, port: int) -> Path:
    """Write the configuration of a uts-server with the authority of `write_authority`; returns its path."""
    authority = write_authority(folder).read_text()
    path = folder / "uts-server.cnf"
    path.write_text(authority + _UTS_CONFIG.format(port=port, threads=_UTS_THREADS))
    return path


def _start_uts_server(program: str, folder: Path) -> RunningServer:
    port = free_port()
    return _UtsServer([program, "-c", str(write_uts_config(folder, port))], port=port)


def _start_reference(program: Path) -> RunningServer:
    # It has no flag for the address of its metrics, which are on port 2112 of all interfaces.
    port = free_port()
    flags = ("--timestamp-signer", "memory", "--disable-ntp-monitoring=true")
    return RunningServer([str(program), "serve", "--host", "127.0.0.1", "--port", str(port), *flags], port=port)


def reference_programs() -> Path | str:
    """Return the folder of the Sigstore Timestamp Authority's programs, or why there is none; builds them once."""
    try:
        from tests.interop.builds import BuildFailed, NoToolchain, built
    except ImportError as error:
        return str(error)
    try:
        return built("reference") / "bin"
    except (BuildFailed, NoToolchain) as error:
        return str(error)


@contextmanager
def peer_servers(folder: Path) -> Iterator[tuple[dict[str, RunningServer], dict[str, str]]]:
    """Start all servers that are here; gives them by name, and why each other one is missing. `folder` is for files."""
    running: dict[str, RunningServer] = {}
    missing: dict[str, str] = {}
    starts: dict[str, Callable[[], RunningServer]] = {}
    program = shutil.which("uts-server")
    if program is None:
        missing["uts-server"] = "it is not on the path, and no package index has it"
    else:
        starts["uts-server"] = lambda: _start_uts_server(program, folder)
    reference = reference_programs()
    if isinstance(reference, Path):
        starts["Sigstore, Go"] = lambda: _start_reference(reference / "timestamp-server")
    else:
        missing["Sigstore, Go"] = reference
    try:
        for name, start in starts.items():
            try:
                running[name] = start()
            except (OSError, RuntimeError) as error:
                # The last line of its log says why; the lines before, that it tries to start.
                missing[name] = str(error).strip().splitlines()[-1][:200]
        yield running, missing
    finally:
        for server in running.values():
            server.close()


def peer_commands(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Return the peers' commands by name. They use a.txt, r.tsr, r.tsq and ours.pem of the folder, where they run."""
    commands: dict[str, tuple[str, ...]] = {}
    if openssl := shutil.which("openssl"):
        config = write_authority(folder)
        reply = (openssl, "ts", "-reply", "-config", str(config), "-queryfile", "r.tsq", "-out", "openssl.tsr")
        verify = (openssl, "ts", "-verify", "-data", "a.txt", "-in", "r.tsr", "-CAfile", "ours.pem")
        commands |= {"openssl ts -reply": reply, "openssl ts -verify": verify}
    if find_spec("rfc3161_client"):
        commands["rfc3161-client in a script"] = (sys.executable, "-P", "-c", _RFC3161_CLIENT)
    reference = reference_programs()
    if isinstance(reference, Path):
        flags = ("--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "ours.pem")
        commands["timestamp-cli verify, Sigstore, Go"] = (str(reference / "timestamp-cli"), "verify", *flags)
    return commands
