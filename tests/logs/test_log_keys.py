"""`[log] keys`: every line has the names of the service that reads it, and says the same."""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from typing import Any

import pytest

from tests.conformance.plain_encoder import PlainRequest
from tests.logs.test_log_lines import EVIL, KEYS, trace_of, written
from tsa_core.api import ConfigError, Identity
from tsa_core.authority import RequestTrace
from tsa_core.config import load_settings
from tsa_core.logs.access import ConsoleAccessLog, JsonAccessLog
from tsa_core.logs.formatting import LineFormatter
from tsa_core.logs.keys import KEYS as SCHEMAS
from tsa_core.logs.keys import KeysName

OTHERS: list[KeysName] = ["gcp", "ecs"]


def request_line(schema: KeysName, **facts: Any) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(written(partial(JsonAccessLog, keys=SCHEMAS[schema]), **facts))
    return line


def record_line(schema: KeysName, record: logging.LogRecord) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(LineFormatter("prod", colours=False, keys=SCHEMAS[schema]).format(record))
    return line


def record(level: int = logging.WARNING, **facts: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "tsa.x", "levelno": level, "levelname": logging.getLevelName(level), **facts})


@pytest.mark.parametrize("schema", OTHERS)
def test_a_request_says_the_same_under_other_names(schema: KeysName) -> None:
    trace = trace_of(PlainRequest().encode())
    ours = request_line("plain", trace=trace, time=7.5, path=EVIL)
    theirs = request_line(schema, trace=trace, time=7.5, path=EVIL)
    keys = SCHEMAS[schema]
    for name in KEYS:
        value = theirs.pop(keys[name])
        expected = ours[name]
        if name == "level":
            expected = keys.level(expected)
        if name == "duration_ms" and schema == "ecs":
            expected = 1_234_567
        assert value == expected, name
    rest = {"gcp": {"logging.googleapis.com/trace": "id-1"}, "ecs": {"ecs.version": "8.11.0"}}
    assert theirs == rest[schema]


@pytest.mark.parametrize(
    ("schema", "name", "tenant"),
    [("plain", "identity", "tenant"), ("gcp", "identity", "tenant"), ("ecs", "user.name", "organization.name")],
)
def test_who_asked_is_said_when_there_are_guards(schema: KeysName, name: str, tenant: str) -> None:
    assert name not in request_line(schema)
    log = partial(JsonAccessLog, keys=SCHEMAS[schema], identities=True)
    for identity, said in (
        (None, (None, None)),
        (Identity(name='a "b"'), ('a "b"', None)),
        (Identity(name="alice", tenant="acme"), ("alice", "acme")),
    ):
        trace = RequestTrace()
        trace.identity = identity
        line = json.loads(written(log, trace=trace))
        assert (line[name], line[tenant]) == said
    people = written(partial(ConsoleAccessLog, identities=True), trace=trace)
    assert ' identity="alice" tenant="acme" ' in people


@pytest.mark.parametrize("schema", ["plain", *OTHERS])
def test_nothing_known_and_no_id_are_null(schema: KeysName) -> None:
    line = request_line(schema, trace=RequestTrace(), request_id=None)
    keys = SCHEMAS[schema]
    assert line[keys["request_id"]] is None
    assert line[keys["outcome"]] is line[keys["serial"]] is line[keys["reason"]] is None


def test_google_takes_severities_in_capitals() -> None:
    for level, name in ((logging.INFO, "INFO"), (logging.WARNING, "WARNING"), (logging.CRITICAL, "CRITICAL")):
        line = record_line("gcp", record(level, msg="hello"))
        assert (line["severity"], line["message"], line["logger"]) == (name, "hello", "tsa.x")
        assert "level" not in line
        assert "event" not in line


def test_elastic_has_its_version_in_every_line() -> None:
    line = record_line("ecs", record(msg="hello"))
    assert (line["ecs.version"], line["log.level"], line["message"]) == ("8.11.0", "warning", "hello")
    assert line["@timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("schema", "key"), [("plain", "exception"), ("gcp", "stack_trace"), ("ecs", "error.stack_trace")]
)
def test_an_exception_is_where_the_service_looks(schema: KeysName, key: str) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        line = record_line(schema, record(msg="it failed", exc_info=sys.exc_info()))
    assert "ValueError: broken" in line[key]


def test_names_without_json_are_an_error() -> None:
    with pytest.raises(ConfigError, match='keys = "gcp" has an effect with type = "prod" only'):
        load_settings(overrides={"log": {"keys": "gcp"}}, environ={})
    assert load_settings(overrides={"log": {"keys": "gcp", "type": "prod"}}, environ={}).log.keys == "gcp"
