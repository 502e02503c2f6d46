"""The PKCS#11 signer at its edges: what it refuses, what it survives, what it never shows."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_backends.softhsm import PIN, SoftHsm
from tsa_core.api import ConfigError, PublicKey, Signer, SignerError, SignerUnavailable
from tsa_core.testing import Pki, ends_within
from tsa_signer_pkcs11.options import Pkcs11Options

MESSAGE = b"to be signed"
WRONG_PIN = "wrong-pin-27aa"

Open = Callable[..., Signer]


def signs(signer: Signer, *, timeout: float = 5) -> bool:
    return signer.algorithm.is_valid(signer.public_key, signer.sign(MESSAGE, timeout=timeout), MESSAGE)


def spki(public_key: PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# -- which key ------------------------------------------------------------------------------------------------------


def test_key_made_in_the_token_signs(open_signer: Open, softhsm: SoftHsm, token: str) -> None:
    softhsm.in_token("generate", token, "made there")
    assert signs(open_signer("pkcs11:token=tsa;id=generated"))


@pytest.mark.parametrize(
    "uri", ["pkcs11:", "pkcs11:token=tsa;id=%00%01", "pkcs11:object=key", "pkcs11:model=SoftHSM%20v2"]
)
def test_uri_may_leave_open_what_is_clear(open_signer: Open, key: PublicKey, uri: str) -> None:
    assert spki(open_signer(uri).public_key) == spki(key)


def test_token_is_found_by_serial_and_slot(open_signer: Open, softhsm: SoftHsm, key: PublicKey) -> None:
    shown = open_signer().details()["token"]
    serial, slot = shown.split("serial ")[1].split(",")[0], shown.split("slot ")[1]
    assert signs(open_signer(f"pkcs11:serial={serial};slot-id={slot}"))
    with pytest.raises(SignerUnavailable, match=f"no token with serial '{serial}0'; present: 'tsa'"):
        open_signer(f"pkcs11:serial={serial}0")


def test_public_key_comes_from_a_certificate_when_there_is_no_public_object(
    open_signer: Open, softhsm: SoftHsm, token: str
) -> None:
    public = softhsm.make_key(token, "key", public=False)
    with pytest.raises(SignerError, match=r"neither a public key object nor a certificate"):
        open_signer()
    certificate = Pki().issue(public).public_bytes(Encoding.DER)
    softhsm.in_token("certificate", token, "key", data=certificate)
    signer = open_signer()
    assert spki(signer.public_key) == spki(public)
    assert signs(signer)


def test_rsa_private_key_knows_its_public_half(open_signer: Open, softhsm: SoftHsm, token: str) -> None:
    public = softhsm.make_key(token, "key", "rsa-2048", public=False)
    assert spki(open_signer().public_key) == spki(public)


def test_several_signers_share_module_and_login(open_signer: Open, softhsm: SoftHsm, token: str) -> None:
    softhsm.make_key(token, "key")
    softhsm.make_key(token, "other", "rsa-2048")
    first, second = open_signer(), open_signer("pkcs11:object=other")
    first.close()
    assert signs(second)
    assert signs(open_signer())


# -- what cannot sign, in one line ----------------------------------------------------------------------------------


def refused(open_signer: Open, *arguments: Any, **options: Any) -> str:
    with pytest.raises((ConfigError, SignerError)) as caught:
        open_signer(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert PIN not in text
    assert WRONG_PIN not in text
    return text


def test_key_that_must_not_sign_is_refused(open_signer: Open, softhsm: SoftHsm, token: str, key: PublicKey) -> None:
    softhsm.in_token("no-sign", token, "key")
    assert "'key' (id 0001) on token 'tsa' must not sign: its CKA_SIGN is false" in refused(open_signer)


def test_curve_that_timestamps_cannot_use_is_refused(open_signer: Open, softhsm: SoftHsm, token: str) -> None:
    softhsm.in_token("generate-brainpool", token, "key")
    assert "is on a curve that timestamps cannot use" in refused(open_signer)


def test_missing_token_names_those_present(open_signer: Open, softhsm: SoftHsm, key: PublicKey) -> None:
    assert "there is no token with label 'TSA'; present: 'tsa' (serial " in refused(open_signer, "pkcs11:token=TSA")


def test_missing_key_names_those_present(open_signer: Open, softhsm: SoftHsm, key: PublicKey) -> None:
    text = refused(open_signer, "pkcs11:object=Key;id=%07")
    assert text == "token 'tsa' has no private key with label 'Key' and id 07; visible there: 'key' (id 0001)"


def test_several_keys_ask_for_more(open_signer: Open, softhsm: SoftHsm, token: str, key: PublicKey) -> None:
    softhsm.make_key(token, "key", "ecdsa-p384")
    text = refused(open_signer)
    assert "several private keys with label 'key'" in text
    assert "(id 0001)" in text
    assert "(id 0002)" in text
    assert spki(open_signer("pkcs11:object=key;id=%00%01").public_key) == spki(key)


def test_several_tokens_ask_for_more(open_signer: Open, softhsm: SoftHsm, token: str) -> None:
    softhsm.make_token("tsa")
    assert "several tokens have label 'tsa'" in refused(open_signer)


def test_missing_pin_says_so(open_signer: Open, key: PublicKey) -> None:
    assert "is a PIN set?" in refused(open_signer, pin=None)


@pytest.mark.parametrize("module", ["/nonexistent/p11.so", "/etc/hostname", None])
def test_wrong_module_is_refused(open_signer: Open, key: PublicKey, module: str | None) -> None:
    assert "PKCS#11 module" in refused(open_signer, module=module)


def test_library_that_is_no_module_is_refused(open_signer: Open, tmp_path: Path) -> None:
    import _ctypes

    assert "not a PKCS#11 module" in refused(open_signer, module=_ctypes.__file__)


def test_pin_given_twice_is_refused(open_signer: Open, key: PublicKey) -> None:
    assert "give it once" in refused(open_signer, f"pkcs11:?pin-value={PIN}")


def test_digest_and_padding_that_contradict_the_key_are_refused(open_signer: Open, key: PublicKey) -> None:
    assert "RSA-PSS was asked for" in refused(open_signer, rsa_pss=True)


# -- the PIN --------------------------------------------------------------------------------------------------------


def test_wrong_pin_is_tried_once_and_shown_never(
    open_signer: Open, softhsm: SoftHsm, key: PublicKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert refused(open_signer, pin=WRONG_PIN) == "signer.pkcs11.pin: token 'tsa' refused the PIN: CKR_PIN_INCORRECT"
    assert WRONG_PIN not in caplog.text


def test_pin_changed_under_a_running_signer_is_tried_once(
    open_signer: Open, softhsm: SoftHsm, key: PublicKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer: Any = open_signer()
    from pydantic import SecretStr

    from tsa_signer_pkcs11.module import Module

    tried: list[str] = []
    log_in = Module._log_in

    def count(self: Module, token: Any, pin: SecretStr) -> Any:
        if (token.slot.slot_id, pin) not in self._refused:
            tried.append(pin.get_secret_value())
        return log_in(self, token, pin)

    monkeypatch.setattr(Module, "_log_in", count)
    softhsm.kill()
    with pytest.raises(SignerUnavailable):
        signer.sign(MESSAGE, timeout=2)
    softhsm.start()
    signer._pin = SecretStr(WRONG_PIN)
    deadline = time.monotonic() + 60
    texts: set[str] = set()
    while len(texts) < 2 and time.monotonic() < deadline:
        with pytest.raises(SignerError) as caught:
            signer.sign(MESSAGE, timeout=2)
        if "PIN" in str(caught.value):
            texts.add(str(caught.value))
    assert tried == [WRONG_PIN]
    assert any("not tried again" in text for text in texts)


def test_pin_in_the_uri_works_warns_and_stays_hidden(
    open_signer: Open, softhsm: SoftHsm, key: PublicKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    uri = f"pkcs11:object=key?pin-value={PIN}&module-path={softhsm.module}"
    signer = open_signer(uri, module=None, pin=None)
    assert signs(signer)
    assert "pin-value" in caplog.text
    options = Pkcs11Options(uri=uri)
    assert PIN not in caplog.text + repr(options) + repr(signer) + str(signer.details())


def test_pin_from_a_file(open_signer: Open, softhsm: SoftHsm, key: PublicKey, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(f"{PIN}\n")
    assert signs(open_signer(f"pkcs11:object=key?pin-source=file:{tmp_path}/pin", pin=None))


def test_key_that_wants_the_pin_each_time_gets_it(open_signer: Open, softhsm: SoftHsm, token: str) -> None:
    softhsm.in_token("generate-always-authenticate", token, "key")
    signer = open_signer()
    assert all(signs(signer) for _ in range(3))


# -- threads and processes ------------------------------------------------------------------------------------------


def test_hundreds_of_signatures_on_many_threads(open_signer: Open, key: PublicKey) -> None:
    """Without CKF_OS_LOCKING_OK this ends in a segmentation fault."""
    signer = open_signer(sessions=16)

    def sign(number: int) -> bool:
        message = b"%d" % number
        return signer.algorithm.is_valid(signer.public_key, signer.sign(message, timeout=30), message)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(sign, range(800)))


def test_wait_for_a_session_is_bounded(open_signer: Open, key: PublicKey) -> None:
    signer: Any = open_signer(sessions=1)
    held = signer._pool.take(1)
    with ends_within(0.2), pytest.raises(SignerUnavailable, match=r"all 1 sessions .* were busy for 0.2 s"):
        signer.sign(MESSAGE, timeout=0.2)
    signer._pool.give(held)
    assert signs(signer)


def test_reset_waits_for_calls_in_progress_and_gives_up_in_time(open_signer: Open, key: PublicKey) -> None:
    signer: Any = open_signer()
    module = signer._module
    inside, leave = threading.Event(), threading.Event()

    def hang() -> None:
        with module.call(time.monotonic() + 60):
            inside.set()
            leave.wait(120)

    thread = threading.Thread(target=hang)
    thread.start()
    assert inside.wait(60)
    with module.call(time.monotonic() + 60) as generation:
        pass
    with pytest.raises(SignerUnavailable, match="has not returned; its device hangs"):
        module.reset(generation, time.monotonic() + 0.2)
    assert signs(signer)
    leave.set()
    thread.join()
    module.reset(generation, time.monotonic() + 60)
    assert signs(signer)


def test_the_pause_after_a_reset_ends_with_the_last_signer(open_signer: Open, key: PublicKey) -> None:
    signer: Any = open_signer()
    module = signer._module
    with module.call(time.monotonic() + 60) as generation:
        pass
    module._next_reset = time.monotonic() + 600
    with pytest.raises(SignerUnavailable, match="a moment ago"):
        module.reset(generation, time.monotonic() + 60)
    signer.close()
    again: Any = open_signer()
    assert again._module is module
    with module.call(time.monotonic() + 60) as generation:
        pass
    module.reset(generation, time.monotonic() + 60)
    assert signs(again)


def _sign_in_child(signer: Signer, answer: Any) -> None:
    try:
        signer.sign(MESSAGE, timeout=2)
    except SignerError as error:
        answer.put(str(error))
    else:
        answer.put("signed")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 warns of what is tested here
def test_forked_process_refuses_to_use_its_parents_module(open_signer: Open, key: PublicKey) -> None:
    signer = open_signer()
    context = multiprocessing.get_context("fork")
    answer: Any = context.Queue()
    child = context.Process(target=_sign_in_child, args=(signer, answer))
    child.start()
    text = answer.get(timeout=30)
    child.join(30)
    assert "before this process was forked" in text
    assert signs(signer)


def test_closed_signer_says_so(open_signer: Open, key: PublicKey) -> None:
    signer = open_signer()
    signer.close()
    with pytest.raises(SignerError, match="is closed"):
        signer.sign(MESSAGE, timeout=1)


# -- settings -------------------------------------------------------------------------------------------------------


def test_latency_is_a_setting(open_signer: Open, key: PublicKey) -> None:
    assert open_signer().latency == "remote"
    assert open_signer(latency="local").latency == "local"


def test_details_name_key_token_module_and_mechanism(open_signer: Open, softhsm: SoftHsm, key: PublicKey) -> None:
    details = open_signer().details()
    assert details["key"] == "EC secp256r1, 'key'"
    assert details["version"].startswith("id 0001")
    assert details["token"].startswith("'tsa', serial ")
    assert str(softhsm.module) in details["module"]
    assert details["mechanism"] == "CKM_ECDSA"
