"""A call of a plugin that may wait has a time limit, and one that hangs costs the others nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tsa_core.api import SignerUnavailable
from tsa_core.authority import CauseKind, Causes, PluginCalls
from tsa_core.testing import ends_within, wait_until

LIMIT = 0.2


class Plugin:
    """Answers, unless `go` is clear: then it does when that is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.called = 0

    def answer(self) -> int:
        self.called += 1
        self.go.wait(60)
        return 7


@pytest.fixture
def plugin() -> Iterator[Plugin]:
    made = Plugin()
    yield made
    made.go.set()


def calls(seconds: float = LIMIT, threads: int = 4) -> PluginCalls:
    hangs = Causes().add(CauseKind.SIGNER, "default")
    return PluginCalls("the signer 'x'", seconds=seconds, hangs=hangs, error=SignerUnavailable, threads=threads)


def test_a_call_returns_what_the_plugin_returns_and_raises_what_it_raises(plugin: Plugin) -> None:
    made = calls()
    assert [made.call(plugin.answer) for _ in range(3)] == [7, 7, 7]
    for error in (ValueError("x"), SystemExit(3), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            made.call(raising(error))
        assert caught.value is error
    assert made.call(plugin.answer) == 7


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_one_thread_serves_calls_one_after_the_other(plugin: Plugin) -> None:
    made, threads = calls(), set()
    for _ in range(20):
        threads.add(made.call(threading.get_ident))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_hangs_is_given_up_and_the_next_calls_fail_at_once_but_for_one(plugin: Plugin) -> None:
    made = calls()
    plugin.go.clear()
    with ends_within(LIMIT), pytest.raises(SignerUnavailable, match=r"the signer 'x' has not returned within 0\.2 s"):
        made.call(plugin.answer)
    assert made.hangs.reason == "it has not returned within 0.2 s"
    made.seconds = 60
    trying = threading.Thread(target=made.call, args=(plugin.answer,))
    trying.start()
    wait_until(lambda: plugin.called == 2, seconds=60, what="one call tries again")
    with pytest.raises(SignerUnavailable, match="hangs"):
        made.call(plugin.answer)
    assert plugin.called == 2
    plugin.go.set()
    trying.join(60)
    wait_until(lambda: not made.hangs.reason, seconds=60, what="it is seen that it answers again")
    assert made.call(plugin.answer) == 7


def test_a_call_that_is_lost_for_ever_does_not_stop_the_others(plugin: Plugin) -> None:
    made, other = calls(), Plugin()
    plugin.go.clear()
    with pytest.raises(SignerUnavailable):
        made.call(plugin.answer)
    assert made.hangs.reason
    assert made.call(other.answer) == 7
    assert not made.hangs.reason
    assert made.call(other.answer) == 7


def test_calls_that_hang_use_no_more_threads_than_allowed(plugin: Plugin) -> None:
    made = calls(0.05, threads=3)
    plugin.go.clear()
    for _ in range(3):
        with pytest.raises(SignerUnavailable, match="has not returned"):
            made.call(plugin.answer)
    with pytest.raises(SignerUnavailable, match="3 calls have not returned"):
        made.call(plugin.answer)
    assert plugin.called == 3
    plugin.go.set()
    wait_until(lambda: not made.hangs.reason, seconds=60, what="it is seen that it answers again")
    assert made.call(plugin.answer) == 7


def test_want_of_threads_is_a_failure_of_the_call(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    made = calls()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _self: raising(RuntimeError("can't start new thread"))())
        with pytest.raises(SignerUnavailable, match="for want of a thread"):
            made.call(plugin.answer)
    assert made.call(plugin.answer) == 7


def test_close_ends_the_threads(plugin: Plugin) -> None:
    made = calls()
    thread = made.call(threading.current_thread)
    made.close()
    thread.join(60)
    assert not thread.is_alive()
    plugin.go.clear()
    before = set(threading.enumerate())
    with pytest.raises(SignerUnavailable):
        made.call(plugin.answer)
    (left,) = set(threading.enumerate()) - before
    plugin.go.set()
    left.join(60)
    assert not left.is_alive()
