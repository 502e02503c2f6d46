"""The kit fails what waits and says that it is local, and a signer that does not end in its time; it says why."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tsa_core.api import ResponseProcessor, Signer, SignerUnavailable, TokenDraft
from tsa_core.testing import FakeSigner, Relay, ResponseProcessorContract, SignerContract
from tsa_core.testing.latency import LOCAL_SECONDS, check_latency, returns_within
from tsa_core.testing.samples import sample_draft

_DOZE = threading.Event()


class Hasty(SignerContract):
    """A contract with a short limit, so that these tests do not last."""

    unreachable_timeout = 0.05


class Endless(FakeSigner):
    """Ignores its time limit."""

    def __init__(self, ended: threading.Event) -> None:
        super().__init__()
        self.ended = ended

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        self.ended.wait(60)
        return super().sign(message, timeout=timeout)


TESTS = [Hasty.test_silent_backend_is_given_up_in_time, Hasty.test_unreachable_backend_is_signer_unavailable]


@pytest.mark.parametrize("of_the_contract", TESTS)
def test_a_signer_without_a_time_limit_fails(
    of_the_contract: Callable[[Hasty, Signer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hasty, "timeout_slack", 0.1)
    ended = threading.Event()
    with pytest.raises(pytest.fail.Exception, match=r"has not returned long after the 0.05 s that it had: .*time"):
        of_the_contract(Hasty(), Endless(ended))
    ended.set()


class Late(FakeSigner):
    """Ends in its time, and the machine lets nobody know for another 1.5 s."""

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        _DOZE.wait(timeout + 1.5)
        raise SignerUnavailable("the backend did not answer in time")


@pytest.mark.parametrize("of_the_contract", TESTS)
def test_a_signer_on_a_busy_machine_passes(of_the_contract: Callable[[Hasty, Signer], None]) -> None:
    of_the_contract(Hasty(), Late())


def test_what_is_local_and_waits_fails_and_is_told_what_to_say() -> None:
    with pytest.raises(pytest.fail.Exception, match=r'write_all waits for .*says that it is local.*latency = "remote"'):
        check_latency("local", lambda: _DOZE.wait(LOCAL_SECONDS + 0.02), doing="write_all")


def test_what_is_remote_may_wait_and_what_is_local_may_compute() -> None:
    check_latency("remote", lambda: pytest.fail("it is not even called"), doing="sign")
    check_latency("local", lambda: sum(range(10_000)), doing="sign")


def test_one_slow_call_of_several_is_no_verdict() -> None:
    waits = iter([LOCAL_SECONDS + 0.02, 0])
    check_latency("local", lambda: _DOZE.wait(next(waits)), doing="sign")


class SlowOnce(ResponseProcessor):
    """Archives by serial number, and its first call takes long, as on a busy machine."""

    latency = "local"

    def __init__(self) -> None:
        self.serials: list[int] = []

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        if not self.serials:
            _DOZE.wait(LOCAL_SECONDS + 0.02)
        self.serials.append(draft.serial_number)
        return response


def test_a_processor_that_is_called_again_gets_another_token() -> None:
    processor = SlowOnce()
    ResponseProcessorContract().test_local_processor_does_not_wait(processor, b"", sample_draft())
    assert len(set(processor.serials)) == 2


def test_what_a_call_within_a_limit_raises_is_raised() -> None:
    with pytest.raises(KeyError):
        returns_within(lambda: dict[str, int]()["x"], seconds=60, doing="it", remedy="")


@pytest.fixture
def echo() -> Iterator[int]:
    """A backend that answers what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(100):
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_relay_passes_on_and_falls_silent_on_the_same_connection(echo: int) -> None:
    with Relay(echo) as relay, socket.create_connection(("127.0.0.1", relay.port), 60) as client:
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        relay.hush()
        client.sendall(b"two")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(100)


def test_a_relay_talks_nonsense_and_hangs_up(echo: int) -> None:
    with Relay(echo) as relay, socket.create_connection(("127.0.0.1", relay.port), 60) as client:
        relay.babble(b"nonsense")
        client.sendall(b"one")
        assert client.recv(100) == b"nonsense"
        assert client.recv(100) == b""
