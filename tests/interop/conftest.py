"""A real timestamp-server on loopback for the clients of others, one for each kind of key."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tsa_core.testing.forged_pki import Chain, make_chain
from tsa_core.verify import TrustStore


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server: where it is, and its chain as certificates and as files."""

    url: str
    chain: Chain
    chain_file: Path
    root_file: Path
    key_file: Path

    @property
    def trust(self) -> TrustStore:
        return TrustStore.from_chain(self.chain.pem)


def write_chain(chain: Chain, folder: Path) -> tuple[Path, Path, Path]:
    """Write chain, root and key; return their paths."""
    chain_file, root_file, key_file = folder / "chain.pem", folder / "root.pem", folder / "key.pem"
    chain_file.write_bytes(chain.pem)
    root_file.write_bytes(chain.root.certificate.public_bytes(Encoding.PEM))
    key = chain.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_file.touch(0o600)
    key = chain.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_file.write_bytes(key)
    return chain_file, root_file, key_file


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[Served]:
    """Run timestamp-server with a new chain of this kind of key until the block ends."""
    chain = make_chain(kind)
    chain_file, root_file, key_file = write_chain(chain, folder)
    command = [sys.executable, "-m", "tsa_core.cli.server", "serve", "--port", "0"]
    command += ["--timestamp-signer", "file", "--file-signer-key-path", str(key_file)]
    command += ["--certificate-chain-path", str(chain_file)]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    drain = None
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("listening on "):
                break
        else:
            pytest.fail("the server did not start: " + "".join(lines))
        origin = line.split()[2]
        # Somebody must go on reading, or the server would stop when the pipe is full.
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        yield Served(
            url=f"{origin}/api/v1/timestamp",
            chain=chain,
            chain_file=chain_file,
            root_file=root_file,
            key_file=key_file,
        )
    finally:
        process.terminate()
        process.wait(timeout=30)
        if drain is not None:
            drain.join()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture(scope="session")
def served_ec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving("p256", tmp_path_factory.mktemp("served-ec")) as server:
        yield server


@pytest.fixture(scope="session")
def served_rsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving("rsa3072", tmp_path_factory.mktemp("served-rsa")) as server:
        yield server


@pytest.fixture(params=["served_ec", "served_rsa"])
def served(request: pytest.FixtureRequest) -> Served:
    server: Served = request.getfixturevalue(request.param)
    return server
