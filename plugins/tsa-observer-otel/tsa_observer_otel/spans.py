"""Makes spans of what the core tells of requests, in a thread of its own, because a span costs a signature."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque

from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from tsa_core.api import PKIFailureInfo, RequestOutcome

log = logging.getLogger(__name__)

SPAN = "timestamp"
_OUR_FAULT = frozenset({PKIFailureInfo.SYSTEM_FAILURE, PKIFailureInfo.TIME_NOT_AVAILABLE})
"""What makes a span an error; a refusal of what the client asked for is none."""
_HELD_SECONDS = 0.1
_WARNING_PAUSE_SECONDS = 10.0


class SpanMaker:
    """Makes spans of a `share` of the requests; drops what is beyond `limit` requests that wait, and says so."""

    def __init__(self, tracer: Tracer, *, share: float, limit: int, longest_seconds: float) -> None:
        self._tracer = tracer
        self._share = share
        self._limit = limit
        self._longest_seconds = longest_seconds
        self._waiting: deque[tuple[int, RequestOutcome]] = deque()
        self._dropped = 0
        self._next_warning = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otel-spans", daemon=True)
        self._thread.start()

    def add(self, outcome: RequestOutcome) -> None:
        """Have spans made of a request that has just ended, if it is one of the share."""
        if self._share < 1 and random.random() >= self._share:  # noqa: S311 - chooses what is measured
            return
        if len(self._waiting) >= self._limit:
            self._dropped += 1
            return
        self._waiting.append((time.time_ns(), outcome))

    def close(self) -> None:
        """Make spans of what waits, as far as that is done in time, and end the thread."""
        self._closing.set()
        self._thread.join(self._longest_seconds)

    def _run(self) -> None:
        while not self._closing.wait(_HELD_SECONDS):
            self._make_waiting()
        self._make_waiting()

    def _make_waiting(self) -> None:
        while self._waiting:
            ended, outcome = self._waiting.popleft()
            try:
                self._make(outcome, ended)
            except Exception:
                log.exception("no span could be made of a request")
        if self._dropped and time.monotonic() >= self._next_warning:
            self._next_warning = time.monotonic() + _WARNING_PAUSE_SECONDS
            dropped, self._dropped = self._dropped, 0
            log.warning(
                "some %d requests got no spans: there are more than can be traced; lower [observe.otel] sample_ratio",
                dropped,
            )

    def _make(self, outcome: RequestOutcome, ended: int) -> None:
        started = ended - outcome.duration_ns
        span = self._tracer.start_span(SPAN, kind=SpanKind.SERVER, start_time=started, attributes=_facts(outcome))
        if outcome.failure in _OUR_FAULT:
            span.set_status(Status(StatusCode.ERROR, outcome.reason))
        inside = set_span_in_context(span)
        for name, duration_ns in outcome.phases_ns.items():
            began = started + outcome.offsets_ns.get(name, 0)
            child = self._tracer.start_span(name, context=inside, start_time=began)
            if name == outcome.failed_phase:
                child.set_status(Status(StatusCode.ERROR, outcome.reason))
            child.end(began + duration_ns)
        span.end(ended)


def _facts(outcome: RequestOutcome) -> dict[str, AttributeValue]:
    """Return the span's attributes; never the message digest, which may tell what was timestamped."""
    facts: dict[str, AttributeValue] = {
        "tsa.outcome": "granted" if outcome.failure is None else "refused",
        "tsa.request.id": outcome.request_id,
    }
    if outcome.client_address:
        facts["client.address"] = outcome.client_address
    if outcome.profile is not None:
        facts["tsa.profile"] = outcome.profile
    if outcome.hash_name is not None:
        facts["tsa.hash"] = outcome.hash_name
    if outcome.serial_number is not None:
        facts["tsa.serial"] = f"{outcome.serial_number:x}"
    if outcome.algorithm is not None:
        facts["tsa.signature.algorithm"] = outcome.algorithm
    if outcome.failure is not None:
        facts["tsa.fail_info"] = outcome.failure.text
    return facts
