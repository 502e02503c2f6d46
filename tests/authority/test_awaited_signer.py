"""The stand-in for a signer whose backend was not there at the start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests import pki
from tests.serving import Parts, TestSigner, open_service
from tsa_core.api import ConfigError, Signer, SignerUnavailable
from tsa_core.authority import AwaitedSigner
from tsa_core.service import LiveService
from tsa_core.testing import wait_until


class Later(TestSigner):
    """Notes that it was closed."""

    def __init__(self, kind: str = "p256", *, digest: str | None = None) -> None:
        super().__init__(kind, digest=digest)
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsa_core.authority.awaited_signer._FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("tsa_core.authority.awaited_signer._LONGEST_PAUSE_SECONDS", 0.02)


@pytest.fixture
def waits() -> Iterator[Callable[[Callable[[], Signer]], AwaitedSigner]]:
    made: list[AwaitedSigner] = []

    def make(opens: Callable[[], Signer]) -> AwaitedSigner:
        signer = TestSigner()
        made.append(
            AwaitedSigner(
                "default", public_key=signer.public_key, algorithm=signer.algorithm, opens=opens, failure="refused"
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def unavailable() -> Signer:
    raise SignerUnavailable("refused")


def test_it_signs_once_the_signer_is_there(waits: Callable[..., AwaitedSigner]) -> None:
    come = threading.Event()
    later = Later()
    awaited = waits(lambda: later if come.is_set() else unavailable())
    with pytest.raises(SignerUnavailable, match="not reached since the start: refused"):
        awaited.sign(b"x", timeout=1)
    come.set()
    wait_until(lambda: awaited.reached, seconds=30, what="the signer is reached")
    assert awaited.algorithm.is_valid(pki.key("p256").public_key(), awaited.sign(b"x", timeout=1), b"x")
    awaited.close()
    assert later.closed.is_set()


@pytest.mark.parametrize(
    ("signer", "said"),
    [
        (
            lambda: Later("p384"),
            ") is not the one that the certificate certifies (SHA-256 ",
        ),
        (lambda: Later(digest="sha512"), "this server has started for ecdsa-sha256; restart it, or say signer_hash"),
    ],
    ids=["another key", "another algorithm"],
)
def test_signer_with_another_key_or_algorithm_is_refused_and_closed(
    waits: Callable[..., AwaitedSigner],
    signer: Callable[[], Later],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened: list[Later] = []

    def opens() -> Signer:
        opened.append(signer())
        return opened[-1]

    awaited = waits(opens)
    wait_until(lambda: len(opened) > 2 and opened[0].closed.is_set(), seconds=30, what="it is tried again")
    assert not awaited.reached
    assert caplog.text.count(said) == 1, "the same failure is logged once"


def test_plugin_that_crashes_is_tried_again(waits: Callable[..., AwaitedSigner]) -> None:
    turns = iter([KeyError("x"), ConfigError("no slot"), None])

    def opens() -> Signer:
        if (failure := next(turns)) is not None:
            raise failure
        return Later()

    awaited = waits(opens)
    wait_until(lambda: awaited.reached, seconds=30, what="the signer is reached")


def test_signer_that_comes_after_the_close_is_closed(waits: Callable[..., AwaitedSigner]) -> None:
    asked, go_on, later = threading.Event(), threading.Event(), Later()

    def opens() -> Signer:
        asked.set()
        assert go_on.wait(30)
        return later

    awaited = waits(opens)
    assert asked.wait(30)
    awaited.close()
    go_on.set()
    assert later.closed.wait(30)


def test_reload_never_puts_a_stand_in_in_the_place_of_a_signer_that_signs() -> None:
    signer = Later()
    with open_service(Parts(signers={"p256": signer}), start="wait") as service:
        live = LiveService(service, lambda _: lambda *_: [])
        signer.go_down()
        with pytest.raises(SignerUnavailable):
            live.prepare(service.settings)
        assert service.authority.profiles["default"].available


def test_trial_that_is_unavailable_at_the_start_is_a_cause() -> None:
    """The signer could be opened, and then its backend went away."""
    signer = Later()
    signer.go_down()
    with pytest.raises(SignerUnavailable), open_service(Parts(signers={"p256": signer})):
        pass
    with open_service(Parts(signers={"p256": signer}), start="wait") as service:
        profile = service.authority.profiles["default"]
        assert profile.signing.reason == "the signer cannot sign now"
        signer.come_back()
        wait_until(lambda: profile.available, seconds=30, what="a trial signature works")
