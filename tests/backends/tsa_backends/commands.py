"""Commands and servers of ours as processes, without the second that loading the program takes each time.

One process per test worker loads the program and then waits. For each command it forks a process that has the command's
own arguments, variables, folder and output, and runs the program's `main`. Tests of how a process starts and ends start
one from the beginning.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

PROGRAMS = {
    "certificate-maker": "tsa_core.cli.certificate_maker",
    "fetch-tsa-certs": "tsa_core.cli.fetch_tsa_certs",
    "timestamp-cli": "tsa_core.cli.timestamp",
    "timestamp-server": "tsa_core.cli.server",
}
"""Each with the module whose `main` it is."""
_LOADED_BEFOREHAND = (
    "tsa_core.hosting.serving",
    "tsa_core.hosting.granian.embedded",
    "tsa_core.hosting.granian.listeners",
    "tsa_core.hosting.granian.settings",
    "tsa_core.service.memory_protection",
    "tsa_core.http.openapi",
    "tsa_core.http.routes",
    "tsa_core.http.sigstore",
    "tsa_core.http.web_pages",
    "tsa_core.service.published",
    "tsa_core.cli.init_files",
    "tsa_core.client",
    "tsa_core.conformance.chains",
)
"""What servers and commands import while they run; not the library of metrics, which then reads a variable."""
_SECONDS = 120
_one_at_a_time = threading.Lock()
_SERVE = [sys.executable, "-m", PROGRAMS["timestamp-server"], "serve"]
_READ_AT_THE_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_", "OPENSSL_", "PROMETHEUS_")
"""How the names of variables begin that a process heeds while it starts or loads its modules, and not later."""
_HEEDED_LATER = {"PYTHONFAULTHANDLER", "PYTHONPATH"}
"""Those of them that a fork heeds, too."""
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def run_command(
    *arguments: str | Path,
    program: str = "timestamp-server",
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    removed: tuple[str, ...] = ("TSA_", "TLS_", "HOST", "PORT", "SCHEME"),
) -> subprocess.CompletedProcess[str]:
    """Run a program of PROGRAMS to its end, one at a time.

    It has the test's variables, but for those whose names begin as in `removed`, and those of `environ`. With one
    among these that Python itself heeds when it starts, but for PYTHONPATH, it is a process from the beginning.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    variables = {**inherited, **(environ or {})}
    if any(name.startswith("PYTHON") for name in {*(environ or {})} - _HEEDED_LATER):
        return subprocess.run(
            [sys.executable, "-m", PROGRAMS[program], *map(str, arguments)],
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        order = {
            "program": program,
            "arguments": list(map(str, arguments)),
            "cwd": str(cwd or Path.cwd()),
            "environ": variables,
            "stdout": str(out),
            "stderr": str(err),
        }
        with _one_at_a_time:
            (answer,) = _asked(order, answers=1)
        return subprocess.CompletedProcess(
            [program, *map(str, arguments)],
            os.waitstatus_to_exitcode(int(answer)),
            out.read_text(encoding="utf-8"),
            err.read_text(encoding="utf-8"),
        )


class ForkedServer(subprocess.Popen[str]):
    """What `ServerProcess` starts a server with, in place of Popen: a fork of the process that has loaded the program.

    It is a child of the test's own process as any other. A server that is given a variable of _READ_AT_THE_START, or
    that another program starts, is a process from the beginning.
    """

    # What Popen leaves to its operating system, with 16 positional arguments in Python 3.11 to 3.14.
    def _execute_child(self, args: Sequence[str], *more: Any) -> None:
        environ, pipes = more[5], more[9:15]
        if sys.platform != "linux" or list(args[:4]) != _SERVE or _needs_a_start(environ):
            super()._execute_child(args, *more)  # type: ignore[misc] # it is not public
            return
        order = {
            "program": "timestamp-server",
            "arguments": args[3:],
            "cwd": str(Path.cwd()),
            "environ": environ,
            "stdout": os.devnull,
            "stderr": f"/proc/{os.getpid()}/fd/{pipes[-1]}",
            "serves": True,
        }
        prctl = ctypes.CDLL(None).prctl
        with _one_at_a_time:
            # The process between, which ends at once, leaves the server to the nearest one above that takes such.
            prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                pid, _ = _asked(order, answers=2)
            finally:
                prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        self.pid = int(pid)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined] # as above


def _needs_a_start(environ: Mapping[str, str]) -> bool:
    """Return whether the variables differ from the test worker's in one that a process heeds while it starts."""
    loaded = _variables_when_loaded()
    changed = {name for name in {*environ, *loaded} if environ.get(name) != loaded.get(name)}
    return any(name.startswith(_READ_AT_THE_START) for name in changed - _HEEDED_LATER)


def _asked(order: Mapping[str, Any], *, answers: int) -> list[str]:
    server = _fork_server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()
    lines = [server.stdout.readline() for _ in range(answers)]
    assert all(lines), "the process that loads the program has ended"
    return lines


@functools.cache
def _variables_when_loaded() -> Mapping[str, str]:
    return dict(os.environ)


@functools.cache
def _fork_server() -> subprocess.Popen[str]:
    _variables_when_loaded()
    command = [sys.executable, "-P", __file__]  # the folder of this file is not to be searched for modules
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop() -> None:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.close()
        server.wait(_SECONDS)
        server.stdout.close()  # else the interpreter, at its end, warns of it when nobody can fail any more

    atexit.register(stop)
    return server


def _serve() -> None:
    """Run the commands that come as lines of JSON on stdin; print the wait status of each."""
    mains = {program: importlib.import_module(module).main for program, module in PROGRAMS.items()}
    # What commands import when they are asked for or run, here already: else each child would import it anew.
    importlib.import_module("tsa_core.cli.program_group").all_commands(
        importlib.import_module("tsa_core.cli.server_group").server
    )
    for module in _LOADED_BEFOREHAND:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is loaded stays, and no process writes into these pages to count it
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            streams = (
                os.open(os.devnull, os.O_RDONLY),
                os.open(order["stdout"], writing),
                os.open(order["stderr"], writing),
            )
            if order.get("serves") and (server := os.fork()):
                os.write(1, b"%d\n" % server)
                os._exit(0)
            _execute(mains[order["program"]], order, streams)
        sys.stdout.write(f"{os.waitpid(child, 0)[1]}\n")
        sys.stdout.flush()


def _execute(main: Callable[[], object], order: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Become the process of one command, which has these files as stdin, stdout and stderr."""
    if not order.get("serves"):
        signal.alarm(_SECONDS)  # a command that hangs ends by SIGALRM, and its test with it
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Python's own have noted whether what they wrote to until now can be sought in.
    sys.stdout = os.fdopen(1, "w", encoding=sys.stdout.encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1, closefd=False)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    sys.argv = [order["program"], *order["arguments"]]
    # As Python itself does when it starts. Nothing has looked for plugins yet.
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if "PYTHONFAULTHANDLER" in os.environ:
        faulthandler.enable()
    try:
        main()
        code: Any = 0
    except SystemExit as error:
        code = error.code
    except BaseException:  # noqa: BLE001 - as Python itself would: a traceback, and 1
        sys.excepthook(*sys.exc_info())
        code = 1
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if order.get("serves"):
        sys.exit(code)  # the interpreter ends in order: a server does things then
    os._exit(code or 0)


if __name__ == "__main__":
    _serve()
