"""GuardContract: what the core demands of a guard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from tsa_core.api import Guard, GuardedRequest, GuardRefusal, Identity, PluginOptions, Provider
from tsa_core.api.time_limit import Overdue, within_limit
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.threads import on_threads

_HEADERS = (
    "",
    " ",
    "Bearer",
    "Bearer ",
    "Basic !",
    "Basic Og==",
    "x" * 8000,
    "\xe9",
    ",,,",
    "\x00",
    "a\tb",
    "Bearer ..",
)
_PATHS = ("", "/", "/api/v1/timestamp", "/tsa/sample", "/%2e%2e/", "/\xe9", "/" + "a" * 8000, "//", "/tsa/\x00")
_ADDRESSES = ("", "unix", "127.0.0.1", "::1", "fe80::1%eth0", "localhost", "999.1.1.1")
_THREADS = 32
_LOCAL_SECONDS = 0.2


class GuardContract(PluginFixtures):
    """Subclass it as TestGuard; override `plugin`, and `options` where the guard needs settings."""

    check_seconds: ClassVar[float] = 10.0
    """How long a check may take here. A server waits for `[middleware] guard_timeout`, 2 s."""

    @pytest.fixture
    def open_guard(self, provider: Provider[Guard], validated_options: PluginOptions) -> Iterator[Callable[[], Guard]]:
        """Return a function that opens the guard through its provider."""
        opened: list[Guard] = []

        def open_one() -> Guard:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for each in opened:
            each.close()

    @pytest.fixture
    def guard(self, open_guard: Callable[[], Guard]) -> Guard:
        """Return what the provider opens."""
        return open_guard()

    def ask(self, guard: Guard, request: GuardedRequest) -> Identity | GuardRefusal | None:
        """Return what a guard answers; fails the test for what a server could not use."""
        try:
            answer: object = within_limit(lambda: guard.check(request), seconds=self.check_seconds, name="check")
        except Overdue:
            pytest.fail(f"check has not answered within {self.check_seconds:g} s; give it a limit of its own")
        except Exception as error:  # noqa: BLE001 - any is the failure that is looked for
            pytest.fail(
                f"check raised {type(error).__name__}: {error}, for {request!r:.300}; whatever a client writes is "
                "answered by a GuardRefusal, of status 401 for example",
                pytrace=False,
            )
        assert answer is None or isinstance(answer, Identity | GuardRefusal), (
            f"check returned a {type(answer).__name__}, not an Identity, a GuardRefusal or None"
        )
        return answer

    def test_is_a_guard(self, guard: Guard) -> None:
        assert isinstance(guard, Guard), "what `open` returns must extend tsa_core.api.Guard"
        assert guard.latency in {"local", "remote"}

    @pytest.mark.parametrize("value", _HEADERS, ids=lambda v: ascii(v)[1:14] or "empty")
    def test_headers_do_no_harm(self, guard: Guard, value: str) -> None:
        self.ask(guard, GuardedRequest(client_address="127.0.0.1", request_id="sample", header=lambda _name: value))

    @pytest.mark.parametrize("path", _PATHS, ids=lambda v: ascii(v)[1:14] or "empty")
    def test_paths_do_no_harm(self, guard: Guard, path: str) -> None:
        for method in ("GET", "POST", "OPTIONS", "X" * 100):
            self.ask(guard, GuardedRequest(method=method, path=path, client_address="127.0.0.1", request_id="sample"))

    @pytest.mark.parametrize("address", _ADDRESSES, ids=lambda v: v or "empty")
    def test_addresses_do_no_harm(self, guard: Guard, address: str) -> None:
        for length in (None, 0, 70, 10**17):
            request = GuardedRequest(client_address=address, request_id="sample", content_length=length)
            self.ask(guard, request)

    def test_another_guards_identity_is_accepted(self, guard: Guard) -> None:
        known = Identity(name="somebody", tenant="somewhere", how="api-key", profiles=frozenset({"default"}))
        self.ask(guard, GuardedRequest(client_address="127.0.0.1", request_id="sample", identity=known))

    def test_many_threads_are_answered(self, guard: Guard) -> None:
        def ask_one(number: int) -> bool:
            request = GuardedRequest(client_address=f"192.0.2.{number}", request_id=f"sample-{number}")
            return self.ask(guard, request) is not NotImplemented

        assert all(on_threads(ask_one, range(_THREADS)))

    def test_a_local_guard_does_not_wait(self, guard: Guard) -> None:
        """The quickest of several calls, so that a loaded machine does not decide."""
        if guard.latency == "remote":
            return
        request = GuardedRequest(client_address="127.0.0.1", request_id="sample")
        for _ in range(20):
            try:
                within_limit(lambda: guard.check(request), seconds=_LOCAL_SECONDS, name="check")
            except Overdue:
                continue
            return
        pytest.fail('a guard with latency = "local" is called on the I/O thread and must not wait; say "remote"')

    def test_close_twice(self, open_guard: Callable[[], Guard]) -> None:
        opened = open_guard()
        opened.close()
        opened.close()
