"""A server in a thread of the test, on a port of 127.0.0.1 that the system chose.

Its parts (signers, clock, audit sinks and so on) may be objects of the test, which reach it through the plugin host
like any plugin's. A server that is to be a process is a `tsa_core.testing.ServerProcess`.
"""

from __future__ import annotations

import functools
import http.client
import io
import itertools
import json
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from tests import pki
from tsa_core.api import (
    AuditRecord,
    AuditSink,
    Clock,
    ClockMonitor,
    Guard,
    LocalKeySigner,
    NoOptions,
    Observer,
    PolicySelector,
    Provider,
    RequestContext,
    ResponseProcessor,
    Routes,
    Signer,
    SignerOptions,
    SignerUnavailable,
    TimeReading,
    hookimpl,
)
from tsa_core.authority import BatchGuard, PendingRequest, PluginCalls
from tsa_core.config import Settings, load_settings
from tsa_core.host import PluginHost
from tsa_core.host.discovery import InstalledPlugin, installed_plugins
from tsa_core.hosting.granian.listeners import GranianListeners
from tsa_core.hosting.sockets import listen, urls
from tsa_core.hosting.waitress.server import WaitressServer
from tsa_core.http import create_app
from tsa_core.http.batching import BATCH, DEFERRED, BatchedRequest
from tsa_core.http.observability import RequestTracingMiddleware
from tsa_core.http.preparing import Preparer
from tsa_core.service import Service

QUERY = "application/timestamp-query"
REPLY = "application/timestamp-reply"
JSON = "application/json"

_numbers = itertools.count()


class TestSigner(LocalKeySigner):
    """A key of tests.pki with its chain; `down` makes it fail as an unreachable backend does."""

    __test__ = False

    def __init__(self, kind: str = "p256", *, rsa_pss: bool = False, digest: str | None = None) -> None:
        super().__init__(pki.key(kind), rsa_pss=rsa_pss, digest=digest)
        self._chain = pki.der(pki.chain(kind))
        self.failure: Exception | None = None

    def certificate_chain(self) -> Sequence[bytes]:
        return self._chain

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        if self.failure is not None:
            raise self.failure
        return super().sign(message, timeout=timeout)

    def go_down(self) -> None:
        self.failure = SignerUnavailable("10.1.2.3:8200: connection refused, token s.secret")

    def come_back(self) -> None:
        self.failure = None


class TestClock(Clock):
    """Tells what `read` returns; the system's time unless a test sets another."""

    __test__ = False

    def __init__(self, read: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.read = read

    def now(self) -> TimeReading:
        return TimeReading(self.read())

    def set(self, time: datetime) -> None:
        self.read = lambda: time


class TestSink(AuditSink):
    """Keeps records in memory; `failure` is raised instead when set."""

    __test__ = False
    latency: Literal["local", "remote"] = "local"

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.failure: Exception | None = None

    def write(self, record: AuditRecord) -> None:
        if self.failure is not None:
            raise self.failure
        self.records.append(record)


@dataclass(kw_only=True)
class Parts:
    """What a test brings along; each is selected in the settings under its place in these lists."""

    signers: Mapping[str, Signer] = field(default_factory=lambda: {"p256": TestSigner()})
    """By the rest of the key URI: `test:p256`."""
    clock: Clock = field(default_factory=TestClock)
    monitors: Sequence[ClockMonitor] = ()
    selectors: Sequence[PolicySelector] = ()
    processors: Sequence[ResponseProcessor] = ()
    sinks: Sequence[AuditSink] = ()
    observers: Sequence[Observer] = ()
    routes: Sequence[Routes] = ()
    guards: Sequence[Guard] = ()


def _return(one: Any, _options: Any) -> Any:
    return one


@functools.cache
def _plugins_of_the_core() -> dict[str, list[InstalledPlugin]]:
    """Return the core's own plugins; looking through all that is installed is most of the time that opening takes."""
    return {name: found for name, found in installed_plugins().items() if found[0].distribution == "tsa-core"}


def _host(parts: Parts) -> tuple[PluginHost, dict[str, Any]]:
    """Return a host that knows the parts as plugins, and the settings that select them."""
    installed = dict(_plugins_of_the_core())

    def install(name: str, hook: str, options: type[Any], open_it: Callable[[Any], Any]) -> None:
        module = types.ModuleType(f"tests_parts_{next(_numbers)}_{name}")
        provider = Provider(name=name, summary="A part of a test", options=options, open=open_it)
        setattr(module, hook, hookimpl(lambda: [provider]))
        sys.modules[module.__name__] = module
        installed[name] = [InstalledPlugin(name=name, module=module.__name__, distribution="tests", version="0")]

    def open_signer(options: SignerOptions) -> Signer:
        return parts.signers[options.uri.partition(":")[2]]

    def install_all(kind: str, hook: str, objects: Sequence[Any]) -> list[str]:
        names = [f"{kind}{number}" for number in range(len(objects))]
        for name, one in zip(names, objects, strict=True):
            install(name, hook, NoOptions, functools.partial(_return, one))
        return names

    install("test", "tsa_signers", SignerOptions, open_signer)
    install("testclock", "tsa_clocks", NoOptions, lambda _options: parts.clock)
    settings = {
        "clock": {
            "source": "testclock",
            # Tests set this clock as they like.
            **({} if parts.monitors else {"unmonitored_step": "warn"}),
            "monitors": install_all("monitor", "tsa_clock_monitors", parts.monitors),
        },
        "policy": {"selectors": [*install_all("selector", "tsa_policy_selectors", parts.selectors), "oid"]},
        "response": {"processors": install_all("processor", "tsa_response_processors", parts.processors)},
        "audit": {"sinks": install_all("sink", "tsa_audit_sinks", parts.sinks)},
        "observe": {"observers": install_all("observer", "tsa_observers", parts.observers)},
        "routes": {"plugins": install_all("routes", "tsa_routes", parts.routes)},
        "middleware": {"guards": install_all("guard", "tsa_middleware", parts.guards)},
    }
    return PluginHost(installed), settings


def open_service(
    parts: Parts | None = None,
    *,
    profiles: Mapping[str, Any] | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    **server: Any,
) -> Service:
    """Return an opened service; `profiles` are tables by name, the default one signs with `test:p256`.

    `tables` are settings of other sections by name, those that select the parts among them.
    """
    host, settings = _host(parts or Parts())
    for section, values in (tables or {}).items():
        settings.setdefault(section, {}).update(values)
    settings["profiles"] = {
        name: {"signer": "test:p256", **table} for name, table in {"default": {}, **(profiles or {})}.items()
    }
    settings["server"] = {"port": 0, **server}
    loaded: Settings = load_settings(overrides=settings, environ={})
    return Service(loaded, host=host)


def wsgi_environ(body: bytes, **variables: str) -> dict[str, Any]:
    """Return the environ of a POST of a timestamp request to the default route, but for `variables`."""
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/timestamp",
        "QUERY_STRING": "",
        "CONTENT_TYPE": QUERY,
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "192.0.2.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "3000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
        **variables,
    }


class CrashingResponder:
    """Cannot answer a batch."""

    may_wait = False
    least_batch = 1
    preparer: Preparer

    def respond(self, batch: Sequence[BatchedRequest], guard: BatchGuard) -> float:
        raise RuntimeError("a bug")

    def give_up(self, batch: Sequence[BatchedRequest], hanging: PluginCalls) -> None:
        raise RuntimeError("a bug")

    def sign(self, request: BatchedRequest, guard: BatchGuard) -> None:
        raise RuntimeError("a bug")

    def lose(self, request: BatchedRequest, hanging: PluginCalls) -> None:
        raise RuntimeError("a bug")

    def refuse_waiting(self, request: BatchedRequest, waited: float) -> None:
        raise RuntimeError("a bug")


def application_that_cannot_answer(environ: dict[str, Any], _start: Any) -> list[bytes]:
    """Put every request into a batch that cannot be answered."""
    environ[BATCH](BatchedRequest(CrashingResponder(), PendingRequest(RequestContext(), None), environ, ""))
    return DEFERRED


@dataclass(frozen=True, kw_only=True)
class HttpReply:
    """A reply as it came: header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server."""

    url: str
    service: Service | None = None
    stop: Callable[[], int] | None = None
    """Ends the server, and returns how many connections had a request that was not answered."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpReply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return HttpReply(status=response.status, headers=names, body=response.read())
        finally:
            connection.close()

    def post(self, body: bytes, *, content_type: str = QUERY, path: str = "/api/v1/timestamp") -> HttpReply:
        """Post a timestamp request."""
        return self.request("POST", path, body, {"Content-Type": content_type})

    def post_json(self, document: Any, *, path: str = "/api/v1/timestamp") -> HttpReply:
        """Post a JSON request; bytes are sent as they are."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.post(body, content_type=JSON, path=path)


@contextmanager
def running_server(
    parts: Parts | None = None,
    *,
    profiles: Mapping[str, Any] | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    engine: str = "waitress",
    **server: Any,
) -> Iterator[Server]:
    """Serve in a thread with our waitress server until the block ends, then check that it ended in peace.

    With the engine `granian` its embedded server stands in waitress's place, the one that also speaks TLS.
    """
    served = served_by_granian if engine == "granian" else served_by_waitress
    with (
        open_service(parts, profiles=profiles, tables=tables, engine=engine, **server) as service,
        served(service) as running,
    ):
        yield running


@contextmanager
def served_by_granian(service: Service, tracing: RequestTracingMiddleware | None = None) -> Iterator[Server]:
    """Serve an opened service with embedded granian, without TLS."""
    sockets = listen(service.settings.server)
    (url,) = urls(sockets)
    app, settings = create_app(service, tracing), service.settings.server
    with GranianListeners(app, settings, tls=(), plain=sockets, waiting_profiles=service.waiting_profiles):
        yield Server(url=url, service=service)
    for each in sockets:
        each.close()


@contextmanager
def served_by_waitress(service: Service, tracing: RequestTracingMiddleware | None = None) -> Iterator[Server]:
    """Serve an opened service in a thread with our waitress server, then check that it ended in peace."""
    failures: list[BaseException] = []
    sockets = listen(service.settings.server)
    (url,) = urls(sockets)
    http_server = WaitressServer(create_app(service, tracing), service.settings.server, sockets=sockets)

    def run() -> None:
        try:
            http_server.run()
        except BaseException as error:  # noqa: BLE001 - reported below, in the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run, name="test server")
    thread.start()

    def stop() -> int:
        http_server.stop()
        thread.join(timeout=30)
        return http_server.cut_off

    try:
        yield Server(url=url, service=service, stop=stop)
    finally:
        stop()
    assert not thread.is_alive(), "the server did not stop"
    assert not failures, failures
