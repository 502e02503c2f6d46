"""Commands of ours as processes, without the half second that loading the program takes each time.

One process per test worker loads the program and then waits. For each command it forks a process that has the command's
own arguments, variables, folder and output, and runs the program's `main` to its end. Tests of how a process starts,
or lives on, start one by themselves (`tsa_core.testing.ServerProcess`).
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

PROGRAMS = {
    "certificate-maker": "tsa_core.cli.certificate_maker",
    "fetch-tsa-certs": "tsa_core.cli.fetch_tsa_certs",
    "timestamp-cli": "tsa_core.cli.timestamp",
    "timestamp-server": "tsa_core.cli.server",
}
"""Each with the module whose `main` it is."""
_SECONDS = 120
_one_at_a_time = threading.Lock()


def run_command(
    *arguments: str | Path,
    program: str = "timestamp-server",
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    removed: tuple[str, ...] = ("TSA_", "TLS_", "HOST", "PORT", "SCHEME"),
) -> subprocess.CompletedProcess[str]:
    """Run a program of PROGRAMS to its end, one at a time.

    It has the test's variables, but for those whose names begin as in `removed`, and those of `environ`. With one
    among these that Python itself heeds when it starts, like PYTHONPATH, it is a process from the beginning.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    variables = {**inherited, **(environ or {})}
    if any(name.startswith("PYTHON") for name in environ or {}):
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
            server = _fork_server()
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps(order) + "\n")
            server.stdin.flush()
            answer = server.stdout.readline()
        assert answer, "the process that loads the program has ended"
        return subprocess.CompletedProcess(
            [program, *map(str, arguments)],
            os.waitstatus_to_exitcode(int(answer)),
            out.read_text(encoding="utf-8"),
            err.read_text(encoding="utf-8"),
        )


@functools.cache
def _fork_server() -> subprocess.Popen[str]:
    command = [sys.executable, "-P", __file__]  # the folder of this file is not to be searched for modules
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(_SECONDS)

    atexit.register(stop)
    return server


def _serve() -> None:
    """Run the commands that come as lines of JSON on stdin; print the wait status of each."""
    mains = {program: importlib.import_module(module).main for program, module in PROGRAMS.items()}
    # What commands import when they are asked for or run, here already: else each child would import it anew.
    importlib.import_module("tsa_core.cli.program_group").all_commands(
        importlib.import_module("tsa_core.cli.server").server
    )
    for module in (
        "tsa_core.hosting.serving",
        "tsa_core.cli.init_files",
        "tsa_core.client",
        "tsa_core.conformance.chains",
    ):
        importlib.import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _execute(mains[order["program"]], order)
        sys.stdout.write(f"{os.waitpid(child, 0)[1]}\n")
        sys.stdout.flush()


def _execute(main: Callable[[], object], order: dict[str, Any]) -> NoReturn:
    """Become the process of one command."""
    signal.alarm(_SECONDS)  # a command that hangs ends by SIGALRM, and its test with it
    os.setsid()
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(order["stdout"], writing), 1)
    os.dup2(os.open(order["stderr"], writing), 2)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    sys.argv = [order["program"], *order["arguments"]]
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
    os._exit(code or 0)


if __name__ == "__main__":
    _serve()
