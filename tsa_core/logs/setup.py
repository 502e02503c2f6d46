"""Sends all log records to stderr in one format."""

from __future__ import annotations

import logging
import os
import sys

from tsa_core.config import LogSettings
from tsa_core.logs.access import AccessLog, ConsoleAccessLog, JsonAccessLog
from tsa_core.logs.formatting import LineFormatter
from tsa_core.logs.keys import KEYS
from tsa_core.logs.writer import LineWriter

_NOISY = ("waitress.queue", "urllib3.connectionpool")
"""Loggers that warn once for each request in an overload."""


class _Handler(logging.Handler):
    """Writes records soon, after the access lines that wait. A record that cannot be formatted raises nothing."""

    def __init__(self, writer: LineWriter, formatter: LineFormatter) -> None:
        super().__init__()
        self.writer = writer
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.writer.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - a failure to log must not stop the caller
            self.handleError(record)

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
        super().close()


def set_up_logging(settings: LogSettings | None = None, *, level: int | None = None) -> None:
    """Send the records of all loggers to stderr; replaces an earlier set-up.

    `level` overrides the settings' level, for commands that print their own messages.
    """
    settings = settings or LogSettings()
    writer = LineWriter(_stderr())
    handler = _Handler(writer, LineFormatter(settings.type, colours=_colours(), keys=KEYS[settings.keys]))
    chosen = level if level is not None else logging.getLevelNamesMapping()[settings.level.upper()]
    logging.basicConfig(level=chosen, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(chosen, logging.ERROR))


def access_log(settings: LogSettings, *, identities: bool = False) -> AccessLog | None:
    """Return the access log, which shares a writer with all other records; None when it is off.

    With `identities` its lines say who sent a request, which guards find out.
    """
    if not settings.writes_requests:
        return None
    writer = _writer() or LineWriter(_stderr())
    if settings.type == "prod":
        return JsonAccessLog(writer, digest=settings.digest, identities=identities, keys=KEYS[settings.keys])
    return ConsoleAccessLog(writer, digest=settings.digest, identities=identities, colours=_colours())


def say(line: str) -> None:
    """Write a line for people to stderr, in its place among the records and without waiting for a reader."""
    if (writer := _writer()) is not None:
        writer.write(f"{line}\n")
    else:
        sys.stderr.write(f"{line}\n")


def end_log_thread() -> None:
    """Write what waits and end the thread that writes, before a fork of which Python does not know."""
    if (writer := _writer()) is not None:
        writer.end_thread()


def prepare_log() -> None:
    """Import what the first record needs to be rendered; a process that has little time left may not have that time."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.format(logging.LogRecord(__name__, logging.ERROR, "", 0, "", (), None))


def write_waiting_lines() -> None:
    """Write what waits from the calling thread, as far as the reader has room, before the process ends at once."""
    if (writer := _writer()) is not None:
        writer.write_waiting_here()


def dropped_lines() -> int:
    """Return how many lines this process has dropped, because nobody read them in time."""
    writer = _writer()
    return writer.dropped if writer is not None else 0


def _writer() -> LineWriter | None:
    handlers = logging.getLogger().handlers
    return next((handler.writer for handler in handlers if isinstance(handler, _Handler)), None)


def _stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return 2  # replaced by an object without a descriptor


def _colours() -> bool:
    """Say whether stderr is a terminal whose user has not asked for plain text (no-color.org)."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and os.isatty(_stderr())
