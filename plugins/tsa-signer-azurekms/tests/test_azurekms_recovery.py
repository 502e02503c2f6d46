"""The Azure signer outlives tokens, throttling, outages and mistakes of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.core.credentials import AccessTokenInfo

from tsa_backends.key_vault import KeyVault
from tsa_core.api import PublicKey, Signer, SignerError, SignerUnavailable
from tsa_core.testing import ends_within, wait_until
from tsa_signer_azurekms.connection import SharedCredential, within

MESSAGE = b"to be signed"

Open = Callable[..., Signer]


def version(key_vault: KeyVault, number: int = 1) -> Any:
    return key_vault.keys["tsa"][f"{number:032x}"]


def signs(signer: Signer, *, timeout: float = 5) -> bool:
    return signer.algorithm.is_valid(signer.public_key, signer.sign(MESSAGE, timeout=timeout), MESSAGE)


# -- the token ------------------------------------------------------------------------------------------------------


def test_one_token_serves_all_threads(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda _: signs(signer), range(64)))
    assert key_vault.token_requests == 1


def test_revoked_token_is_replaced(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.revoke_tokens()
    assert signs(signer)
    assert key_vault.token_requests == 2


def test_token_near_its_end_is_used_while_there_is_no_new_one(
    open_signer: Open, key_vault: KeyVault, key: PublicKey
) -> None:
    key_vault.token_seconds = 120
    signer = open_signer()
    key_vault.token_fault = 503
    assert all(signs(signer) for _ in range(5))
    assert key_vault.token_requests <= 3


def test_token_service_that_hangs_is_unavailable_in_time(
    open_signer: Open, key_vault: KeyVault, key: PublicKey
) -> None:
    signer = open_signer()
    key_vault.revoke_tokens()
    key_vault.freeze()
    with ends_within(0.5), pytest.raises(SignerUnavailable):
        signer.sign(MESSAGE, timeout=0.5)
    key_vault.thaw()
    assert signs(signer)


def test_token_service_that_fails_is_unavailable(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.revoke_tokens()
    key_vault.token_fault = 503
    with pytest.raises(SignerUnavailable, match="no access token"):
        signer.sign(MESSAGE, timeout=2)
    key_vault.token_fault = None
    assert signs(signer)


# -- loss and recovery ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_failures_are_tried_again_within_the_time(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, status: int
) -> None:
    signer = open_signer()
    left = [2]

    def fail_twice(operation: str) -> tuple[int, str, str, dict[str, str]] | None:
        left[0] -= 1
        return (status, "Throttled", "slow down", {}) if left[0] >= 0 else None

    key_vault.fault = fail_twice
    assert signs(signer, timeout=60)
    key_vault.fault = lambda _: (status, "Throttled", "slow down", {})
    before = len(key_vault.requests)
    with (
        ends_within(1),
        pytest.raises(SignerUnavailable, match=rf"HTTP {status} Throttled: slow down.*") as caught,
    ):
        signer.sign(MESSAGE, timeout=1)
    calls = len(key_vault.requests) - before  # one, where a busy machine took the whole second for it
    assert (f"; tried {calls} times in " in str(caught.value)) == (calls > 1)
    key_vault.fault = lambda _: (status, "Throttled", "slow down", {"Retry-After": "30"})
    before = len(key_vault.requests)
    with pytest.raises(SignerUnavailable, match=f"HTTP {status} Throttled: slow down") as caught:
        signer.sign(MESSAGE, timeout=3)
    assert caught.value.retry_after == 30
    assert len(key_vault.requests) - before == 1


def test_missing_permission_names_what_is_needed(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.permissions.remove("sign")
    with pytest.raises(SignerError, match=r"403 Forbidden/ForbiddenByRbac.*permission keys/sign \(role") as caught:
        signer.sign(MESSAGE, timeout=2)
    assert not isinstance(caught.value, SignerUnavailable)
    assert [operation for operation, _ in key_vault.requests].count("sign") == 1
    key_vault.permissions.add("sign")
    assert signs(signer)
    key_vault.permissions.remove("get")
    with pytest.raises(SignerError, match="permission keys/get"):
        open_signer()


def test_disabled_key_stops_and_starts_again(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    version(key_vault).enabled = False
    with pytest.raises(SignerError, match="KeyDisabled: Operation sign is not allowed on a disabled key"):
        signer.sign(MESSAGE, timeout=2)
    version(key_vault).enabled = True
    assert signs(signer)


def test_answer_of_another_key_is_refused(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    key_vault.answer_kid = f"{key_vault.url}/keys/tsa/{2:032x}"
    with pytest.raises(SignerError, match="was asked to sign, another key answered"):
        signer.sign(MESSAGE, timeout=2)


@pytest.mark.parametrize("value", ["!", "AAAA", "A" * 86, "not base64url%", "\u00e9"])
def test_answer_that_is_no_signature_is_refused(
    open_signer: Open, key_vault: KeyVault, key: PublicKey, value: str
) -> None:
    signer = open_signer()
    key_vault.answer_value = value
    with pytest.raises(SignerError, match=r"not base64url|no ES256 signature"):
        signer.sign(MESSAGE, timeout=2)


def grow(found: Sequence[object]) -> None:
    """Return when there are twenty more, as calls under load bring them."""
    enough = len(found) + 20
    wait_until(lambda: len(found) >= enough, seconds=120, what="more calls end this way")


def test_killed_and_restarted_under_load(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer()
    stop = threading.Event()
    made: list[tuple[bytes, bytes]] = []
    failed: list[SignerError] = []

    def load(number: int) -> None:
        count = 0
        while not stop.is_set():
            message = b"%d of %d" % (count, number)
            count += 1
            try:
                made.append((message, signer.sign(message, timeout=1)))
            except SignerError as error:
                failed.append(error)

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(load, number) for number in range(8)]
        try:
            grow(made)
            key_vault.kill()
            grow(failed)
            key_vault.start()
            grow(made)
        finally:
            stop.set()
        for future in running:
            future.result(timeout=60)
    assert failed
    assert all(isinstance(error, SignerUnavailable) for error in failed)
    assert all(signer.algorithm.is_valid(signer.public_key, signature, message) for message, signature in made)


def test_slow_vault_is_asked_by_many_threads_at_once(open_signer: Open, key_vault: KeyVault, key: PublicKey) -> None:
    signer = open_signer(connections=32)
    together = threading.Barrier(32)

    def wait_for_all(operation: str) -> None:
        together.wait(60)  # raises BrokenBarrierError in all of them unless all are there

    key_vault.fault = wait_for_all
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(lambda _: signs(signer, timeout=120), range(32)))


class Tokens:
    """A credential that counts what it is asked for, and waits for `ready`."""

    def __init__(self) -> None:
        self.asked = 0
        self.entered = threading.Event()
        self.ready = threading.Event()

    def get_token_info(self, *_: str, options: object = None) -> AccessTokenInfo:
        self.asked += 1
        self.entered.set()
        assert self.ready.wait(60)
        return AccessTokenInfo(f"token {self.asked}", int(time.time()) + 3600)


def test_a_token_that_another_thread_has_replaced_is_not_dropped() -> None:
    tokens = Tokens()
    tokens.ready.set()
    credential = SharedCredential(lambda: tokens)

    def refused() -> str:
        with within(60):
            credential.get_token_info("vault")
            credential.forget()
            return credential.get_token_info("vault").token

    with within(60), ThreadPoolExecutor(1) as pool:
        credential.get_token_info("vault")
        assert pool.submit(refused).result() == "token 2"
        credential.forget()
        assert credential.get_token_info("vault").token == "token 2"
    assert tokens.asked == 2


def test_a_token_is_not_dropped_beyond_the_time_while_another_thread_gets_one() -> None:
    tokens = Tokens()
    credential = SharedCredential(lambda: tokens)

    def get() -> None:
        with within(60):
            credential.get_token_info("vault")

    def forget() -> None:
        with within(0.01):
            credential.forget()

    getting, forgetting = threading.Thread(target=get), threading.Thread(target=forget)
    getting.start()
    assert tokens.entered.wait(60)
    forgetting.start()
    forgetting.join(10)
    returned = not forgetting.is_alive()
    tokens.ready.set()
    getting.join()
    forgetting.join()
    assert returned
