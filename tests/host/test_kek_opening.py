"""How the host hands one plugin's key encryption keys to another."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from pydantic import Field

from tsa_core.api import (
    ConfigError,
    KekOptions,
    KeyEncryptionKey,
    OpenKek,
    PluginCrash,
    PluginError,
    Provider,
    Signer,
    SignerOptions,
    hookimpl,
)
from tsa_core.host import CERTIFICATE_AUTHORITY, KEK, SIGNER, InstalledPlugin, PluginHost
from tsa_core.testing import FakeSigner


class XorOptions(KekOptions):
    octet: int = Field(7, description="what each octet is changed by")


class XorKek(KeyEncryptionKey):
    def __init__(self, octet: int) -> None:
        self.octet = octet

    def encrypt(self, plaintext: bytes, *, timeout: float) -> bytes:
        return bytes(octet ^ self.octet for octet in plaintext)

    def decrypt(self, ciphertext: bytes, *, timeout: float) -> bytes:
        return self.encrypt(ciphertext, timeout=timeout)


def open_xor(options: XorOptions) -> KeyEncryptionKey:
    if options.uri.endswith("/broken"):
        raise RuntimeError("the SDK is broken")
    if options.uri.endswith("/none"):
        raise ConfigError("no such key", path=options.uri_setting)
    if options.octet > 255:
        raise ConfigError("too large", path=options.setting("octet"))
    return XorKek(options.octet)


@hookimpl
def tsa_keks() -> Iterable[Provider[KeyEncryptionKey]]:
    yield Provider(name="xor-kms", summary="a KEK", options=XorOptions, open=open_xor)


@hookimpl
def tsa_signers() -> Iterable[Provider[Signer]]:
    def open_signer(options: SignerOptions, *, open_kek: OpenKek) -> Signer:
        names = {"uri_setting": "signer.vaulted.key", "settings_prefix": "signer.vaulted.kek."}
        kek = open_kek("xor-kms://key", {"octet": 1}, **names)
        assert kek.decrypt(b"jdx", timeout=1) == b"key"
        return FakeSigner()

    yield Provider(name="vaulted", summary="a signer", options=SignerOptions, open=open_signer, uses_keks=True)


@pytest.fixture
def host() -> Iterator[PluginHost]:
    modules: dict[str, dict[str, Any]] = {
        "fake_kms_plugin": {"tsa_keks": tsa_keks},
        "fake_vaulted_plugin": {"tsa_signers": tsa_signers},
    }
    for name, hooks in modules.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(hooks)
    kms = InstalledPlugin(
        name="xor-kms", module="fake_kms_plugin", distribution="tsa-signer-xor", version="1", hook="tsa_keks"
    )
    vaulted = InstalledPlugin(
        name="vaulted", module="fake_vaulted_plugin", distribution="tsa-signer-vaulted", version="1"
    )
    yield PluginHost({"xor-kms": [kms], "vaulted": [vaulted]})
    for name in modules:
        del sys.modules[name]


def open_kek(host: PluginHost, uri: str, settings: Mapping[str, Any], **more: str) -> KeyEncryptionKey:
    return host.open_kek(uri, settings, uri_setting="signer.s.key", settings_prefix="signer.s.kek.", **more)


def test_a_signer_that_uses_keks_is_opened_with_what_opens_them(host: PluginHost) -> None:
    assert isinstance(host.open(SIGNER, "vaulted", {}, fixed={"uri": "vaulted:"}), FakeSigner)


def test_the_scheme_selects_the_plugin_and_its_options_validate_the_settings(host: PluginHost) -> None:
    kek = open_kek(host, "xor-kms://key", {"octet": 3})
    assert isinstance(kek, XorKek)
    assert kek.octet == 3


@pytest.mark.parametrize(
    ("uri", "settings", "message"),
    [
        ("xor-kms://key", {"octett": 1}, "unknown setting signer.s.kek.octett; did you mean 'octet'?"),
        ("xor-kms://key", {"octet": "many"}, "signer.s.kek.octet: must be a whole number"),
        ("xor-kms://key", {"octet": 256}, "signer.s.kek.octet: too large"),
        ("xor-kms://key", {"uri": "xor-kms://other"}, "unknown setting signer.s.kek.uri; known here: octet"),
        ("xor-kms://none", {}, "signer.s.key: no such key"),
        ("arn:aws:kms", {}, "signer.s.key: the URI of a key begins with its KMS: SCHEME://"),
    ],
)
def test_messages_name_the_settings_where_they_stand(
    host: PluginHost, uri: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_kek(host, uri, settings)
    assert str(caught.value).startswith(message)


def test_a_scheme_that_nobody_has_is_named_with_what_there_is_and_how_to_get_it(host: PluginHost) -> None:
    with pytest.raises(PluginError) as caught:
        open_kek(host, "xor-kmz://key", {})
    assert str(caught.value) == (
        "signer.s.key: no key encryption key 'xor-kmz' is installed; did you mean 'xor-kms'? installed: xor-kms"
    )
    with pytest.raises(PluginError, match=r"to add it: pip install 'mine\[xor\]'$"):
        open_kek(host, "other://key", {}, install="pip install 'mine[xor]'")


def test_what_a_kek_raises_by_mistake_is_the_plugins_crash(host: PluginHost) -> None:
    with pytest.raises(PluginCrash, match=r"the key encryption key 'xor-kms' \(tsa-signer-xor 1\) could not be opened"):
        open_kek(host, "xor-kms://broken", {})


def test_the_hook_of_the_entry_point_tells_the_kind(host: PluginHost) -> None:
    kinds = {plugin.name: plugin.kind_by_name for plugin in host.installed()}
    assert kinds == {"xor-kms": KEK.name, "vaulted": SIGNER.name}


def test_a_plugin_in_a_distribution_of_another_name_is_found_by_what_the_caller_says(host: PluginHost) -> None:
    with pytest.raises(PluginError, match=r"to add it: pip install 'acme-xor\[ca\]'$"):
        host.open(CERTIFICATE_AUTHORITY, "xor", {}, install="pip install 'acme-xor[ca]'")
