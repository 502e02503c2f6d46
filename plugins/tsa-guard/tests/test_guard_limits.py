"""Limits: per client, per tenant, per address, in memory and in a real Redis, and what happens when that is down."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsa_backends.redis_server import PASSWORD, RedisServer
from tsa_core.api import GuardRefusal, Identity
from tsa_core.testing import wait_until
from tsa_guard.memory import SweptMemory
from tsa_guard.rates import CannotCount

from .test_guard_keys import add, ask, opened, refusal

_numbers = itertools.count()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


@pytest.fixture(params=["memory", "redis"])
def storage(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "memory":
        return {}
    server: RedisServer = request.getfixturevalue("redis_server")
    return {"storage": server.url, "storage_timeout": "10s"}


@pytest.fixture
def tenant() -> Iterator[str]:
    """A name of the test's own: the Redis is shared."""
    return iter([f"tenant {next(_numbers)}"])


def test_limits_of_a_client_and_of_its_tenant(path: Path, storage: dict[str, str], tenant: Iterator[str]) -> None:
    name = next(tenant)
    first, second = (add(path, name=each, tenant=name) for each in ("one", "two"))
    tenants = {name: {"client_limits": ["3/hour"], "limits": ["5/day"]}}
    with opened(keys=str(path), tenants=tenants, **storage) as guard:
        answers = [ask(guard, X_API_Key=first) for _ in range(4)]
        assert [type(answer) for answer in answers] == [Identity, Identity, Identity, GuardRefusal]
        text = refusal(answers[-1], 429)
        assert "the limit is 3 per 1 hour" in text
        assert isinstance(answers[-1], GuardRefusal)
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3600
        answers = [ask(guard, X_API_Key=second) for _ in range(3)]
        assert [type(answer) for answer in answers] == [Identity, Identity, GuardRefusal]
        assert "the limit is 5 per 1 day" in refusal(answers[-1], 429)


def test_names_with_slashes_have_counts_of_their_own(
    path: Path, storage: dict[str, str], tenant: Iterator[str]
) -> None:
    name = next(tenant)
    keys = [
        add(path, name="b/api-key/c", tenant=name),
        add(path, name="c", tenant=f"{name}/api-key/b"),
        add(path, name="b%2Fapi-key%2Fc", tenant=name),
    ]
    tenants = {each: {"client_limits": ["1/hour"]} for each in (name, f"{name}/api-key/b")}
    with opened(keys=str(path), tenants=tenants, **storage) as guard:
        answers = [ask(guard, X_API_Key=key) for key in (*keys, *keys)]
        assert [type(answer) for answer in answers] == [Identity] * 3 + [GuardRefusal] * 3


@pytest.mark.parametrize(("limit", "days"), [("2/second", 1 / 86_400), ("2/day", 1), ("2/month", 30)])
def test_quotas_say_when_they_begin_anew(
    limit: str, days: float, path: Path, storage: dict[str, str], tenant: Iterator[str]
) -> None:
    name = next(tenant)
    key = add(path, name="one", tenant=name)
    with opened(keys=str(path), tenants={name: {"limits": [limit]}}, **storage) as guard:
        answers = [ask(guard, X_API_Key=key)]
        while isinstance(answers[-1], Identity):
            answers.append(ask(guard, X_API_Key=key))
        assert len(answers) >= 3
        refusal(answers[-1], 429)
        assert isinstance(answers[-1], GuardRefusal)
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= max(1, days * 86_400)
        if days >= 1:
            assert len(answers) in {3, 5}, "five, when a window ended meanwhile"


def test_a_short_limit_is_over_soon(path: Path, storage: dict[str, str], tenant: Iterator[str]) -> None:
    name = next(tenant)
    key = add(path, name="one", tenant=name)
    with opened(keys=str(path), tenants={name: {"limits": ["2 per 1 second"]}}, **storage) as guard:
        wait_until(lambda: isinstance(ask(guard, X_API_Key=key), GuardRefusal), seconds=60, what="the limit is reached")
        wait_until(lambda: isinstance(ask(guard, X_API_Key=key), Identity), seconds=60, what="it is over")


def test_two_servers_count_together_in_redis(path: Path, redis_server: RedisServer, tenant: Iterator[str]) -> None:
    name = next(tenant)
    key = add(path, name="one", tenant=name)
    table = {"keys": str(path), "tenants": {name: {"limits": ["10/day"]}}, "storage": redis_server.url}
    with opened(**table) as first, opened(**table) as second:
        assert first.latency == second.latency == "remote"
        answers = [ask(guard, X_API_Key=key) for guard in (first, second) * 8]
    assert sum(isinstance(answer, Identity) for answer in answers) == 10


def test_to_count_in_memory_starts_no_thread_and_forgets_what_is_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = add(path, name="one")
    with opened(keys=str(path), client_limits=["1000/second", "100000/day"], failed_limits=["1/second"]) as guard:
        started: list[threading.Thread] = []
        monkeypatch.setattr(threading.Thread, "start", started.append)
        for number in range(300):
            assert isinstance(ask(guard, X_API_Key=key), Identity)
            refusal(ask(guard, f"address {number}", X_API_Key="guess"), 401)
        monkeypatch.undo()
        assert started == []
        storage = guard._rates._storage
        assert isinstance(storage, SweptMemory)
        assert len(storage.expirations) > 300
        wait_until(
            lambda: len(storage.expirations) == len(storage.locks) == 1, seconds=60, what="only that of the day is left"
        )


@pytest.mark.parametrize("hours", [-2, 2, 2000], ids=str)
def test_a_clock_that_is_set_changes_no_quota(path: Path, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    key = add(path, name="one")
    real = time.time
    with opened(keys=str(path), client_limits=["2/hour"]) as guard:
        answers = [ask(guard, X_API_Key=key) for _ in range(2)]
        monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
        answers += [ask(guard, X_API_Key=key)]
        storage = guard._rates._storage
        assert isinstance(storage, SweptMemory)
        storage.sweep()  # as its thread does each second
        answers += [ask(guard, X_API_Key=key)]
    assert [type(answer) for answer in answers] == [Identity, Identity, GuardRefusal, GuardRefusal]
    assert isinstance(answers[-1], GuardRefusal)
    assert 3500 < int(answers[-1].headers["Retry-After"]) <= 3600


def test_who_guesses_is_slowed_and_nobody_else(path: Path, storage: dict[str, str], tenant: Iterator[str]) -> None:
    key = add(path, name="one")
    guesser, other = next(tenant), "192.0.2.9"  # any text is an address of its own here
    with opened(keys=str(path), failed_limits=["3/hour"], **storage) as guard:
        answers = [ask(guard, guesser, X_API_Key=f"guess {number}") for number in range(5)]
        assert [type(answer) for answer in answers] == [GuardRefusal] * 5
        assert [answer.status for answer in answers if isinstance(answer, GuardRefusal)] == [401, 401, 401, 429, 429]
        assert isinstance(answers[-1], GuardRefusal)
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3600
        refusal(ask(guard, guesser), 401)
        refusal(ask(guard, other, X_API_Key="guess"), 401)
        # Behind the same address there are honest clients, too.
        assert isinstance(ask(guard, guesser, X_API_Key=key), Identity)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unix", "unix", True),
        ("", "unix", False),
    ],
)
def test_addresses_without_a_key(one: str, other: str, together: bool) -> None:
    with opened(anonymous="allow", anonymous_limits=["1/day"]) as guard:
        assert ask(guard, one) is None
        refusal(ask(guard, one), 429)
        assert isinstance(ask(guard, other), GuardRefusal) is together


@pytest.mark.parametrize("how", ["frozen", "gone"])
def test_without_redis_requests_are_refused_unless_the_operator_says_otherwise(
    how: str, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    key = add(path, name="one")
    table = {"keys": str(path), "client_limits": ["1000/day"], "storage": server.url, "storage_timeout": "300ms"}
    try:
        with opened(**table) as strict, opened(**table, on_storage_failure="allow") as lax:
            assert isinstance(ask(strict, X_API_Key=key), Identity)
            assert isinstance(ask(lax, X_API_Key=key), Identity)
            if how == "frozen":
                server.freeze()
            else:
                server.process.kill()
            with pytest.raises(CannotCount) as caught:
                ask(strict, X_API_Key=key)
            assert not strict.health().healthy
            assert lax.health().healthy, "it serves all the same"
            assert isinstance(ask(lax, X_API_Key=key), Identity)
            assert "requests are not limited" in caplog.text
            assert PASSWORD not in caplog.text + str(caught.value) + repr(caught.value)
            if how == "frozen":
                server.thaw()
            else:
                server.start()

            def counts() -> bool:
                try:
                    return isinstance(ask(strict, X_API_Key=key), Identity)
                except CannotCount:
                    return False

            wait_until(counts, seconds=60, what="requests are counted again")
    finally:
        server.process.kill()
