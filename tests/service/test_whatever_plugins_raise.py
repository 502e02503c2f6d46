"""Whatever a plugin raises when a server starts or reloads, and wherever it hangs, is one line that names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import model_validator

from tests.service.installed_wrong import HOOK_OF, OPTIONS_OF, Install, complaint
from tests.service.wrong_plugins import hang, kind_of, raising
from tests.serving import TestClock, TestSigner, TestSink
from tsa_core.api import (
    Guard,
    HealthCheck,
    Observer,
    PluginOptions,
    PolicySelector,
    Provider,
    ResponseProcessor,
    Route,
    RouteReply,
    Routes,
)
from tsa_core.testing import FakeMonitor

CLASSES: dict[str, Any] = {
    "signer": TestSigner,
    "clock": TestClock,
    "monitor": FakeMonitor,
    "policy": kind_of(PolicySelector, select=lambda *_: None),
    "response": kind_of(ResponseProcessor, process=lambda _, response, __: response),
    "audit": TestSink,
    "observer": kind_of(Observer, observe=lambda *_: None),
    "health": kind_of(HealthCheck, check=lambda _: None),
    "routes": kind_of(Routes, routes=lambda _: [Route(path="/x", answer=RouteReply())]),
    "guard": kind_of(Guard, check=lambda *_: None),
}
METHODS = [
    *(("signer", name) for name in ("algorithm", "public_key", "certificate_chain", "files", "sign")),
    ("clock", "now"),
    *(("monitor", name) for name in ("start", "verdict", "memory", "sources", "period")),
    *(("policy", name) for name in ("bind", "select")),
    ("response", "request_extensions"),
    ("audit", "bind"),
    *(("routes", name) for name in ("bind", "routes")),
    ("guard", "bind"),
]
PROPERTIES = {"algorithm", "public_key", "period", "request_extensions"}


class Untold(Exception):
    """An error of a plugin that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Panic(BaseException):
    """What a library in Rust raises when it panics is no Exception either."""


ERRORS = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    Panic("index out of bounds"),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    StopIteration(),
    Untold(),
]


def registering(kind: str, opens: Callable[..., Any], options: Any = None) -> Callable[[], Any]:
    provider = Provider(name="wrong", summary="", options=options or OPTIONS_OF[kind], open=opens)
    return lambda: [provider]


def opening(kind: str, name: str, act: Callable[..., Any]) -> Callable[[], Any]:
    member: Any = property(act) if name in PROPERTIES else act
    return registering(kind, lambda _: type("Wrong", (CLASSES[kind],), {name: member})())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_method_that_raises(install: Install, kind: str, name: str, error: BaseException) -> None:
    line = complaint(install(**{HOOK_OF[kind]: opening(kind, name, raising(error))}), kind)
    assert type(error).__name__ in line


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_hook_or_open_that_raises(install: Install, kind: str, error: BaseException) -> None:
    for hook in (raising(error), registering(kind, raising(error))):
        assert type(error).__name__ in complaint(install(**{HOOK_OF[kind]: hook}), kind)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_validator_of_settings_that_raises(install: Install, error: BaseException) -> None:
    class Options(PluginOptions):
        @model_validator(mode="after")
        def _look(self) -> Any:
            raise error

    hook = registering("audit", lambda _: TestSink(), Options)
    assert type(error).__name__ in complaint(install(tsa_audit_sinks=hook), "audit")


@pytest.mark.parametrize(("kind", "name"), [each for each in METHODS if each[1] not in PROPERTIES])
def test_a_method_that_hangs(install: Install, monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    monkeypatch.setattr("tsa_core.authority.profile._TRIAL_GRACE_SECONDS", 0.2)
    assert "hangs" in complaint(install(**{HOOK_OF[kind]: opening(kind, name, hang)}), kind)


def test_a_hook_that_hangs(install: Install) -> None:
    assert "hangs" in complaint(install(tsa_signers=hang), "signer")
