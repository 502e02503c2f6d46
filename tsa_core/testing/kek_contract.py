"""KekContract: what a plugin that encrypts with a KMS relies on from every key encryption key."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from tsa_core.api import KeyEncryptionKey, Provider, SignerError, SignerUnavailable, TsaError
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.raising import raised
from tsa_core.testing.threads import on_threads
from tsa_core.testing.waiting import ends_within

PLAINTEXT_SIZES = (1, 32, 300, 4096)
"""Sizes of what is encrypted; 4096 bytes are what AWS KMS takes, and room for one key of any kind."""

_THREADS = 4
_MESSAGES = 16
_SECRET = b"private-scalar-5e1f0c" * 4


class KekContract(PluginFixtures):
    """Subclass it as TestKek; override `plugin`, `uri` and `unreachable_kek`, and `options` where it needs settings."""

    kind = "kek"
    tells_wrong_ciphertexts: ClassVar[bool] = True
    """Whether the backend refuses what it did not encrypt; False only for an emulator that does not."""
    timeout: ClassVar[float] = 10.0
    """Seconds for one call."""
    unreachable_timeout: ClassVar[float] = 1.0
    """Seconds that a call may take with the backend gone."""

    # -- what to override -----------------------------------------------------------------------------------------

    @pytest.fixture
    def uri(self) -> str:
        """Return the URI of a key that exists; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `uri`", pytrace=False)

    @pytest.fixture
    def fixed_options(self, uri: str) -> Mapping[str, Any]:
        """Return what the core fills in."""
        return {"uri": uri, "uri_setting": "signer.contract.key_resource", "settings_prefix": "signer.contract.kek."}

    @pytest.fixture
    def open_kek(
        self, provider: Provider[KeyEncryptionKey], options: Mapping[str, Any], fixed_options: Mapping[str, Any]
    ) -> Iterator[Callable[..., KeyEncryptionKey]]:
        """Return a function that opens the KEK through its provider; arguments go over settings and core's fields."""
        opened: list[KeyEncryptionKey] = []

        def open_one(**more: Any) -> KeyEncryptionKey:
            kek: KeyEncryptionKey = self.open(provider, {**options, **fixed_options, **more})
            opened.append(kek)
            return kek

        yield open_one
        for kek in opened:
            kek.close()

    @pytest.fixture
    def kek(self, open_kek: Callable[..., KeyEncryptionKey]) -> KeyEncryptionKey:
        """Return the opened KEK."""
        return open_kek()

    @pytest.fixture
    def unreachable_kek(self) -> KeyEncryptionKey:
        """Return a KEK whose backend does not answer; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `unreachable_kek`", pytrace=False)

    # -- what it does ---------------------------------------------------------------------------------------------

    def test_is_a_key_encryption_key(self, kek: KeyEncryptionKey) -> None:
        assert isinstance(kek, KeyEncryptionKey), "what `open` returns must extend tsa_core.api.KeyEncryptionKey"

    @pytest.mark.parametrize("size", PLAINTEXT_SIZES)
    def test_decrypts_what_it_encrypted(self, kek: KeyEncryptionKey, size: int) -> None:
        plaintext = _plaintext(size)
        sealed = kek.encrypt(plaintext, timeout=self.timeout)
        assert isinstance(sealed, bytes), f"encrypt returned {type(sealed).__name__}, not bytes"
        assert len(sealed) > size, "the ciphertext is not longer than the plaintext, so nothing authenticates it"
        assert size < 16 or plaintext not in sealed, "the ciphertext holds the plaintext"
        opened = kek.decrypt(sealed, timeout=self.timeout)
        assert isinstance(opened, bytes), f"decrypt returned {type(opened).__name__}, not bytes"
        assert opened == plaintext, "decrypt(encrypt(plaintext)) is something else"

    def test_opening_again_decrypts_what_is_on_the_disk(
        self, open_kek: Callable[..., KeyEncryptionKey], kek: KeyEncryptionKey
    ) -> None:
        sealed = kek.encrypt(_plaintext(300), timeout=self.timeout)
        kek.close()
        assert open_kek().decrypt(sealed, timeout=self.timeout) == _plaintext(300), "another key was found"

    def test_works_on_many_threads(self, kek: KeyEncryptionKey) -> None:
        plaintexts = [b"plaintext %d of many" % number for number in range(_MESSAGES)]
        opened = on_threads(
            lambda p: kek.decrypt(kek.encrypt(p, timeout=self.timeout), timeout=self.timeout),
            plaintexts,
            threads=_THREADS,
        )
        assert opened == plaintexts, f"on {_THREADS} threads at once, what was decrypted is not what was encrypted"

    @pytest.mark.parametrize("damage", ["first byte", "last byte", "cut", "empty", "not of this KMS"])
    def test_ciphertext_that_is_not_its_own_is_a_signer_error(self, kek: KeyEncryptionKey, damage: str) -> None:
        sealed = kek.encrypt(_plaintext(32), timeout=self.timeout)
        damaged = {
            "first byte": bytes((sealed[0] ^ 1,)) + sealed[1:],
            "last byte": sealed[:-1] + bytes((sealed[-1] ^ 1,)),
            "cut": sealed[: len(sealed) // 2],
            "empty": b"",
            "not of this KMS": b"\xff" * 64,
        }[damage]
        if not self.tells_wrong_ciphertexts:
            with suppress(SignerError):
                kek.decrypt(damaged, timeout=self.timeout)
            return
        error = raised(
            SignerError,
            lambda: kek.decrypt(damaged, timeout=self.timeout),
            doing=f"decrypting a ciphertext that is damaged ({damage})",
            remedy="catch the SDK's exceptions in decrypt()",
        )
        assert not isinstance(error, SignerUnavailable), "SignerUnavailable says that trying again may help: it cannot"

    # -- how it fails and ends ------------------------------------------------------------------------------------

    def test_uri_that_names_no_key_is_refused_when_it_is_opened(
        self, open_kek: Callable[..., KeyEncryptionKey], provider: Provider[KeyEncryptionKey]
    ) -> None:
        error = raised(
            TsaError,
            lambda: open_kek(uri=f"{provider.name}://"),
            doing="opening a KEK whose URI is the bare scheme",
            remedy="raise ConfigError with path=options.uri_setting",
        )
        assert str(error).startswith("signer.contract.key_resource: "), (
            f"the message {str(error)!r} does not name the setting that the URI stands in: path=options.uri_setting"
        )

    @pytest.mark.parametrize("operation", ["encrypt", "decrypt"])
    def test_unreachable_backend_is_signer_unavailable(
        self, kek: KeyEncryptionKey, unreachable_kek: KeyEncryptionKey, operation: str, secrets: list[str]
    ) -> None:
        data = kek.encrypt(_SECRET, timeout=self.timeout) if operation == "decrypt" else _SECRET
        with ends_within(self.unreachable_timeout):
            error = raised(
                SignerUnavailable,
                lambda: getattr(unreachable_kek, operation)(data, timeout=self.unreachable_timeout),
                doing=f"{operation}() with the backend gone",
                remedy=f"catch the SDK's exceptions in {operation}()",
            )
        text = "".join(traceback.format_exception(error)) + repr(error)
        assert not any(secret in text for secret in secrets if secret), "a secret is in the error or in its causes"
        assert "\n" not in str(error), "the message has several lines, and a log line takes one"

    def test_nothing_that_is_decrypted_is_shown_or_logged(
        self, open_kek: Callable[..., KeyEncryptionKey], secrets: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        kek = open_kek()
        sealed = kek.encrypt(_SECRET, timeout=self.timeout)
        assert kek.decrypt(sealed, timeout=self.timeout) == _SECRET
        hidden = [*secrets, _SECRET[:20].decode(), _SECRET[:20].hex(), base64.b64encode(_SECRET)[:24].decode()]
        shown = {"repr": f"{kek!r} {kek}", "the log": caplog.text}
        leaks = [name for name, text in shown.items() for secret in hidden if secret and secret in text]
        assert not leaks, f"a secret is in {' and '.join(leaks)}; for an SDK's loggers there is tsa_core.api.keep_quiet"

    def test_close_twice(self, open_kek: Callable[..., KeyEncryptionKey]) -> None:
        kek = open_kek()
        kek.encrypt(b"before close", timeout=self.timeout)
        kek.close()
        kek.close()


def _plaintext(size: int) -> bytes:
    return bytes(number * 31 % 256 for number in range(size))
