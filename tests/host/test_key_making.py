"""A signer's plugin makes a key: whatever it does, the command ends with one error that says what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tsa_core.api import NoOptions, PluginCrash, PluginError, Provider, Signer, SignerUnavailable
from tsa_core.host.key_making import key_made_by
from tsa_core.testing import FakeSigner, ends_within


def made_by(make: Callable[..., Any], *, seconds: float = 60.0) -> str:
    provider: Provider[Signer] = Provider(name="odd", summary="", options=NoOptions, open=FakeSigner, make_key=make)
    return key_made_by(provider, NoOptions(), "ecdsa-p256", None, seconds=seconds)


def raising(error: BaseException) -> Callable[..., str]:
    def make(_options: object, _kind: str) -> str:
        raise error

    return make


def test_a_backend_that_hangs_is_given_up_and_nobody_says_that_there_is_no_key() -> None:
    ended = threading.Event()

    def hang(_options: object, _kind: str) -> str:
        ended.wait(60)
        return "odd:key"

    try:
        with (
            ends_within(50),
            pytest.raises(PluginError, match=r"within 0\.05 s.*Whether there is a key now is unknown"),
        ):
            made_by(hang, seconds=0.05)
    finally:
        ended.set()


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3)])
def test_a_crash_is_told_with_the_plugins_name(error: BaseException) -> None:
    with pytest.raises(PluginCrash, match="the signer 'odd' crashed while it made a key"):
        made_by(raising(error))


def test_what_the_plugin_says_itself_is_passed_on() -> None:
    with pytest.raises(SignerUnavailable, match=r"^the backend is away$"):
        made_by(raising(SignerUnavailable("the backend is away")))


def test_what_is_no_uri_is_the_plugins_mistake() -> None:
    with pytest.raises(PluginError, match="not a URI; this is a mistake in the plugin"):
        made_by(lambda _options, _kind: None)
