"""A plugin whose calls hang in the kernel, as a disk or a network does that does not answer, while a FIFO is there.

Each call opens the FIFO of its name to read it, which waits in C until somebody opens it for writing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

VARIABLE = "STUCK_FOLDER"
"""Tells the plugin where the FIFOs are."""
SOURCE = """
import os, sys
from pathlib import Path
from typing import ClassVar
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import AuditSink, LocalKeySigner, Observer, Provider, SignerOptions, hookimpl

FOLDER = Path(os.environ["STUCK_FOLDER"])

def stick(what):
    fifo = FOLDER / what
    if fifo.exists():
        (FOLDER / f"{what}.reached").touch()
        with fifo.open("rb") as stream:
            stream.read()

class Signer(LocalKeySigner):
    def __init__(self, name):
        from tsa_core.testing import Pki, new_key
        stick("open")
        super().__init__(new_key())
        self.latency = "local" if name == "local" else "remote"
        self._name = name
        self._chain = [certificate.public_bytes(Encoding.DER) for certificate in Pki().chain(self.public_key)]
        self.sign_digest = None

    def certificate_chain(self):
        return self._chain

    def sign(self, message, *, timeout):
        stick(self._name)
        if (FOLDER / "exit").exists():
            sys.exit("a signer that gives up")
        return super().sign(message, timeout=timeout)

    def close(self):
        stick("close")

class Disk(AuditSink):
    latency: ClassVar = "local"

    def write_all(self, records):
        stick("disk")

    def write(self, record):
        raise NotImplementedError

    def close(self):
        stick("flush")

class Watcher(Observer):
    def observe(self, outcome):
        stick("observe")

@hookimpl
def tsa_signers():
    yield Provider(
        name="stuck", summary="Hangs", options=SignerOptions, open=lambda options: Signer(options.uri.partition(":")[2])
    )

@hookimpl
def tsa_audit_sinks():
    yield Provider(name="stuck", summary="Hangs", open=lambda options: Disk())

@hookimpl
def tsa_observers():
    yield Provider(name="stuck", summary="Hangs", open=lambda options: Watcher())
"""
"""The calls that can hang: `open`, `remote` and `local` (signatures of the signers stuck:remote and stuck:local),
`close`, `disk` and `flush` (the sink's), `observe`."""


class Stuck:
    """Lets calls of the plugin hang, and return."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.environ = {VARIABLE: str(folder)}

    def stick(self, *calls: str) -> None:
        """Let these calls hang from now on."""
        for call in calls:
            os.mkfifo(self.folder / call)

    def reached(self, call: str) -> bool:
        """Say whether such a call hangs, or is about to."""
        return (self.folder / f"{call}.reached").exists()

    def release(self) -> None:
        """Let all calls return."""
        for fifo in [path for path in self.folder.iterdir() if path.is_fifo()]:
            fifo.rename(fifo.with_suffix(".released"))
            while True:
                # Nobody who opens it to read it means that no call hangs here any more.
                with suppress(OSError):
                    os.close(os.open(fifo.with_suffix(".released"), os.O_WRONLY | os.O_NONBLOCK))
                    continue
                break
            fifo.with_suffix(".released").unlink()
            fifo.with_suffix(".reached").unlink(missing_ok=True)
