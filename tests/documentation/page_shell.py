"""A shell for the commands of one page: a folder, variables, and our programs without their start-up time."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.documentation.our_commands import commands, words
from tests.documentation.shell_blocks import ROOT, Block, Step
from tsa_backends.commands import PROGRAMS, run_command
from tsa_backends.server_process import free_port
from tsa_core.testing import ServerProcess

ADDRESS = "127.0.0.1:3000"
"""Where the pages' servers listen."""
_RUN = {
    "awk",
    "cat",
    "cp",
    "curl",
    "cut",
    "diff",
    "echo",
    "find",
    "grep",
    "ls",
    "mkdir",
    "mv",
    "openssl",
    "printf",
    "sed",
    "sha256sum",
}
"""Other people's programs that may be typed: they change nothing outside the page's folder."""
_PLAIN = re.compile(r"[^|&;<>$`*~]*")
_SECONDS = 60
_HIDDEN = ("TSA_", "TLS_", "HOST", "PORT", "SCHEME", "TIMESTAMP_")


class PageShell:
    """Types the commands of a page one after another; `trial_port` starts the server of `make serve` when asked."""

    def __init__(self, folder: Path, trial_port: Callable[[], int]) -> None:
        self._cwd = folder
        self._home = folder.parent / f"{folder.name}-home"
        self._home.mkdir()
        self._trial_port = trial_port
        self._port: int | None = None
        self._started = ExitStack()
        self._environ: dict[str, str] = {}
        for name in ("README.md", "constraints.txt"):
            (folder / name).write_bytes((ROOT / name).read_bytes())
        (folder / "release.tar.gz").write_bytes(b"a release")

    def close(self) -> None:
        """Stop the servers that the page started."""
        self._started.close()

    def run(self, block: Block) -> None:
        """Type a block; raises AssertionError when a command fails or prints other lines than the block has."""
        steps = list(block.steps())
        for step in steps:
            place = f"{block.place}: {step.command}"
            if block.runs_on:
                self._serve(step)
                continue
            printed, code = self._type(self._addressed(step.command))
            assert code == (block.code if step is steps[-1] else 0), f"{place}\nended with {code}:\n{printed}"
            for line in filter(None, map(str.strip, step.output)):
                assert any(_like(line, other) for other in printed.splitlines()), (
                    f"{place}\nprinted nothing like {line!r}, but:\n{printed}"
                )

    def _addressed(self, command: str) -> str:
        """Return a command with the port that the page's server really has."""
        if ADDRESS not in command:
            return command
        port = self._port if self._port is not None else self._trial_port()
        return command.replace(ADDRESS, f"127.0.0.1:{port}")

    def _serve(self, step: Step) -> None:
        """Start `timestamp-server serve`, with the ports that are free here."""
        name, command, *arguments = shlex.split(step.command.replace("\\\n", " "), comments=True)
        assert (name, command) == ("timestamp-server", "serve"), step
        self._port = free_port()
        flags = ["--port", str(self._port), "--metrics-port", "0", *arguments]
        old = Path.cwd()
        os.chdir(self._cwd)
        try:
            self._started.enter_context(ServerProcess(None, *flags))
        finally:
            os.chdir(old)

    def _type(self, command: str) -> tuple[str, int]:
        if _PLAIN.fullmatch(command):
            name, *arguments = shlex.split(command.replace("\\\n", " "), comments=True) or [":"]
            if name == "cd":
                self._cwd = self._cwd / arguments[0]
                return "", 0
            if name == "export":
                self._environ.update(argument.split("=", 1) for argument in arguments)  # type: ignore[misc] # pairs
                return "", 0
            if name in PROGRAMS:
                # A server would not end. `check` takes the same flags, opens the same and makes a trial signature.
                arguments = ["check" if name == "timestamp-server" and each == "serve" else each for each in arguments]
                ended = run_command(*arguments, program=name, cwd=self._cwd, environ=self._variables(), removed=_HIDDEN)
                return ended.stdout + ended.stderr, ended.returncode
        unknown = {name for name in commands(command) if name not in _RUN | set(PROGRAMS)}
        assert not unknown, f"{command}: no test types {', '.join(unknown)}; say before the block why it is not run"
        assert "serve" not in words(command), f"{command}: a server would not end here"
        result = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=self._cwd,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)},
                **self._variables(),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return result.stdout + result.stderr, result.returncode

    def _variables(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"HOME": str(self._home), "PATH": path, **self._environ}


def _like(documented: str, printed: str) -> bool:
    """Tell whether a line is the documented one, but for figures and what `...` stands for."""
    parts = (re.escape(part) for part in re.split(r"(?:\.\.\.|…)", documented))
    pattern = re.sub(r"(?:\\[-:.]|[0-9])*[0-9]", lambda _: r"[-0-9:.]+", ".*".join(parts))
    return re.fullmatch(pattern, printed.strip()) is not None
