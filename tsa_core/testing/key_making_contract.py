"""KeyMakingContract: what the core demands of a signer that makes keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from tsa_core.api import KEY_KINDS, ConfigError, Provider, Signer, describe_key, new_key
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.raising import raised


class KeyMakingContract(PluginFixtures):
    """Subclass it as TestKeyMaking; override `plugin`, `new_uri`, and `options` where the signer needs settings."""

    kind = "signer"
    kinds: ClassVar[tuple[str, ...]] = ("ecdsa-p256",)
    """Kinds of KEY_KINDS that the backend of the test makes; each costs a key."""

    @pytest.fixture
    def new_uri(self) -> str:
        """Return a key URI that names nothing yet, another one for each test; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `new_uri`", pytrace=False)

    @pytest.fixture
    def fixed_options(self, new_uri: str) -> Mapping[str, Any]:
        """Return what the core fills in."""
        return {"uri": new_uri}

    def make(self, provider: Provider[Signer], options: Mapping[str, Any], uri: str, kind: str) -> str:
        """Return the URI of the key that the provider has made."""
        assert provider.make_key is not None, "the provider has no make_key"
        return provider.make_key(provider.options.model_validate({**options, "uri": uri}), kind)

    def test_the_key_that_was_made_signs(
        self, provider: Provider[Signer], options: Mapping[str, Any], new_uri: str
    ) -> None:
        for number, kind in enumerate(self.kinds):
            uri = self.make(provider, options, f"{new_uri}{number or ''}", kind)
            signer: Signer = self.open(provider, {**options, "uri": uri})
            try:
                wanted = describe_key(new_key(kind).public_key())
                assert describe_key(signer.public_key) == wanted, f"{kind} was asked for"
                signature = signer.sign(b"made", timeout=10)
                assert signer.algorithm.is_valid(signer.public_key, signature, b"made")
            finally:
                signer.close()

    def test_a_key_that_is_there_is_left_alone(
        self, provider: Provider[Signer], options: Mapping[str, Any], new_uri: str
    ) -> None:
        uri = self.make(provider, options, new_uri, self.kinds[0])
        before: Signer = self.open(provider, {**options, "uri": uri})
        before.close()
        raised(
            ConfigError,
            lambda: self.make(provider, options, new_uri, self.kinds[0]),
            doing="making a key whose name is taken",
            remedy="look whether it is there before anything is made",
        )
        after: Signer = self.open(provider, {**options, "uri": uri})
        after.close()
        assert after.public_key == before.public_key, "the key was replaced"

    def test_another_kind_is_refused_before_anything_is_made(
        self, provider: Provider[Signer], options: Mapping[str, Any], new_uri: str
    ) -> None:
        raised(
            ConfigError,
            lambda: self.make(provider, options, new_uri, "dsa-1024"),
            doing="making a key of a kind that nobody has",
            remedy=f"look whether the kind is one of yours; the core asks for those of KEY_KINDS: {list(KEY_KINDS)}",
        )
        self.make(provider, options, new_uri, self.kinds[0])
