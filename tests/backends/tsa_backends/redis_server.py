"""A real Redis with a password, in memory or in a file."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from tsa_backends.server_process import ServerProcess, free_port
from tsa_core.testing import require_program

PASSWORD = "redis-secret-7d1e40"
"""A text that a search of logs cannot find by accident."""


class RedisServer:
    """One server on one port; `durable`: what was counted is still there after a crash."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        config = folder / "redis.conf"
        # Not on the command line, where everybody could read the password.
        config.write_text(
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {PASSWORD}\nsave ""\n'
            f"appendonly {'yes' if durable else 'no'}\ndir {folder}\n"
        )
        program = require_program("redis-server", package="redis-server")
        self.process = ServerProcess([program, config], folder / "redis.log")

    def start(self) -> None:
        """Start it."""
        self.process.start(self._answers)

    def freeze(self) -> None:
        """Let it answer nothing, and keep its connections."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self.process.signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(f"AUTH {PASSWORD}\r\nPING\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False
