"""What a log line looks like, and that nobody's input can make one."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.serving import open_service
from tsa_core.api import RequestContext
from tsa_core.authority import RequestTrace
from tsa_core.logs.access import AccessLog, AnsweredTogether, ConsoleAccessLog, JsonAccessLog
from tsa_core.logs.formatting import LineFormatter
from tsa_core.logs.keys import KEYS as KEYS_OF
from tsa_core.logs.keys import KeysName
from tsa_core.logs.writer import LineWriter

KEYS = (
    *("timestamp", "level", "logger", "event", "request_id", "client", "method", "path", "status", "duration_ms"),
    *("profile", "hash", "outcome", "serial", "fail_info", "reason"),
)
EVIL = 'a\n2026-01-01 "forged" \x1b[31m\\ \u2028\x85é'


def written(log: Callable[[LineWriter], AccessLog], **facts: Any) -> str:
    """Return what is written for one request."""
    end, descriptor = os.pipe()
    writer = LineWriter(descriptor)
    trace = facts.pop("trace", None) or RequestTrace()
    said: dict[str, Any] = {"method": "POST", "path": "/api/v1/timestamp", "code": "200", "client": "192.0.2.7"}
    said |= {"request_id": "id-1", "duration_ns": 1_234_567, "time": time.time(), **facts}
    request = (trace, said["code"], said["client"], said["request_id"])
    ended_ns = trace.started + said["duration_ns"]
    log(writer).write(AnsweredTogether(said["time"], said["method"], said["path"], ended_ns, [request]))
    writer.close()
    os.close(descriptor)
    with os.fdopen(end, "rb") as stream:
        return stream.read().decode("utf-8")


def trace_of(body: bytes) -> RequestTrace:
    trace = RequestTrace()
    with open_service() as service:
        service.authority.respond(body, RequestContext(request_id="id-1"), trace)
    return trace


def test_a_granted_request_as_json() -> None:
    trace = trace_of(PlainRequest().encode())
    line = json.loads(written(JsonAccessLog, trace=trace))
    assert tuple(line) == KEYS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert int(line.pop("serial"), 16) == trace.serial_number
    assert line == {
        "level": "info",
        "logger": "tsa_core.access",
        "event": "request",
        "request_id": "id-1",
        "client": "192.0.2.7",
        "method": "POST",
        "path": "/api/v1/timestamp",
        "status": 200,
        "duration_ms": 1.235,
        "profile": "default",
        "hash": "sha256",
        "outcome": "granted",
        "fail_info": None,
        "reason": None,
    }


@pytest.mark.parametrize(
    "log",
    [
        JsonAccessLog,
        partial(JsonAccessLog, digest=True),
        partial(JsonAccessLog, keys=KEYS_OF["gcp"]),
        ConsoleAccessLog,
    ],
    ids=["JSON", "with digest", "gcp", "console"],
)
def test_requests_that_are_answered_together_have_the_lines_that_each_has_alone(
    log: Callable[[LineWriter], AccessLog],
) -> None:
    bodies = [
        PlainRequest(nonce=1).encode(),
        b"nonsense",
        PlainRequest(nonce=2).encode(),
        PlainRequest(hash_name="sha512", digest=bytes(64)).encode(),
        PlainRequest(hash_name="sha1", digest=bytes(20)).encode(),
    ]
    requests = [
        (trace_of(body), code, client, f"id-{client}")
        for client in ("192.0.2.1", "fe80::1%eth0", "%s%%")
        for code in ("200", "201")
        for body in bodies
    ]
    ended_ns = time.perf_counter_ns()
    writer = LineWriter(2)  # formats only
    alone = [log(writer).lines(AnsweredTogether(1.5, "POST", "/a%20b", ended_ns, [each])) for each in requests]
    together = log(writer)
    for _ in range(2):  # prepared, and known from before
        assert together.lines(AnsweredTogether(1.5, "POST", "/a%20b", ended_ns, requests)) == "".join(alone)
    assert all(f"id-{client}" in line for (_, _, client, _), line in zip(requests, alone, strict=True))


@pytest.mark.parametrize("keys", ["plain", "ecs"])
@pytest.mark.parametrize(
    "request_id", ["id-1", EVIL, "%s%%", "", None], ids=["usual", "evil", "percent", "empty", "none"]
)
def test_a_line_joined_from_pieces_is_the_line_that_is_filled_in(keys: KeysName, request_id: str | None) -> None:
    log = JsonAccessLog(LineWriter(2), keys=KEYS_OF[keys])
    granted, countersigned = trace_of(PlainRequest().encode()), trace_of(PlainRequest().encode())
    countersigned.serial_der = b""
    for client in ("192.0.2.1", "%s%%.3f%.0f"):
        for trace in (granted, countersigned):
            for duration_ns in (0, 499, 1_234_567, 10**12):
                ended_ns = trace.started + duration_ns
                requests = [(trace, "200", client, request_id)]
                line = log.lines(AnsweredTogether(1.5, "POST", "/a%20b", ended_ns, requests))
                prepared = log._prepare("POST", "/a%20b", "200", client, trace)
                assert line == log._fill(prepared, log._time(1.5), duration_ns, request_id, trace)
                json.loads(line)


def test_one_line_that_cannot_be_made_prevents_no_other() -> None:
    broken = trace_of(PlainRequest().encode())
    broken.failure = cast("Any", 7)  # a mistake of ours
    traces = (trace_of(b"nonsense"), broken, RequestTrace())
    requests = [(trace, "200", "192.0.2.1", "id") for trace in traces]
    text = JsonAccessLog(LineWriter(2)).lines(AnsweredTogether(0, "POST", "/", time.perf_counter_ns(), requests))
    first, second, third = text.splitlines()
    assert json.loads(first)["outcome"] == "refused"
    assert second.startswith("a line of the log could not be made: AttributeError(")
    assert json.loads(third)["outcome"] is None


@pytest.mark.parametrize(
    ("body", "fail_info", "hash_name"),
    [
        (b"nonsense", "badDataFormat", None),
        (PlainRequest(hash_name="sha1", digest=bytes(20)).encode(), "badAlg", "sha1"),
    ],
)
def test_a_refused_request_as_json(body: bytes, fail_info: str, hash_name: str | None) -> None:
    line = json.loads(written(JsonAccessLog, trace=trace_of(body)))
    assert tuple(line) == KEYS
    assert (line["outcome"], line["fail_info"], line["hash"]) == ("refused", fail_info, hash_name)
    assert line["reason"]
    assert line["serial"] is None


def test_another_route_has_the_same_keys() -> None:
    line = json.loads(written(JsonAccessLog, method="GET", path="/ping", request_id=None))
    assert tuple(line) == KEYS
    assert [line[key] for key in ("request_id", "profile", "hash", "outcome", "serial")] == [None] * 5


@pytest.mark.parametrize("name", ["path", "client", "method", "request_id"])
def test_no_input_can_begin_a_line_or_move_the_cursor(name: str) -> None:
    as_json = written(JsonAccessLog, **{name: EVIL})
    assert json.loads(as_json)[name] == EVIL
    for text in (as_json, "" if name == "request_id" else written(ConsoleAccessLog, **{name: EVIL})):
        assert text.count("\n") == (1 if text else 0)
        assert text.rstrip("\n").isprintable()
        assert text.isascii()


def test_the_reason_of_a_refusal_is_quoted() -> None:
    trace = trace_of(b"nonsense")
    trace.reason = EVIL
    assert json.loads(written(JsonAccessLog, trace=trace))["reason"] == EVIL
    text = written(ConsoleAccessLog, trace=trace)
    assert text.rstrip("\n").isprintable()
    assert "refused=badDataFormat" in text


def test_a_long_path_is_cut() -> None:
    line = json.loads(written(JsonAccessLog, path="/" + "x" * 70_000))
    assert len(line["path"]) == 256


def test_the_digest_is_written_only_when_it_is_asked_for() -> None:
    trace = trace_of(PlainRequest().encode())
    assert trace.request is not None
    digest = trace.request.digest.hex()
    assert digest not in written(JsonAccessLog, trace=trace)
    assert digest not in written(ConsoleAccessLog, trace=trace)
    assert digest in written(lambda writer: JsonAccessLog(writer, digest=True), trace=trace)
    assert digest in written(lambda writer: ConsoleAccessLog(writer, digest=True), trace=trace)
    line = json.loads(written(lambda writer: JsonAccessLog(writer, digest=True)))
    assert tuple(line) == (*KEYS, "digest")
    assert line["digest"] is None


def test_colours_are_for_terminals() -> None:
    assert "\x1b" not in written(ConsoleAccessLog, code="500")
    assert "\x1b[31m500\x1b[0m" in written(lambda writer: ConsoleAccessLog(writer, colours=True), code="500")


# -- what plugins, libraries and the core log ---------------------------------------------------------------------


def record(message: str, *arguments: object, exception: bool = False) -> logging.LogRecord:
    return logging.LogRecord(
        "tsa_signer_x", logging.WARNING, __file__, 1, message, arguments, sys.exc_info() if exception else None
    )


PIN = "20486"


def fail(pin: str) -> None:
    raise ValueError(f"a{EVIL}", len(pin))


def test_records_of_any_logger_are_json_with_the_same_first_keys() -> None:
    line = json.loads(LineFormatter("prod", colours=False).format(record("key %s is slow", EVIL)))
    assert tuple(line) == KEYS[:4]
    assert (line["level"], line["logger"], line["event"]) == ("warning", "tsa_signer_x", f"key {EVIL} is slow")


def test_an_exception_is_one_json_line_and_shows_no_variables() -> None:
    formatter = LineFormatter("prod", colours=False)
    try:
        fail(PIN)
    except ValueError:
        text = formatter.format(record("failed", exception=True))
    assert "\n" not in text
    line = json.loads(text)
    assert tuple(line) == (*KEYS[:4], "exception")
    assert "ValueError" in line["exception"]
    assert PIN not in text


def test_records_for_people_are_one_line_and_tracebacks_are_indented() -> None:
    formatter = LineFormatter("dev", colours=False)
    text = formatter.format(record("key %s is slow", EVIL))
    assert "\n" not in text
    assert text.isprintable()
    assert "tsa_signer_x" in text
    try:
        fail(PIN)
    except ValueError:
        text = formatter.format(record("failed", exception=True))
    first, *rest = text.splitlines()
    assert "failed" in first
    assert len(rest) >= 3
    assert all(line.startswith("    ") and line.isprintable() for line in rest), text
    assert PIN not in text


@pytest.mark.parametrize("kind", ["dev", "prod"])
def test_a_record_that_does_not_fit_its_arguments_is_not_lost(kind: Any) -> None:
    text = LineFormatter(kind, colours=False).format(record("%d keys", "many"))
    assert "keys" in text
    assert "not formatted" in text
