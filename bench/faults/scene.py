"""Where a fault happens: a folder, real servers, and what clients and operators see of them."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import read_reply
from tsa_core.testing import ServerProcess, encode_request, wait_until

MEMORY = '[profiles.default]\nsigner = "memory:"\n'
"""The smallest configuration."""
SECONDS = 60.0
"""How long a fault may take to be seen or to heal, unless it says otherwise."""
_SHOWN = 240
_CHECKOUT = Path(__file__).resolve().parents[2]
_RUN = "server(sys.argv[1:])"
_QUERY = {"Content-Type": "application/timestamp-query"}


class Asked(NamedTuple):
    """What a client got, in words, and after how many seconds; `granted` when it was a token."""

    words: str
    seconds: float
    granted: bool = False


class Ran(NamedTuple):
    """A command that has ended: its exit code, and what it printed to both streams."""

    code: int
    output: str


def took(seconds: float) -> str:
    """Return a duration as the page has it: no two runs would agree on more."""
    return "at once" if seconds < 0.1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


class WatchedServer(ServerProcess):
    """A server with its metrics, asked as clients and operators ask it."""

    folder: Path

    def plain(self, text: str) -> str:
        """Return text as code in one line, without what differs from run to run: the folder, ports, times, pids."""
        return plain(text, self.folder)

    def ask(self, body: bytes | None = None, *, path: str = "/api/v1/timestamp", timeout: float = SECONDS) -> Asked:
        """Ask for a timestamp, with the nonce 1 unless given a body, and say in words what came."""
        connection = http.client.HTTPConnection(*self.address(), timeout=timeout)
        started = monotonic()
        try:
            connection.request("POST", path, encode_request() if body is None else body, _QUERY)
            response = connection.getresponse()
            content = response.read()
        except TimeoutError:
            return Asked(f"no answer within {timeout:g} s", monotonic() - started)
        except (OSError, http.client.HTTPException) as error:
            return Asked(f"no answer: {type(error).__name__}", monotonic() - started)
        finally:
            connection.close()
        return in_words(response.status, content, monotonic() - started)

    def grants(self) -> bool:
        """Say whether a client gets a token now."""
        return self.ask().granted

    def refusal(self, *, seconds: float = SECONDS) -> str:
        """Wait until a client is refused, and return the words."""
        return self.until(lambda: not self.grants(), seconds=seconds, what="a client is refused") and self.ask().words

    def healed(self, *, seconds: float = SECONDS) -> str:
        """Wait until a client gets a token and /readyz is green, and return how long it took."""
        return self.until(
            lambda: self.grants() and self.get("/readyz").status == 200, seconds=seconds, what="the server has healed"
        )

    def until(self, condition: Callable[[], bool], *, what: str, seconds: float = SECONDS) -> str:
        """Wait for a condition and return how long it took, in words."""
        started = monotonic()
        wait_until(
            condition, seconds=seconds, what=f"{what} ({self.ask().words}; {self.readyz()}; log: {self.log[-2000:]})"
        )
        return took(monotonic() - started)

    def logged(self, pattern: str) -> str:
        """Wait until a line of the log matches, and return the last that does, without its time and logger."""
        self.wait_for_log(pattern)
        lines = [line for line in self.log.splitlines() if re.search(pattern, line)]
        return self.plain(lines[-1])

    def readyz(self) -> str:
        """Return the status of /readyz and why it is not 200."""
        reply = self.get("/readyz")
        try:
            checks = json.loads(reply.body)["checks"]
        except (ValueError, KeyError, TypeError):
            return f"{reply.status}"
        bad = [f"{check['name']}: {check.get('reason', '')}" for check in checks if not check["healthy"]]
        return f"{reply.status}, " + self.plain("; ".join(bad)) if bad else f"{reply.status}"

    def metric(self, name: str) -> str:
        """Return the samples of a metric, `timestamp_authority_` left out of the name, as the page shows them."""
        found = re.search(r"metrics at (http://\S+)", self.log)
        assert found is not None, self.log
        with urllib.request.urlopen(found[1], timeout=SECONDS) as response:
            text: str = response.read().decode()
        lines = re.findall(rf"^timestamp_authority_({re.escape(name)}(?:{{[^}}]*}})? \S+)$", text, re.MULTILINE)
        assert lines, f"there is no metric {name}"
        return ", ".join(f"`{line}`" for line in lines)


class Scene:
    """One fault's folder and servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def configure(self, toml: str = MEMORY) -> Path:
        """Write tsa.toml, with metrics on a free port, and return its path."""
        path = self.folder / "tsa.toml"
        path.write_text(toml if "[metrics]" in toml else f"{toml}\n[metrics]\nport = 0\n", encoding="utf-8")
        return path

    @contextmanager
    def serve(
        self,
        toml: str | None = MEMORY,
        *flags: str | Path,
        environ: Mapping[str, str] | None = None,
        wait_for: str = "listening on ",
        prelude: str = "",
        wrapper: Sequence[str] = (),
    ) -> Iterator[WatchedServer]:
        """Serve with a configuration, or with the tsa.toml that is there; it must end with 0 when told to stop.

        `prelude` is Python that the server's process runs first: what cannot be done to it from outside. With a
        `wrapper`, a command that runs the rest of its arguments, all settings are in the flags.
        """
        config = None if wrapper else self.folder / "tsa.toml" if toml is None else self.configure(toml)
        server = WatchedServer(config, *flags, environ=environ, wait_for=wait_for)
        server.command[:0] = wrapper
        server.folder = self.folder
        if prelude:
            server.command[1:3] = ["-c", f"{prelude}\nimport sys\nfrom tsa_core.cli.server_group import server\n{_RUN}"]
        with server:
            yield server

    def reload(self, server: WatchedServer) -> str:
        """Let `timestamp-server reload` do it, with `[server] pid_file`, and return what it printed."""
        done = self.run("reload", "--config", self.folder / "tsa.toml")
        assert server.process.poll() is None, server.log
        return self.plain(done.output)

    def run(self, *arguments: str | Path, environ: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Ran:
        """Run a command of `timestamp-server` to its end."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TSA_")}
        done = subprocess.run(
            [sys.executable, "-m", "tsa_core.cli.server", *map(str, arguments)],
            env={**inherited, "NO_COLOR": "1", "COLUMNS": "200", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Ran(done.returncode, done.stdout)

    def plain(self, text: str) -> str:
        """Return text as code in one line, without what differs from run to run."""
        return plain(text, self.folder)


def plain(text: str, folder: Path) -> str:
    """Return text as code in one line, without what differs from run to run: the folder, ports, times, pids."""
    text = " ".join(text.split()).replace(str(folder), "/srv/tsa").replace(str(_CHECKOUT), "/opt/tsa-core")
    text = re.sub(r"^(\d{4}-\d\d-\d\d[T ])?[\d:.]+Z? \[(\w+) *\] (.*?)( \[[\w.]+\])?$", r"\2: \3", text)
    text = re.sub(r"\brequest [\w-]+: ", "request ID: ", text)
    text = re.sub(r"(127\.0\.0\.\d+|\[::1\]|localhost):\d+", r"\1:PORT", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    text = re.sub(r"\bpid[ =]\d+", "pid PID", text)
    text = re.sub(r"\b[\w-]+\.\d+\.[0-9a-f]{16}\b", "HOST.PID.ID", text)
    text = re.sub(r"( \d{3}) [\d.]+ms\b|\b(id=)[\w-]+", lambda found: found[1] or f"{found[2]}ID", text)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f"`{text.replace('`', chr(39)).replace('|', '/')}`"


def in_words(status: int, content: bytes, seconds: float) -> Asked:
    """Return what a client makes of a reply with this status and body, which took so many seconds."""
    try:
        said = read_reply(content).status
    except EncodingError:
        return Asked(f"HTTP {status}", seconds)
    if said.granted:
        return Asked("a token", seconds, granted=True)
    words = ", ".join(said.failure_names) or said.name
    return Asked(f"`{words}`" + (f": {'; '.join(said.texts)}" if said.texts else ""), seconds)
