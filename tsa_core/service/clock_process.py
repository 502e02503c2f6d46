"""The process that runs the clock monitors for all workers.

It is started as a new program, not forked: its parent may have threads by then, and it must not inherit the listening
sockets. It ends when its parent ends. Its parent writes its log records. It is told no secret but those of clocks and
monitors, and its memory is protected as that of its parent is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, Pipe
from time import monotonic
from typing import Any

from tsa_core.api import ClockMonitor, ClockVerdict, ConfigError, PluginCrash, TsaError
from tsa_core.api.time_limit import told
from tsa_core.config import PluginSection, Settings
from tsa_core.host import PluginHost
from tsa_core.service.clock_relay import MAX_MONITORS, ClockRelay
from tsa_core.service.memory_protection import forbid_memory_dumps
from tsa_core.service.opening import open_clock

log = logging.getLogger(__name__)

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 30.0
_DUMPABLE = "dumpable"
"""The third argument of the program where core dumps are allowed."""


class ClockProcess:
    """The parent's handle: starts the process, starts it again when it dies, stops it.

    Raises ConfigError when the monitors cannot be opened. Call `look` periodically. `previous` is the process that this
    one replaces at a reload, whose monitors' memories it takes over.
    """

    def __init__(
        self, settings: Settings, relay: ClockRelay, bank: int, *, previous: ClockProcess | None = None
    ) -> None:
        if len(settings.clock.active_monitors) > MAX_MONITORS:
            raise ConfigError(f"more than {MAX_MONITORS} clock monitors", path="clock.monitors")
        self._settings = settings
        self._relay = relay
        self._bank = bank
        self.periods: Mapping[str, timedelta | None] = {}
        """The time between two measurements of each monitor; None when it cannot say."""
        if previous is not None:
            previous.look()
        self._memories: dict[str, str] = dict(previous._memories) if previous else {}
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._next_start = 0.0
        self._process, self._channel = self._start()
        self._await_opened()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection]:
        mine, childs = Pipe()
        descriptor = self._relay.descriptor
        command = [sys.executable, "-P", "-m", __name__, str(childs.fileno()), str(descriptor)]
        if self._settings.server.core_dumps:
            command.append(_DUMPABLE)
        # The new process must find the same modules as this one.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, pass_fds=(childs.fileno(), descriptor), env=environment
        )
        childs.close()
        with contextlib.suppress(OSError):  # it has ended already; the next `look` notices
            settings = settings_of_clocks(self._settings)
            mine.send((settings, self._bank, logging.getLogger().getEffectiveLevel(), self._memories))
        return process, mine

    def _await_opened(self) -> None:
        deadline = monotonic() + _START_SECONDS
        while self._channel.poll(max(0.0, deadline - monotonic())):
            try:
                kind, content = self._channel.recv()
            except (EOFError, OSError):
                break
            if kind == "opened":
                self.periods = content
                return
            if kind == "refused":
                self.stop()
                raise ConfigError(content)
            _log_here(content)
        self.stop()
        raise ConfigError("the process that runs the clock monitors did not start; its messages above say why")

    def look(self) -> None:
        """Write the process's log records, and start it again when it has died."""
        try:
            while self._channel.poll():
                kind, content = self._channel.recv()
                if kind == "log":
                    _log_here(content)
                elif kind == "memory":
                    self._memories.update(content)
                elif kind == "opened":
                    self._pause_seconds = _FIRST_PAUSE_SECONDS
                elif kind == "refused":
                    log.error("the process that runs the clock monitors cannot go on: %s", content)
        except (EOFError, OSError):
            self._replace()

    def _replace(self) -> None:
        now = monotonic()
        if not self._next_start:
            code = self._end_within(_STOP_SECONDS)
            log.error("the process that runs the clock monitors ended (status %d) and is replaced", code)
            self._next_start = now + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, _MAX_PAUSE_SECONDS)
        if now >= self._next_start:
            self._channel.close()
            self._next_start = 0.0
            self._process, self._channel = self._start()

    def leave(self) -> None:
        """In a process forked from the parent: close the channel, so that the process notices the parent's end."""
        self._channel.close()

    def stop(self, *, seconds: float = _STOP_SECONDS) -> None:
        """End the process, by closing its channel; it is killed when it has not ended within `seconds`."""
        self._channel.close()
        self._end_within(seconds)

    def _end_within(self, seconds: float) -> int:
        """Return how the process ended; it is killed when it does not end: a thread of a plugin may keep it."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def settings_of_clocks(settings: Settings) -> Settings:
    """Return settings without what other plugins than clocks and monitors are told, and without the keys' addresses."""
    sections = {
        name: type(section)()
        for name in type(settings).model_fields
        if isinstance(section := getattr(settings, name), PluginSection) and name != "clock"
    }
    profiles = {
        name: profile.model_copy(update={"signer": f"{profile.scheme}:", "signer_options": {}})
        for name, profile in settings.profiles.items()
    }
    signers: dict[str, Any] = {"signer": {}, "certificate_authority": {}, "certificate_signer": {}}
    return settings.model_copy(update={**sections, **signers, "profiles": profiles})


def _log_here(record: dict[str, Any]) -> None:
    logger = logging.getLogger(record["name"])
    if logger.isEnabledFor(record["levelno"]):
        logger.handle(logging.makeLogRecord(record))


class _LogToParent(logging.Handler):
    """Sends records to the parent, as plain data."""

    def __init__(self, channel: Connection) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        message = self.format(record)
        fields = ("name", "levelno", "levelname", "created", "msecs", "pathname", "lineno", "funcName", "module")
        plain = {field: getattr(record, field) for field in fields}
        try:
            self._channel.send(("log", {**plain, "msg": message, "args": None}))
        except OSError:
            self.handleError(record)


def main(arguments: Sequence[str]) -> int:
    """Run the monitors until the parent closes its end of the channel; the exit code is 2 for a ConfigError."""
    if _DUMPABLE not in arguments:
        forbid_memory_dumps()  # before a secret comes
    channel = Connection(int(arguments[0]))
    relay = ClockRelay(int(arguments[1]))
    settings, bank, level, memories = channel.recv()
    logging.basicConfig(level=level, handlers=[_LogToParent(channel)], force=True)
    logging.raiseExceptions = False  # records cannot be sent to a parent that has ended
    host = PluginHost.for_settings(settings)
    try:
        opened = open_clock(settings, host, memories=memories)
        channel.send(("opened", {name: monitor.period for name, monitor in opened.monitors.items()}))
        written: dict[int, ClockVerdict] = {}
        while not channel.poll(_LOOK_SECONDS):
            for index, (name, monitor) in enumerate(opened.monitors.items()):
                verdict, memory = _ask(host, name, monitor)
                # A monitor without a measurement must not overwrite the verdict of the one before it.
                if verdict is written.get(index) or not (verdict.checked_at or verdict.trusted):
                    continue
                relay.write(bank, index, verdict)
                written[index] = verdict
                if memory != memories.get(name, ""):
                    memories[name] = memory
                    channel.send(("memory", {name: memory}))
    except TsaError as error:
        channel.send(("refused", str(error)))
        return 2
    finally:
        host.close()
    return 0


def _ask(host: PluginHost, name: str, monitor: ClockMonitor) -> tuple[ClockVerdict, str]:
    """Return a monitor's verdict and its memory; raises PluginCrash that names it for whatever it raises."""
    try:
        return monitor.verdict(), monitor.memory()
    except BaseException as error:
        what = f"the clock monitor {name!r} ({host.distribution(name)})"
        raise PluginCrash(f"{what} failed: {told(error)}", plugin=name) from error


if __name__ == "__main__":
    import signal

    # Ctrl-C and systemd signal every process of a server, but workers still need the clock: the parent ends this one.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(main(sys.argv[1:]))
