"""The PKCS#11 signer loses sessions, tokens and keys, and recovers without a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_backends.softhsm import SoftHsm
from tsa_core.api import PublicKey, Signer, SignerError, SignerUnavailable
from tsa_core.testing import ends_within

MESSAGE = b"to be signed"

Open = Callable[..., Signer]


def signs(signer: Signer, *, timeout: float = 5) -> bool:
    return signer.algorithm.is_valid(signer.public_key, signer.sign(MESSAGE, timeout=timeout), MESSAGE)


def spki(public_key: PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def recovered(signer: Signer) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return signs(signer)
        except SignerUnavailable:
            time.sleep(0.05)
    return False


def test_lost_sessions_are_opened_again(open_signer: Open, key: PublicKey) -> None:
    signer: Any = open_signer(sessions=2)
    assert signs(signer)
    idle = signer._pool.take(1)
    idle.session.close()
    signer._pool.give(idle)
    assert signs(signer)


def test_token_removed_and_put_back(open_signer: Open, softhsm: SoftHsm, key: PublicKey) -> None:
    signer = open_signer()
    for _ in range(2):
        softhsm.kill()
        for _ in range(3):
            with ends_within(1), pytest.raises(SignerUnavailable):
                signer.sign(MESSAGE, timeout=1)
        softhsm.start()
        assert recovered(signer)


def test_token_removed_and_put_back_under_load(open_signer: Open, softhsm: SoftHsm, key: PublicKey) -> None:
    signer = open_signer(sessions=8)
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
                stop.wait(0.01)

    with ThreadPoolExecutor(12) as pool:
        running = [pool.submit(load, number) for number in range(12)]
        try:
            stop.wait(0.5)
            softhsm.kill()
            stop.wait(1.5)
            before = len(made)
            softhsm.start()
            assert recovered(signer)
            stop.wait(1)
        finally:
            stop.set()
        for future in running:
            future.result(timeout=10)
    assert failed
    assert all(isinstance(error, SignerUnavailable) for error in failed)
    assert len(made) > before
    assert all(signer.algorithm.is_valid(signer.public_key, signature, message) for message, signature in made)


def test_deleted_key_is_no_outage_but_an_error(open_signer: Open, softhsm: SoftHsm, token: str, key: PublicKey) -> None:
    signer = open_signer()
    softhsm.in_token("destroy", token, "key")
    with pytest.raises(SignerError, match="has no private key with label 'key'") as caught:
        signer.sign(MESSAGE, timeout=5)
    assert not isinstance(caught.value, SignerUnavailable)
    softhsm.make_key(token, "key")
    assert recovered_from_error(signer)


def recovered_from_error(signer: Signer) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return signs(signer)
        except SignerError:
            time.sleep(0.05)
    return False


def test_replaced_key_never_signs(open_signer: Open, softhsm: SoftHsm, token: str, key: PublicKey) -> None:
    signer = open_signer()
    softhsm.in_token("destroy", token, "key")
    softhsm.in_token("generate", token, "key")
    with pytest.raises(SignerError, match="is another one than at the start"):
        signer.sign(MESSAGE, timeout=5)
    assert spki(signer.public_key) == spki(key)


def test_stopped_signing_right_is_an_error(open_signer: Open, softhsm: SoftHsm, token: str, key: PublicKey) -> None:
    signer: Any = open_signer()
    softhsm.in_token("no-sign", token, "key")
    # A session that is open already may go on, as the token decides; a new one must refuse.
    signer._pool.take(1)
    signer._pool.give(None)
    with pytest.raises(SignerError, match="CKA_SIGN is false"):
        signer.sign(MESSAGE, timeout=5)
