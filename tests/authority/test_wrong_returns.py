"""A plugin that returns, while requests come, what its contract does not allow.

The client gets a rejection and never a wrong token, the log one line that names plugin and distribution, without a
traceback, and the next request is answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.serving import Parts, TestClock, TestSigner, TestSink, open_service
from tsa_core.api import (
    AuditRecord,
    ClockAnchor,
    ClockVerdict,
    PKIFailureInfo,
    PolicySelector,
    RequestContext,
    ResponseProcessor,
    TimeReading,
    TimeStampReq,
    TokenDraft,
)
from tsa_core.testing import FakeMonitor, encode_request

REQUEST = encode_request(b"x")
EMPTY: list[Any] = []
UNSET = object()


class Signer(TestSigner):
    """Returns `wrong` instead of a signature, once that is set; its own `sign`, so that it is asked and not the key."""

    wrong: Any = UNSET

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        return super().sign(message, timeout=timeout) if self.wrong is UNSET else self.wrong


class Processor(ResponseProcessor):
    """Returns what a test says."""

    def __init__(self, *, processed: Callable[[bytes], Any] | None = None, extended: Any = None) -> None:
        self._processed = processed
        self._extended = extended

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        return self._processed(response) if self._processed else response

    def extend(self, draft: TokenDraft) -> Any:
        return () if self._extended is None else self._extended


class Selector(PolicySelector):
    """Leaves the choice to others in the start's trial, and then returns what a test says."""

    def __init__(self, chosen: Any) -> None:
        self._chosen = chosen

    def select(self, request: TimeStampReq, context: RequestContext) -> Any:
        return None if context.request_id == "trial" else self._chosen


class Sink(TestSink):
    """Returns what a test says, and stores nothing."""

    def __init__(self, returned: Any) -> None:
        super().__init__()
        self._returned = returned

    def write_all(self, records: Sequence[AuditRecord]) -> Any:
        return self._returned


class WriteSink(TestSink):
    """Returns something from `write`."""

    def write(self, record: AuditRecord) -> Any:
        return len(self.records)


class Clock(TestClock):
    """Returns what a test says, once that is set."""

    wrong: Any = UNSET

    def now(self) -> TimeReading:
        return super().now() if self.wrong is UNSET else self.wrong


def changed(response: bytes) -> bytes:
    """The same reply with another byte under the signature: the last of the genTime's seconds."""
    at = response.index(b"Z", response.index(b"\x18\x0f2")) - 1
    return response[:at] + (b"1" if response[at : at + 1] == b"0" else b"0") + response[at + 1 :]


async def coroutine() -> None:
    """What an async function returns."""


SIGNER = [None, "text", bytearray(64), memoryview(b"x"), 7, [b"x"]]
PROCESSOR = {
    "None": Processor(processed=lambda _: None),
    "text": Processor(processed=lambda _: "reply"),
    "bytearray": Processor(processed=bytearray),
    "tuple": Processor(processed=lambda response: (response,)),
    "no reply": Processor(processed=lambda _: b"no reply"),
    "nothing": Processor(processed=lambda _: b""),
    "cut off": Processor(processed=lambda response: response[:-1]),
    "changed": Processor(processed=changed),
    "extend: bytes": Processor(extended=b"\x30\x00"),
    "extend: text": Processor(extended=["1.2.3"]),
    "extend: a number": Processor(extended=7),
    "extend: no extension": Processor(extended=[b"\x04\x00"]),
}
SELECTED = [7, b"default", ["default"], {"profile": "default"}, True, "nobody", "", "DEFAULT"]
WRITTEN = [True, 1, "stored", EMPTY]
READ = [
    datetime(2026, 6, 1, tzinfo=UTC),
    TimeReading("2026-06-01"),  # type: ignore[arg-type] # what a plugin may do
    TimeReading(datetime(2026, 6, 1)),  # noqa: DTZ001 - a naive one
    TimeReading(datetime(2026, 6, 1, tzinfo=timezone(timedelta(hours=2)))),
    TimeReading(datetime(2026, 6, 1, tzinfo=UTC), 0.5),  # type: ignore[arg-type] # what a plugin may do
    TimeReading(datetime(2026, 6, 1, tzinfo=UTC), timedelta(microseconds=-1)),
    7,
    None,
]
GOOD = ClockVerdict(trusted=True, reason="good", offset=timedelta(), uncertainty=timedelta(), checked_at=1.0)
ANCHOR = ClockAnchor(datetime(2026, 6, 1, tzinfo=UTC), 1.0)
NAN = float("nan")
VERDICTS = [
    None,
    True,
    "good",
    replace(GOOD, trusted="yes"),  # type: ignore[arg-type] # what a plugin may do
    replace(GOOD, offset=0.0),  # type: ignore[arg-type] # as above
    replace(GOOD, checked_at=None),  # type: ignore[arg-type] # as above
    replace(GOOD, valid_for=60),  # type: ignore[arg-type] # as above
    replace(GOOD, leap="soon"),  # type: ignore[arg-type] # as above
    replace(GOOD, checked_at=time.time()),
    replace(GOOD, checked_at=NAN),
    replace(GOOD, checked_at=float("inf")),
    replace(GOOD, checked_at=-1.0),
    replace(GOOD, uncertainty=timedelta(microseconds=-1)),
    replace(GOOD, anchor=ANCHOR._replace(time=datetime(2026, 6, 1))),  # noqa: DTZ001 - a naive one
    replace(GOOD, anchor=ANCHOR._replace(monotonic=time.time())),
    replace(GOOD, anchor=ANCHOR._replace(monotonic=NAN)),
    replace(GOOD, anchor=ANCHOR._replace(error=-5.0)),
    replace(GOOD, anchor=ANCHOR._replace(error=NAN)),
    replace(GOOD, anchor=ANCHOR._replace(suspended=NAN)),
    replace(GOOD, anchor=ANCHOR._replace(monotonic="1")),  # type: ignore[arg-type] # as above
]


def refusal(parts: Parts, caplog: pytest.LogCaptureFixture, *, begin: Callable[[], None] = lambda: None) -> str:
    """What the client is told; the log has one line, with plugin and distribution and without a traceback."""
    with open_service(parts) as service:
        begin()
        with caplog.at_level(logging.ERROR):
            replies = [service.authority.respond(REQUEST, RequestContext(request_id=str(n))) for n in range(2)]
        for reply in replies:
            assert reply.rejection is not None
    (line,) = (record for record in caplog.records if record.getMessage().startswith("request "))
    assert line.exc_info is None
    assert "tests 0" in line.getMessage()
    caplog.clear()
    assert reply.rejection is not None
    return f"{reply.rejection.failure.name}: {line.getMessage()}"


@pytest.mark.parametrize("wrong", SIGNER, ids=lambda wrong: type(wrong).__name__)
def test_wrong_signature(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    signer = Signer()

    def begin() -> None:
        signer.wrong = wrong

    line = refusal(Parts(signers={"p256": signer}), caplog, begin=begin)
    assert line.startswith(
        "SYSTEM_FAILURE: request 0: PluginError: profiles.default.signer: the signer 'test' (tests 0)"
    )
    assert "sign returned" in line


@pytest.mark.parametrize("wrong", PROCESSOR)
def test_wrong_reply_or_extension(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    line = refusal(Parts(processors=[PROCESSOR[wrong]]), caplog)
    assert line.startswith("SYSTEM_FAILURE: request 0: ")
    assert "processor0" in line


@pytest.mark.parametrize("wrong", SELECTED, ids=repr)
def test_wrong_profile(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    line = refusal(Parts(selectors=[Selector(wrong)]), caplog)
    assert line.startswith(
        "SYSTEM_FAILURE: request 0: PluginError: the policy selector 'selector0' is wrong: select re"
    )


@pytest.mark.parametrize("wrong", WRITTEN, ids=repr)
def test_sink_that_returns_something_has_stored_nothing(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    line = refusal(Parts(sinks=[Sink(wrong)]), caplog)
    assert line.startswith(
        "SYSTEM_FAILURE: request 0: PluginError: the audit sink 'sink0' is wrong: write_all returned"
    )


def test_sink_whose_write_returns_something(caplog: pytest.LogCaptureFixture) -> None:
    assert "AuditError: write returned an int, not None [plugin sink0, tests 0]" in refusal(
        Parts(sinks=[WriteSink()]), caplog
    )


@pytest.mark.parametrize("wrong", READ, ids=map(str, range(len(READ))))
def test_wrong_time(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()

    def begin() -> None:
        clock.wrong = wrong

    with open_service(Parts(clock=clock)) as service:
        begin()
        replies = [service.authority.respond(REQUEST, RequestContext(request_id=str(n))) for n in range(2)]
    assert [reply.rejection and reply.rejection.failure for reply in replies] == [PKIFailureInfo.TIME_NOT_AVAILABLE] * 2
    lines = [
        record for record in caplog.records if "clock source 'testclock' (tests 0) is wrong" in record.getMessage()
    ]
    assert len(lines) == 1
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("wrong", VERDICTS, ids=map(str, range(len(VERDICTS))))
def test_wrong_verdict(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    monitor = FakeMonitor()
    with open_service(Parts(monitors=[monitor])) as service:
        monitor.current = wrong
        replies = [service.authority.respond(REQUEST, RequestContext(request_id=str(n))) for n in range(2)]
    assert [reply.rejection and reply.rejection.failure for reply in replies] == [PKIFailureInfo.TIME_NOT_AVAILABLE] * 2
    lines = [
        record for record in caplog.records if "clock monitor 'monitor0' (tests 0) is wrong" in record.getMessage()
    ]
    assert len(lines) == 1
    assert not [record for record in caplog.records if record.exc_info]


def test_the_table_has_every_way() -> None:
    assert len(SIGNER) + len(PROCESSOR) + len(SELECTED) + len(WRITTEN) + 1 + len(READ) + len(VERDICTS) >= 45
