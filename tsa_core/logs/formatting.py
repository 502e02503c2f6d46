"""The two formats of a log line: text for people, and JSON for machines.

structlog renders. It is imported at the first record, because the import takes 50 ms and a start without problems logs
nothing through it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, MutableMapping
from functools import cached_property
from typing import Any, Literal

from tsa_core.logs.keys import PLAIN, Keys

LogType = Literal["dev", "prod"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTINUED = "    "


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """Return the text with control characters escaped, so that input cannot begin a line or move the cursor."""
    return _CONTROL.sub(_escaped, text)


def _indented(text: str) -> str:
    """Return a traceback with indented lines, which cannot be taken for log lines."""
    return "\n".join(_CONTINUED + one_line(line) for line in text.splitlines())


def _guard(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters in all values, and indent a traceback."""
    for key, value in event.items():
        if key != "exception" and isinstance(value, str):
            event[key] = one_line(value)
    if "exception" in event:
        event["exception"] = _indented(event["exception"])
    return event


def _named(keys: Keys) -> Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]:
    """Return a step that puts the keys of every line first, in the documented order, and names all as asked for."""
    extra: dict[str, Any] = json.loads(f"{{{keys.extra.rstrip(',')}}}")

    def name(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["level"] = keys.level(event["level"])
        ordered = {key: event.pop(key) for key in ("timestamp", "level", "logger", "event")} | dict(event)
        return extra | {keys[key]: value for key, value in ordered.items()}

    return name


class LineFormatter(logging.Formatter):
    """Renders a record of any logger as a line without its newline."""

    def __init__(self, kind: LogType, *, colours: bool, keys: Keys = PLAIN) -> None:
        super().__init__()
        self._kind = kind
        self._keys = keys
        self._colours = colours

    @cached_property
    def _structlog(self) -> logging.Formatter:
        import structlog

        renderer: list[Any]
        if self._kind == "prod":
            renderer = [_named(self._keys), structlog.processors.JSONRenderer()]
            adders = [structlog.stdlib.ExtraAdder(["serving"])]
            time = structlog.processors.TimeStamper(fmt="iso", utc=True)
        else:
            # structlog's own tracebacks show the values of variables, which may be secrets.
            adders = []
            console = structlog.dev.ConsoleRenderer(
                colors=self._colours, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            )
            renderer = [_guard, console]
            time = structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False)
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, time, *adders],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *renderer,
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a record whose arguments do not fit its text is shown unformatted, not lost."""
        try:
            return self._structlog.format(record)
        except (TypeError, ValueError) as error:
            broken = logging.makeLogRecord(
                {**record.__dict__, "msg": "%s [not formatted: %s]", "args": (str(record.msg), error)}
            )
            return self._structlog.format(broken)
