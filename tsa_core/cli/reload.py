"""timestamp-server reload: tell a running server to read its configuration again, and say what became of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import click

from tsa_core.api import ConfigError, TsaError
from tsa_core.cli import console
from tsa_core.cli.reference_settings import load

if TYPE_CHECKING:
    from tsa_core.hosting.pid_file import ReloadReport

_LOOK_SECONDS = 0.05


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    envvar="TSA_CONFIG",
    help="The server's configuration file, whose [server] pid_file finds it",
)
@click.option("--pid-file", type=click.Path(path_type=Path), metavar="FILE", help="The server's pid file")
@click.option(
    "--pid", type=click.IntRange(1), metavar="N", help="The server's process id; the result is not known then"
)
@click.option(
    "--wait", default=150.0, show_default=True, metavar="SECONDS", help="How long to wait for the result", type=float
)
def reload(config: Path | None, pid_file: Path | None, pid: int | None, wait: float) -> None:
    """Make a running server read configuration, chains and keys again, without losing a request.

    Found by its pid file, the server says what became of it: exit code 0 when the new configuration serves, 1 when it
    was refused and everything goes on as before. With --pid, only the server's log says so.

    \b
    Examples:
      timestamp-server reload --config tsa.toml
      timestamp-server reload --pid-file /run/tsa/tsa.pid
    """  # noqa: D301 - the backslash is click's mark
    if pid is not None:
        _signal(pid)
        console.tell(f"asked process {pid} to reload; its log says what becomes of it")
        return
    try:
        path = pid_file or _configured(config)
    except ConfigError as error:
        # The server would say the same, and it cannot even be found.
        _refused("; ".join(str(error).splitlines()))
        return
    report = report_of_reload(path, wait)
    if not report.succeeded:
        _refused(report.message)
    click.echo(f"reloaded: {report.message}")


def report_of_reload(path: Path, wait: float) -> ReloadReport:
    """Let the server that holds a pid file reload, and return what became of it within `wait` seconds.

    Raises ConfigError when no server holds it, TsaError when it cannot be asked or does not say in time.
    """
    # The HTTP room is heavy, and --pid does without.
    from tsa_core.hosting.pid_file import last_report, running_server

    process = running_server(path)
    before = last_report(path)
    asked = monotonic()
    _signal(process)
    deadline = asked + wait
    # What a reload says that had begun before is not about what the files hold now.
    while (
        (report := last_report(path)) is None
        or before is None
        or report.number == before.number
        or report.began < asked
    ):
        if monotonic() > deadline:
            raise TsaError(f"process {process} has not said within {wait:g} s what became of the reload; see its log")
        before = before or report
        sleep(_LOOK_SECONDS)
    return report


def _refused(message: str) -> None:
    console.tell(f"reload refused, nothing has changed: {message}")
    click.get_current_context().exit(console.EXIT_FAILURE)


def _configured(config: Path | None) -> Path:
    if config is None:
        raise click.UsageError("which server? Give --config FILE, --pid-file FILE or --pid N")
    path = load({"config": config}).settings.server.pid_file
    if path is None:
        raise ConfigError("no pid_file is configured; set it, or give --pid-file or --pid", path="server.pid_file")
    return path


def _signal(process: int) -> None:
    try:
        os.kill(process, signal.SIGHUP)
    except (ProcessLookupError, OverflowError):
        raise TsaError(f"there is no process {process}; is the server running?") from None
    except PermissionError:
        raise TsaError(f"process {process} is another user's; run this as that user") from None
