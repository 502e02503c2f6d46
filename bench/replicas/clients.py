"""Clients that stamp through the proxy, each with an API key and an address of its own, and keep what they got."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from time import monotonic, time
from typing import NamedTuple, Self

from tests.deploy.proxies import HOST
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.reply import read_reply
from tsa_core.protocol.request import encode_request
from tsa_core.protocol.tstinfo_reader import TSTInfo, read_tst_info

_TIMEOUT_SECONDS = 30.0
"""Longer than the proxies wait for a server."""
TOKEN = "token"
CLOSED = "connection closed"
"""In place of an answer."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one request. `sent` and `received` are monotonic; `wall_sent` and `wall_received` POSIX times."""

    digest: bytes
    request: bytes
    sent: float
    received: float
    wall_sent: float
    wall_received: float
    status: int | None
    body: bytes
    error: str = ""

    @cached_property
    def kind(self) -> str:
        """`token`, a PKIFailureInfo, `HTTP 503`, or what broke the connection."""
        if self.status is None:
            return self.error
        if self.status != 200:
            return f"HTTP {self.status}"
        try:
            said = read_reply(self.body).status
        except EncodingError:
            return "HTTP 200 with something else"
        return TOKEN if said.granted else ", ".join(said.failure_names) or said.name

    @cached_property
    def tst_info(self) -> TSTInfo:
        """What the token states."""
        token = read_reply(self.body).token
        assert token is not None
        return read_tst_info(token.content)


class Name(NamedTuple):
    """How a client presents itself: its API key, and its own address of 127.0.0.0/8."""

    key: str
    address: str


@dataclass
class Client:
    """Asks on one connection after the other, at most once in `pause` seconds, whatever happens to them."""

    port: int
    name: Name
    trust: ssl.SSLContext
    pause: float
    answers: list[Answer] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told to stop."""
        connection: http.client.HTTPSConnection | None = None
        number = 0
        while not self.stopping.is_set():
            if connection is None:
                connection = http.client.HTTPSConnection(
                    "127.0.0.1", self.port, timeout=_TIMEOUT_SECONDS, context=self.trust,
                    source_address=(self.name.address, 0),
                )  # fmt: skip
            number += 1
            answer = self._ask(connection, hashlib.sha256(f"{self.name.address} {number}".encode()).digest(), number)
            self.answers.append(answer)
            if answer.status is None:
                connection.close()
                connection = None
            self.stopping.wait(max(0.0, self.pause - (answer.received - answer.sent)))
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPSConnection, digest: bytes, nonce: int) -> Answer:
        request = encode_request(algorithm=SHA256, digest=digest, nonce=nonce, cert_req=True)
        headers = {"Host": HOST, "Content-Type": "application/timestamp-query", "X-API-Key": self.name.key}
        sent, wall_sent, status, body, error = monotonic(), time(), None, b"", ""
        try:
            connection.request("POST", "/api/v1/timestamp", request, headers)
            response = connection.getresponse()
            body = response.read()
            status = response.status
        except TimeoutError:
            error = f"no answer in {_TIMEOUT_SECONDS:g} s"
        except (http.client.RemoteDisconnected, ConnectionResetError):
            error = CLOSED
        except (OSError, http.client.HTTPException) as broken:
            error = f"connection: {type(broken).__name__}"
        return Answer(
            digest=digest, request=request, sent=sent, received=monotonic(), wall_sent=wall_sent, wall_received=time(),
            status=status, body=body, error=error,
        )  # fmt: skip


class Load:
    """Clients of one tenant, each in a thread; a context manager that starts and stops them."""

    def __init__(self, port: int, names: Sequence[Name], trust: ssl.SSLContext, *, pause: float) -> None:
        self.clients = [Client(port, name, trust, pause) for name in names]
        self._threads = [threading.Thread(target=client.run, name="client") for client in self.clients]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.stopping.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT_SECONDS)

    @property
    def answers(self) -> list[Answer]:
        """All answers so far."""
        return [answer for client in self.clients for answer in list(client.answers)]

    def since(self, moment: float) -> list[Answer]:
        """Return the answers to what was sent after a moment of the monotonic clock."""
        found = []
        for client in self.clients:
            for answer in reversed(list(client.answers)):
                if answer.sent < moment:
                    break
                found.append(answer)
        return found


def kinds(answers: Sequence[Answer]) -> Counter[str]:
    """Count answers by their kind."""
    return Counter(answer.kind for answer in answers)


def longest_pause(answers: Sequence[Answer], since: float) -> float:
    """Return the longest time in seconds without a token from anybody, after `since`."""
    received = sorted(answer.received for answer in answers if answer.kind == TOKEN and answer.received > since)
    return max((later - earlier for earlier, later in pairwise([since, *received])), default=0.0)
