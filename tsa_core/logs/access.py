"""The access log: one line for each request, formatted without structlog for speed.

Most lines of a server are the same but for time, id, duration and serial number. So a line is prepared once for each
client, profile and hash, and filled in for each request (decision 291).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple, TypeAlias

from tsa_core.authority import AnsweredRequest, RequestTrace
from tsa_core.logs.keys import PLAIN, Keys
from tsa_core.logs.writer import LineWriter, unmade

_MAX_PATH = 256
"""Characters of a path that are logged; the rest is cut off."""
_MAX_PREPARED = 1024
_Kind: TypeAlias = tuple[str, str, str, str, str | None, bytes]
"""What lines of granted requests differ by: client, code, method, path, profile, hash."""
_Filler: TypeAlias = Callable[[int, str | None, RequestTrace], str]
"""Makes the line of a request of its duration in nanoseconds, its id and its trace."""
_GREEN, _YELLOW, _RED, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"


class AnsweredTogether(NamedTuple):
    """Requests that were answered together at `time`, in seconds since 1970; perf_counter_ns() was `ended_ns` then."""

    time: float
    method: str
    path: str
    ended_ns: int
    requests: Sequence[AnsweredRequest]


class AccessLog(ABC):
    """Writes a line for each request; `digest` adds the message digest that was sent, `identities` who sent it."""

    def __init__(self, writer: LineWriter, *, digest: bool = False, identities: bool = False) -> None:
        self._writer = writer
        self._digest = digest
        self._identities = identities
        self._second = (0, "")
        self._known: dict[_Kind, str] = {}

    def write(self, answered: AnsweredTogether) -> None:
        """Write the lines of requests soon. Nothing may change `answered` after this call."""
        self._writer.add((self.lines, answered), count=len(answered.requests))

    def lines(self, answered: AnsweredTogether) -> str:
        """Return the lines of requests; one that cannot be made says so."""
        now, method, path, ended_ns, requests = answered
        moment = self._time(now)
        lines = []
        kind = None
        for trace, code, client, request_id in requests:
            try:
                request = trace.request
                if trace.failure is not None or request is None or not trace.ended:
                    prepared = self._prepare(method, path, code, client, trace)
                    lines.append(self._fill(prepared, moment, ended_ns - trace.started, request_id, trace))
                    continue
                # All that `_prepare` looks at. Nothing of it is long, since it is about one of our own routes.
                kind_of_this = client, code, method, path, trace.profile, request.hash_oid_der
                if kind != kind_of_this:
                    fill = self._filler(self._prepared(kind_of_this, trace), moment)
                    kind = kind_of_this
                lines.append(fill(ended_ns - trace.started, request_id, trace))
            except Exception as error:  # noqa: BLE001 - one bad line must not prevent the others
                lines.append(unmade(error))
        return "".join(lines)

    def _prepared(self, kind: _Kind, trace: RequestTrace) -> str:
        """Return the format of the lines of granted requests of one kind, which is kept."""
        known = self._known.get(kind)
        if known is None:
            if len(self._known) >= _MAX_PREPARED:
                self._known.clear()
            client, code, method, path, _, _ = kind
            known = self._known[kind] = self._prepare(method, path, code, client, trace)
        return known

    def _filler(self, prepared: str, moment: str) -> _Filler:
        """Return what makes the lines of granted requests of one kind that were answered at one moment."""
        return lambda duration_ns, request_id, trace: self._fill(prepared, moment, duration_ns, request_id, trace)

    @abstractmethod
    def _prepare(self, method: str, path: str, code: str, client: str, trace: RequestTrace) -> str:
        """Return the format of a line, with all that requests of the same kind and client have in common."""

    @abstractmethod
    def _fill(self, prepared: str, moment: str, duration_ns: int, request_id: str | None, trace: RequestTrace) -> str:
        """Return the line, with what is this request's alone."""

    @abstractmethod
    def _whole_second(self, second: int) -> str:
        """Return a time without its fraction."""

    def _time(self, now: float) -> str:
        second = int(now)
        known, text = self._second
        if known != second:
            text = self._whole_second(second)
            self._second = (second, text)
        return f"{text}.{int((now - second) * 1e6):06d}"

    def flush(self) -> None:
        """Write the lines that wait."""
        self._writer.flush()

    @staticmethod
    def _digest_sent(trace: RequestTrace) -> str | None:
        return trace.request.digest.hex() if trace.request else None


class JsonAccessLog(AccessLog):
    """JSON lines; docs/operate/logs.md is the schema. Every line has all keys, in the same order."""

    def __init__(
        self, writer: LineWriter, *, digest: bool = False, identities: bool = False, keys: Keys = PLAIN
    ) -> None:
        super().__init__(writer, digest=digest, identities=identities)
        self._duration, self._unit = duration, _ = keys.duration
        # %s is JSON already, and %%s what `_fill` fills in. The core's own words (profile, hash) need no quoting.
        values = {
            "timestamp": '"%%sZ"',
            "level": f'"{keys.level("info")}"',
            "logger": '"tsa_core.access"',
            "event": '"request"',
            "request_id": "%%s",
            "client": "%s",
            "method": "%s",
            "path": "%s",
            "status": "%s",
            "duration_ms": f"%{duration}",
            "profile": "%s",
            "hash": "%s",
            "outcome": "%s",
            "serial": "%%s",
            "fail_info": "%s",
            "reason": "%%s",
            **({"identity": "%%s", "tenant": "%%s"} if identities else {}),
            **({"digest": "%%s"} if digest else {}),
        }
        named = [f'"{keys[name]}":{value}' for name, value in values.items()]
        self._traced = keys.trace is not None
        self._more = self._traced or identities or digest
        self._pieces: tuple[str, Sequence[str]] = ("", ())
        if self._traced:
            named.insert(4, f'"{keys.trace}":%%s')
        self._format = f"{{{keys.extra.replace('%', '%%%%')}{','.join(named)}}}\n"

    def _prepare(self, method: str, path: str, code: str, client: str, trace: RequestTrace) -> str:
        outcome = failure = "null"
        if trace.ended:
            outcome = '"granted"' if trace.failure is None else '"refused"'
        if trace.failure is not None:
            failure = f'"{trace.failure.text}"'
        values = (
            quoted(client),
            quoted(method),
            quoted(path[:_MAX_PATH]),
            code,
            f'"{trace.profile}"' if trace.profile else "null",
            f'"{name}"' if (name := trace.hash_name) else "null",
            outcome,
            failure,
        )
        return self._format % tuple([value.replace("%", "%%") for value in values])

    def _filler(self, prepared: str, moment: str) -> _Filler:
        if self._more:
            return super()._filler(prepared, moment)
        of, pieces = self._pieces
        if of != prepared:
            # Pieces that are joined take half the time of a format. JSON has no NUL in it, and a % of its text is two.
            pieces = (prepared.replace(f":{self._duration}", ":%s") % (("\0",) * 5)).split("\0")
            self._pieces = prepared, pieces
        before, after, between, behind, last, end = pieces
        head, tail = f"{before}{moment}{after}", f"{last}null{end}"
        duration, unit = self._duration, self._unit

        def fill(duration_ns: int, request_id: str | None, trace: RequestTrace) -> str:
            identifier = quoted(request_id) if request_id else "null"
            serial = f'"{trace.serial_der[2:].hex()}"' if trace.serial_der else "null"
            return f"{head}{identifier}{between}{duration % (duration_ns / unit)}{behind}{serial}{tail}"

        return fill

    def _fill(self, prepared: str, moment: str, duration_ns: int, request_id: str | None, trace: RequestTrace) -> str:
        identifier = quoted(request_id) if request_id else "null"
        serial = reason = "null"
        if trace.failure is not None:
            reason = quoted(trace.reason)
        elif trace.ended and trace.serial_der:  # a countersignature has none
            serial = f'"{trace.serial_der[2:].hex()}"'
        values: tuple[object, ...] = (moment, identifier, duration_ns / self._unit, serial, reason)
        if self._traced:
            values = (moment, identifier, *values[1:])
        if self._identities:
            who = trace.identity
            values = (
                *values,
                quoted(who.name) if who else "null",
                quoted(who.tenant) if who and who.tenant else "null",
            )
        if self._digest:
            digest = self._digest_sent(trace)
            values = (*values, f'"{digest}"' if digest else "null")
        return prepared % values

    def _whole_second(self, second: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class ConsoleAccessLog(AccessLog):
    """Lines for people: first what happened, then `name=value` for each known value."""

    def __init__(
        self, writer: LineWriter, *, digest: bool = False, identities: bool = False, colours: bool = False
    ) -> None:
        super().__init__(writer, digest=digest, identities=identities)
        self._colours = colours

    def _prepare(self, method: str, path: str, code: str, client: str, trace: RequestTrace) -> str:
        path = path[:_MAX_PATH]
        method = method if method.isalnum() else quoted(method)
        path = path if path.isascii() and path.isprintable() and " " not in path else quoted(path)
        client = f"client={client if client.isascii() and client.isprintable() else quoted(client)}"
        known = f" profile={trace.profile}" if trace.profile else ""
        if hash_name := trace.hash_name:
            known += f" hash={hash_name}"
        before, middle, after = (
            text.replace("%", "%%") for text in (f"{method} {path} {self._coloured(code)}", client, known)
        )
        return f"%s [info     ] {before} %.2fms {middle}%s{after}%s\n"

    def _fill(self, prepared: str, moment: str, duration_ns: int, request_id: str | None, trace: RequestTrace) -> str:
        identity = outcome = ""
        if self._identities and (who := trace.identity):
            identity = f" identity={quoted(who.name)}" + (f" tenant={quoted(who.tenant)}" if who.tenant else "")
        if trace.failure is not None:
            outcome = f" refused={trace.failure.text} reason={quoted(trace.reason)}"
        elif trace.ended:
            outcome = f" serial={trace.serial_der[2:].hex()}" if trace.serial_der else " countersigned"
        if self._digest and (digest := self._digest_sent(trace)):
            outcome += f" digest={digest}"
        if request_id:
            outcome += f" id={request_id}"
        return prepared % (moment, duration_ns / 1e6, identity, outcome)

    def _coloured(self, code: str) -> str:
        if not self._colours:
            return code
        return f"{_GREEN if code < '400' else _YELLOW if code < '500' else _RED}{code}{_PLAIN}"

    def _whole_second(self, second: int) -> str:
        return time.strftime("%H:%M:%S", time.localtime(second))
