"""Whatever a plugin waits for, its clients get an answer in time, and so do all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from tests.conformance.replies import granted, read_reply, refused
from tests.gates import Gate
from tests.serving import Parts, Server, TestSigner, TestSink, open_service, running_server
from tsa_core.api import (
    AuditRecord,
    Clock,
    ConfigError,
    PolicySelector,
    RequestContext,
    ResponseProcessor,
    TimeReading,
    TimeStampReq,
    TokenDraft,
)
from tsa_core.testing import encode_request, wait_until

SYSTEM_FAILURE = "03050600000040"
TIME_NOT_AVAILABLE = "0303010002"
REQUEST = encode_request(b"in time")
LIMIT = "300ms"


class HangingSigner(TestSigner):
    latency = "remote"

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        self.gate.pass_through()  # whatever `timeout` says
        return super().sign(message, timeout=timeout)


class HangingSink(TestSink):
    latency: Literal["local", "remote"] = "remote"

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def write_all(self, records: Sequence[AuditRecord]) -> None:
        self.gate.pass_through()
        super().write_all(records)


class HangingProcessor(ResponseProcessor):
    latency: Literal["local", "remote"] = "remote"

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        self.gate.pass_through()
        return response


class HangingSelector(PolicySelector):
    latency = "remote"

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def select(self, request: TimeStampReq, context: RequestContext) -> str | None:
        self.gate.pass_through()
        return None


class HangingClock(Clock):
    latency = "remote"

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def now(self) -> TimeReading:
        self.gate.pass_through()
        return TimeReading(datetime.now(UTC))


KINDS: dict[str, tuple[Callable[[Gate], dict[str, Any]], dict[str, dict[str, str]], str]] = {
    "signer": (lambda gate: {"signers": {"p256": HangingSigner(gate), "other": TestSigner()}}, {}, SYSTEM_FAILURE),
    "sink": (lambda gate: {"sinks": [HangingSink(gate)]}, {"audit": {"sink_timeout": LIMIT}}, SYSTEM_FAILURE),
    "processor": (
        lambda gate: {"processors": [HangingProcessor(gate)]},
        {"response": {"processor_timeout": LIMIT}},
        SYSTEM_FAILURE,
    ),
    "selector": (
        lambda gate: {"selectors": [HangingSelector(gate)]},
        {"policy": {"selector_timeout": LIMIT}},
        SYSTEM_FAILURE,
    ),
    "clock": (lambda gate: {"clock": HangingClock(gate)}, {"clock": {"source_timeout": LIMIT}}, TIME_NOT_AVAILABLE),
}
ENGINES = ["waitress", pytest.param("granian", marks=pytest.mark.package("granian"))]


def is_ready(server: Server) -> bool:
    return server.request("GET", "/readyz").status == 200


def is_granted(server: Server) -> bool:
    return read_reply(server.post(REQUEST).body).token is not None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_that_hangs_is_refused_in_time_and_readyz_is_red_until_it_answers(
    kind: str, engine: str, gate: Gate
) -> None:
    parts, tables, failure = KINDS[kind]
    profiles = {"default": {"signer_timeout": LIMIT}}
    if kind == "signer":
        profiles["other"] = {"signer": "test:other"}
    with (
        running_server(Parts(**parts(gate)), profiles=profiles, tables=tables, engine=engine, threads=4) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        granted(server.post(REQUEST).body)
        gate.go.clear()
        asked = [pool.submit(server.post, REQUEST) for _ in range(8)]
        gate.wait_for()
        for path in ("/ping", "/healthz"):
            assert server.request("GET", path).status == 200
        if kind == "signer":
            granted(server.post(REQUEST, path="/tsa/other").body)
        for each in asked:
            refused(each.result(60).body, failure)
        wait_until(lambda: not is_ready(server), seconds=60, what="/readyz is red")
        assert not gate.go.is_set()
        gate.go.set()
        wait_until(
            lambda: read_reply(server.post(REQUEST).body).token is not None, seconds=60, what="a token is issued"
        )
        wait_until(lambda: is_ready(server), seconds=60, what="/readyz is green")


class Raising(Gate):
    """Raises in place of hanging."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def pass_through(self) -> None:
        if not self.go.is_set():
            raise self.error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
@pytest.mark.parametrize("latency", ["remote", "local"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_that_would_end_the_process_is_refused_like_one_that_crashes(
    kind: str, latency: Literal["local", "remote"], error: BaseException
) -> None:
    parts, _, failure = KINDS[kind]
    gate = Raising(error)
    made = parts(gate)
    for part in made.values():
        for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else [part]:
            one.latency = latency
    with running_server(Parts(**made)) as server:
        granted(server.post(REQUEST).body)
        gate.go.clear()
        refused(server.post(REQUEST).body, failure)
        assert server.post_json({"artifactHash": "A" * 43 + "=", "hashAlgorithm": "sha256"}).status == 503
        gate.go.set()
        granted(server.post(REQUEST).body)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"clock": {"source_timeout": "1s"}}, "clock.source_timeout: it has no effect"),
        ({"policy": {"selector_timeout": "1s"}}, "policy.selector_timeout: it has no effect"),
        ({"audit": {"sink_timeout": "1s"}}, "sink_timeout has no effect, because sinks selects no plugin"),
        ({"response": {"processor_timeout": "1s"}}, "processor_timeout has no effect, because processors selects no"),
    ],
)
def test_a_limit_of_nothing_is_refused(tables: dict[str, dict[str, str]], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        open_service(Parts(), tables=tables)
