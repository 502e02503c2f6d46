"""Plugins with one mistake each: the kind of what they provide, what `open` is or returns, and what is said of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from tests.serving import TestSigner, TestSink
from tsa_core.api import (
    AuditSink,
    Clock,
    ClockVerdict,
    Guard,
    HealthCheck,
    Observer,
    PluginOptions,
    PolicySelector,
    ResponseProcessor,
    Routes,
    SignerOptions,
    TimeReading,
)
from tsa_core.builtin.clock import SystemClock
from tsa_core.testing import FakeMonitor

NAIVE = TimeReading(datetime(2026, 6, 1))  # noqa: DTZ001 - a clock must not tell such a time
NEVER = threading.Event()
"""What a plugin that hangs waits for."""


class Wrong(NamedTuple):
    """One wrong plugin: the kind's name, what it opens (a function of no arguments), and what the line says."""

    name: str
    kind: str
    open: Any
    said: str


def kind_of(base: type[Any], **members: Any) -> Callable[[], Any]:
    """Return what opens an object of a subclass of `base` that has these members."""
    wrong: Callable[[], Any] = type(f"Wrong{base.__name__}", (base,), members)
    return wrong


def returning(value: Any) -> Callable[..., Any]:
    """Return a method that returns a value whatever it is called with."""
    return lambda *_, **__: value


async def async_method(*_: Any, **__: Any) -> None:
    """A method that nobody awaits."""


def generator_method(*_: Any, **__: Any) -> Iterator[None]:
    """A method that does nothing when it is called."""
    yield


def hang(*_: Any, **__: Any) -> Any:
    """Wait for ever."""
    NEVER.wait()


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises."""

    def act(*_: Any, **__: Any) -> Any:
        raise error

    return act


class NotConstructed(TestSigner):
    """Forgets `super().__init__()`."""

    def __init__(self) -> None:
        pass


class DuckSink:
    """Has all that a sink has, but for the class."""

    def write(self, record: Any) -> None:
        """Store nothing."""


WRONG = [
    # What `open` returns.
    Wrong("signer-none", "signer", returning(None), "open returned None, not a Signer"),
    Wrong("signer-text", "signer", returning("key"), "open returned a str, not a Signer"),
    Wrong("signer-class", "signer", returning(TestSigner), "open returned the class TestSigner itself, not a Signer"),
    Wrong("signer-is-a-sink", "signer", TestSink, "open returned a TestSink, not a Signer"),
    Wrong("sink-duck", "audit", DuckSink, "open returned a DuckSink, not an AuditSink"),
    Wrong("sink-coroutine", "audit", async_method, "open is an async function"),
    Wrong("sink-generator", "audit", generator_method, "open returned a generator (is there a yield in it?)"),
    Wrong("processor-function", "response", returning(lambda response: response), "open returned a function, not a Re"),
    Wrong("selector-text", "policy", returning("default"), "open returned a str, not a PolicySelector"),
    Wrong("observer-none", "observer", returning(None), "open returned None, not an Observer"),
    Wrong("clock-time", "clock", returning(datetime.now(UTC)), "open returned a datetime, not a Clock"),
    Wrong("monitor-clock", "monitor", SystemClock, "open returned a SystemClock, not a ClockMonitor"),
    Wrong("health-bool", "health", returning(True), "open returned a bool, not a HealthCheck"),
    # What `open` does.
    Wrong("sink-abstract", "audit", AuditSink, "could not be opened: TypeError: Can't instantiate abstract"),
    Wrong("signer-exits", "signer", raising(SystemExit(0)), "could not be opened: SystemExit"),
    Wrong("sink-key-error", "audit", raising(KeyError("path")), "could not be opened: KeyError: 'path'"),
    Wrong("processor-hangs", "response", hang, "was not opened within 0.3 s ([server] open_timeout): it hangs"),
    Wrong("signer-hangs", "signer", hang, "was not opened within 0.3 s ([server] open_timeout): it hangs"),
    # Methods.
    Wrong("sink-async", "audit", kind_of(AuditSink, write=async_method), "its write is an async function"),
    Wrong("sink-yield", "audit", kind_of(AuditSink, write=generator_method), "its write has a yield in it"),
    Wrong("sink-arguments", "audit", kind_of(AuditSink, write=lambda self: None), "cannot be called as write(record)"),
    Wrong("sink-no-method", "audit", kind_of(AuditSink, write=None), "its write is None, not a method"),
    Wrong(
        "sink-bind-crash",
        "audit",
        kind_of(TestSink, bind=raising(IndexError("x"))),
        "failed in bind: IndexError: x",
    ),
    Wrong("signer-async", "signer", kind_of(TestSigner, sign=async_method), "its sign is an async function"),
    Wrong(
        "signer-timeout",
        "signer",
        kind_of(TestSigner, sign=lambda self, message: b""),
        "its sign cannot be called as sign(message, timeout=...)",
    ),
    Wrong("processor-async", "response", kind_of(ResponseProcessor, process=async_method), "its process is an async"),
    Wrong(
        "processor-arguments",
        "response",
        kind_of(ResponseProcessor, process=lambda self, response: response),
        "its process cannot be called as process(response, draft): too many positional arguments",
    ),
    Wrong("selector-async", "policy", kind_of(PolicySelector, select=async_method), "its select is an async function"),
    Wrong("observer-async", "observer", kind_of(Observer, observe=async_method), "its observe is an async function"),
    Wrong(
        "observer-arguments",
        "observer",
        kind_of(Observer, observe=lambda self: None),
        "cannot be called as observe(out",
    ),
    Wrong(
        "health-arguments", "health", kind_of(HealthCheck, check=lambda self, now: None), "cannot be called as check()"
    ),
    Wrong("monitor-async", "monitor", kind_of(FakeMonitor, verdict=async_method), "its verdict is an async function"),
    Wrong("monitor-no-start", "monitor", kind_of(FakeMonitor, start=7), "its start is an int, not a method"),
    # Facts.
    Wrong(
        "signer-algorithm", "signer", kind_of(TestSigner, algorithm="ecdsa"), "its algorithm is a str, not a Signature"
    ),
    Wrong(
        "signer-public-key", "signer", kind_of(TestSigner, public_key=b"pem"), "its public_key is a bytes, not a pub"
    ),
    Wrong("signer-unconstructed", "signer", NotConstructed, "cannot be read: 'NotConstructed' object has no attribute"),
    Wrong("signer-latency", "signer", kind_of(TestSigner, latency="Remote"), "its latency is 'Remote'; it must be one"),
    Wrong("signer-digest", "signer", kind_of(TestSigner, sign_digest=7), "sign_digest is an int"),
    Wrong(
        "signer-chain",
        "signer",
        kind_of(TestSigner, certificate_chain=returning(b"der")),
        "certificate_chain returned a bytes, not a list of DER certificates",
    ),
    Wrong(
        "signer-files", "signer", kind_of(TestSigner, files=returning(["key.pem"])), "files returned a list, not a list"
    ),
    Wrong("signer-file", "signer", kind_of(TestSigner, files=returning(Path("key"))), "files returned a PosixPath"),
    Wrong("monitor-period", "monitor", kind_of(FakeMonitor, period=60), "its period is an int, not a timedelta"),
    Wrong(
        "processor-oids",
        "response",
        kind_of(ResponseProcessor, request_extensions="1.2.3"),
        "request_extensions are a str",
    ),
    Wrong("clock-naive", "clock", kind_of(Clock, now=returning(NAIVE)), "not an aware datet"),
    Wrong(
        "clock-datetime", "clock", kind_of(Clock, now=returning(datetime.now(UTC))), "now returned a datetime, not a T"
    ),
    Wrong("clock-async", "clock", kind_of(Clock, now=async_method), "its now is an async function"),
    # What they answer when they are asked for the first time.
    Wrong("signature-none", "signer", kind_of(TestSigner, sign=returning(None)), "sign returned None, not bytes"),
    Wrong("signature-text", "signer", kind_of(TestSigner, sign=returning("x")), "sign returned a str, not bytes"),
    Wrong(
        "signature-wrong", "signer", kind_of(TestSigner, sign=returning(b"x")), "does not verify under the signer's own"
    ),
    Wrong(
        "signature-hangs", "signer", kind_of(TestSigner, sign=hang), "made no trial signature within 0.3 s: it hangs"
    ),
    Wrong(
        "signature-crash", "signer", kind_of(TestSigner, sign=raising(OSError("x"))), "failed in the trial signature"
    ),
    Wrong(
        "select-type", "policy", kind_of(PolicySelector, select=returning(7)), "select returned an int, not a profile's"
    ),
    Wrong(
        "select-name", "policy", kind_of(PolicySelector, select=returning("x")), "select returned 'x', which is no prof"
    ),
    Wrong(
        "select-crash",
        "policy",
        kind_of(PolicySelector, select=raising(KeyError("x"))),
        "failed in a trial of select: KeyError: 'x'",
    ),
    Wrong(
        "bind-crash",
        "policy",
        kind_of(PolicySelector, select=returning(None), bind=raising(IndexError("x"))),
        "failed in bind: IndexError: x",
    ),
    Wrong(
        "verdict-none", "monitor", kind_of(FakeMonitor, verdict=returning(None)), "verdict returned None, not a ClockV"
    ),
    Wrong(
        "verdict-offset",
        "monitor",
        kind_of(FakeMonitor, verdict=returning(ClockVerdict(trusted=True, reason="", offset=0.5))),  # type: ignore[arg-type] # the mistake
        "verdict returned a ClockVerdict whose offset is a float",
    ),
    Wrong("memory-number", "monitor", kind_of(FakeMonitor, memory=returning(7)), "memory returned an int, not a str"),
    Wrong(
        "sources-text", "monitor", kind_of(FakeMonitor, sources=returning("a, b")), "sources returned a str, not a list"
    ),
    Wrong("monitor-start", "monitor", kind_of(FakeMonitor, start=raising(KeyError("x"))), "failed in start: KeyError"),
    # Routes.
    Wrong("routes-none", "routes", returning(None), "open returned None, not a Routes"),
    Wrong("routes-async", "routes", kind_of(Routes, routes=async_method), "its routes is an async function"),
    Wrong("routes-text", "routes", kind_of(Routes, routes=returning("/page")), "routes returned a str, not a list"),
    Wrong("guard-none", "guard", returning(None), "open returned None, not a Guard"),
    Wrong("guard-async", "guard", kind_of(Guard, check=async_method), "its check is an async function"),
    Wrong("guard-latency", "guard", kind_of(Guard, check=returning(None), latency="slow"), "its latency is 'slow'"),
    Wrong(
        "routes-crash",
        "routes",
        kind_of(Routes, routes=raising(ValueError("'page' cannot be a path"))),
        "cannot be a path",
    ),
]
"""The `open` of each is a function of no arguments."""


class NoModel:
    """Settings that are no model."""

    path: str = ""


class PlainModel(BaseModel):
    """A pydantic model, but none of ours."""


class NotForSigners(PluginOptions):
    """Lacks what the core fills in for a signer."""


class UnknownType(SignerOptions):
    """Has a setting of a type that pydantic cannot read."""

    slot: NoModel = NoModel()


OPTIONS = [
    ("no-model", NoModel, "its options are the class NoModel, which is no model of settings"),
    (
        "plain-model",
        PlainModel,
        "its options are the class PlainModel, which is no model of settings; derive it from tsa",
    ),
    ("an-object", NotForSigners(), "its options are a NotForSigners, which is no model of settings"),
    ("a-dict", {"path": str}, "its options are a dict, which is no model of settings"),
    ("none", None, "its options are None, which is no model of settings"),
    ("not-for-signers", NotForSigners, "derive it from tsa_core.api.SignerOptions"),
    ("unknown-type", UnknownType, "its options UnknownType cannot be used: PydanticSchemaGenerationError: Unable to"),
]
"""Names, the options of a signer's Provider, and what is said."""

HOOKS = [
    ("hook-none", returning(None), "tsa_signers returned None; a hook yields what it registers"),
    ("hook-text", returning("acme"), "tsa_signers returned a str; a hook yields what it registers"),
    ("hook-async", async_method, "tsa_signers returned a coroutine (is it an async function?); a hook yields"),
    ("hook-dict", returning([{"name": "wrong"}]), "tsa_signers yields a dict, which is not a Provider"),
    ("hook-exits", raising(SystemExit(3)), "failed in tsa_signers: SystemExit: 3"),
    ("hook-crash", raising(OSError("no disk")), "failed in tsa_signers: OSError: no disk"),
    (
        "hook-newer-provider",
        raising(TypeError("Provider.__init__() got an unexpected keyword argument 'pool'")),
        "upgrade the core, not the plugin",
    ),
]
"""Names, implementations of the hook tsa_signers, and what is said."""
