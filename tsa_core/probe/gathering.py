"""Sends the requests of a probe, one after the other, and keeps what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tsa_core.client.answers import Answer
from tsa_core.client.deadline import Deadline
from tsa_core.client.errors import TransportError
from tsa_core.client.tls import Tls
from tsa_core.client.transport import Query, Transport
from tsa_core.probe.cases import Case, all_cases
from tsa_core.probe.check import Check
from tsa_core.probe.evidence import Exchange
from tsa_core.probe.pacing import Pacer, is_busy
from tsa_core.probe.reading import read
from tsa_core.probe.wire import TlsFacts, Wire, through_proxy

MAX_REPLY_OCTETS: Final = 1 << 18
"""More than any token needs; what is longer is not read to its end."""
MAX_SILENT: Final = 3
"""Requests in a row that bring no answer before the probe gives up."""

Progress = Callable[[int, int, str], None]
"""Called before each request with its number, how many there are, and its title."""


class Gathered(NamedTuple):
    """What was seen. `stopped` says why requests were left out, empty when none was."""

    exchanges: dict[str, Exchange]
    tls: TlsFacts | None
    stopped: str


@dataclass(kw_only=True)
class Gatherer:
    """Asks one authority. `headers` give the caller's header fields; nothing is followed to another server.

    `timeout` is in seconds and for each request; `deadline` bounds all of them.
    """

    url: str
    tls: Tls
    headers: Callable[[], Mapping[str, str]]
    timeout: float
    deadline: Deadline
    pacer: Pacer
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self._transport = Transport(
            timeout=self.timeout, max_octets=MAX_REPLY_OCTETS, tls=self.tls, headers=self.headers
        )
        self._wire: Wire | None = None
        self._tls: TlsFacts | None = None
        self._policy = ""

    def gather(self, checks: Iterable[Check]) -> Gathered:
        """Send what these checks need, in the order of the table; raises TransportError when nothing answers at all."""
        needed = {"plain", *(name for each in checks for name in each.needs)}
        cases = [case for case in all_cases() if case.name in needed]
        found: dict[str, Exchange] = {}
        stopped, silent, granted = "", 0, False
        try:
            for number, case in enumerate(cases, 1):
                body = case.make(self._policy)
                if body is None and case.method == "POST":
                    continue  # the policy of a first token that never came
                if self.progress is not None:
                    self.progress(number, len(cases), case.title)
                exchange, stopped = self._ask(case, body)
                if exchange is None:
                    break
                found[case.name] = exchange
                granted = granted or exchange.is_granted
                self._learn(exchange)
                silent = silent + 1 if exchange.answer is None else 0
                if silent >= MAX_SILENT:
                    stopped = f"{silent} requests in a row brought no answer: {exchange.problem}"
                elif len(found) == MAX_SILENT and not granted:
                    stopped = "none of the first requests was granted"
                if stopped:
                    break
        finally:
            self._transport.close()
            if self._wire is not None:
                self._wire.close()
        return Gathered(found, self._tls, stopped if len(found) < len(cases) else "")

    def _learn(self, exchange: Exchange) -> None:
        if not self._policy and exchange.reply is not None and exchange.reply.info is not None:
            self._policy = exchange.reply.info.policy

    def _ask(self, case: Case, body: bytes | None) -> tuple[Exchange | None, str]:
        """Return an exchange; None, with the reason, when it must not be made, or the server is too busy for it."""
        while True:
            if reason := self.pacer.may_send():
                return None, reason
            exchange = self._exchange(case, body)
            answer = exchange.answer
            if answer is None or exchange.reply is not None or not is_busy(answer):
                return exchange, ""
            if reason := self.pacer.obey(answer.retry_after):
                return None, reason

    def _exchange(self, case: Case, body: bytes | None) -> Exchange:
        answer: Answer | None = None
        problem, kept = "", None
        sent = datetime.now(UTC)
        try:
            with Deadline(min(self.timeout, max(self.deadline.remaining, 0.001))) as limit:
                if case.raw:
                    found, kept = self._raw(case, body or b"", limit)
                    answer, problem = (found, "") if isinstance(found, Answer) else (None, found)
                else:
                    query = Query(
                        method=case.method, url=self.url, headers=case.headers, body=body, followed=frozenset()
                    )
                    answer = self._transport.exchange(query, limit)
        except TransportError as error:
            if case.name == "plain":
                raise
            problem = error.text
        received = datetime.now(UTC)
        reply = read(answer.body) if answer is not None and answer.is_reply else None
        return Exchange(
            case=case,
            body=body if "Transfer-Encoding" not in case.headers else None,
            sent=sent,
            received=received,
            answer=answer,
            problem=problem,
            reply=reply,
            kept=kept,
        )

    def _raw(self, case: Case, body: bytes, limit: Deadline) -> tuple[Answer | str, bool | None]:
        if through_proxy(self.url):
            return "not asked: the environment names a proxy, whose HTTP would be judged", None
        if self._wire is None:
            self._wire = Wire(self.url, self.tls.named, self.headers())
        again = case.raw == "again"
        version = "1.1" if again else case.raw
        found = self._wire.send(version, body, limit, again=again, max_octets=MAX_REPLY_OCTETS)
        if self._tls is None and case.raw == "1.1" and (seen := self._wire.tls()) is not None:
            self._tls = replace(seen, old_version=self._wire.old_tls(limit))
        return found, self._wire.is_open
