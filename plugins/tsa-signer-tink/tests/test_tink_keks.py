"""KEKs behind Tink: what our side and Tink's own integrations encrypt, and how a KEK is named and reached."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tsa_backends.ministack import SECRET_KEY
from tsa_backends.openbao import ROOT_TOKEN
from tsa_backends.tink_keks import Kek
from tsa_core.api import WRONG_KEK, ConfigError, PluginError, SignerError, SignerUnavailable
from tsa_core.host import KEK, InstalledPlugin, PluginHost
from tsa_core.testing import ends_within
from tsa_signer_tink.kek import KekAead, open_kek_aead
from tsa_signer_tink.options import TinkOptions

PLAINTEXT = b"\x08\x01 as long as a keyset" * 20
TOKEN = "hvs.CAESIJ-a-token-to-search-for"
ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def kek_of(uri: str, **settings: Any) -> KekAead:
    return open_kek_aead(TinkOptions.model_validate({"key_resource": uri, **settings}), PluginHost().open_kek)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


# -- what all three do ------------------------------------------------------------------------------------------------


def test_what_one_side_encrypts_the_other_decrypts(kek: Kek) -> None:
    ours, tinks = kek_of(kek.uri, **kek.settings), kek.aead()
    sealed = ours.encrypt(PLAINTEXT, b"")
    assert PLAINTEXT not in sealed
    assert ours.decrypt(sealed, b"") == tinks.decrypt(sealed, b"") == PLAINTEXT
    assert ours.decrypt(tinks.encrypt(PLAINTEXT, b""), b"") == PLAINTEXT
    ours.close()
    ours.close()


def test_associated_data_are_refused_rather_than_left_out(kek: Kek) -> None:
    """Whoever passes some would believe that the ciphertext is bound to them."""
    opened = kek_of(kek.uri, **kek.settings)
    sealed = opened.encrypt(PLAINTEXT, b"")
    with pytest.raises(SignerError, match="without associated data"):
        opened.encrypt(PLAINTEXT, b"bound")
    with pytest.raises(SignerError, match="without associated data"):
        opened.decrypt(sealed, b"bound")
    opened.close()


def test_another_key_of_the_same_kms_is_refused(kek: Kek) -> None:
    sealed = kek.aead().encrypt(PLAINTEXT, b"")
    other = kek_of(kek.other_uri, **kek.settings)
    if kek.uri.startswith("aws-kms:"):
        # ministack gives noise where AWS says IncorrectKeyException.
        assert other.decrypt(sealed, b"") != PLAINTEXT
    else:
        with pytest.raises(SignerError, match=re.escape(WRONG_KEK)) as caught:
            other.decrypt(sealed, b"")
        assert not isinstance(caught.value, SignerUnavailable)
    other.close()


def test_key_that_is_not_there_is_named(kek: Kek) -> None:
    absent, sealed = kek_of(f"{kek.uri[:-4]}zzzz", **kek.settings), kek.aead().encrypt(PLAINTEXT, b"")
    with pytest.raises(SignerError, match=r"not found") as caught:
        # ministack looks into the ciphertext for a key that it knows, Vault makes a key that it is to encrypt with.
        _ = absent.encrypt(PLAINTEXT, b"") if "aws" in kek.uri else absent.decrypt(sealed, b"")
    assert "zzzz" in str(caught.value)
    assert "\n" not in str(caught.value)
    absent.close()


@pytest.mark.parametrize("server", ["vault", "aws", "gcp"])
def test_kms_that_is_silent_or_gone_is_unavailable_in_time(server: str, silent_port: int) -> None:
    uri = {
        "vault": "hcvault:///transit/keys/tsa",
        "aws": f"aws-kms://{ARN}",
        "gcp": "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
    }[server]
    for port in (silent_port, 1):
        settings = {
            "hcvault_address": f"http://127.0.0.1:{port}",
            "hcvault_token": TOKEN,
            "aws_endpoint_url": f"http://127.0.0.1:{port}",
            "gcp_endpoint": f"127.0.0.1:{port}",
            "gcp_plaintext": True,
            "start_timeout": "1s",
        }
        kek = kek_of(uri, **settings)
        with ends_within(1), pytest.raises(SignerUnavailable) as caught:
            kek.decrypt(b"vault:v1:AAAA", b"")
        assert "\n" not in str(caught.value)
        assert TOKEN not in str(caught.value)
        kek.close()


def test_nothing_that_was_decrypted_is_logged_even_at_debug(kek: Kek, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "google", "google.cloud.kms_v1", "google.api_core"):
        caplog.set_level(logging.DEBUG, logger=name)
    secret = b"private-scalar-5e1f0c" * 4
    opened = kek_of(kek.uri, **kek.settings)
    assert opened.decrypt(kek.aead().encrypt(secret, b""), b"") == secret
    opened.close()
    # In base64, hexadecimal or as it is; of whatever part.
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("tsa_backends")]
    assert not [line for line in ours if "cHJpdmF0ZS1zY2FsYXIt" in line or "private-scalar" in line]
    assert ROOT_TOKEN not in caplog.text
    assert SECRET_KEY not in caplog.text
    assert not [text for text in (repr(opened), str(vars(opened))) if ROOT_TOKEN in text]


# -- settings ---------------------------------------------------------------------------------------------------------


def test_key_that_is_not_named_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="key_resource: the key that decrypts the keyset is not named"):
        kek_of("")


@pytest.mark.parametrize(
    ("uri", "settings", "path"),
    [
        ("hcvault:///t/keys/k", {"hcvault_address": "no url", "hcvault_token": TOKEN}, "hcvault_address"),
        ("hcvault:///t/keys/k", {"hcvault_address": "https://v", "hcvault_token": "a b"}, "hcvault_token"),
        (
            "hcvault://v/t/keys/k",
            {"hcvault_namespace": "team", "hcvault_token": TOKEN, "hcvault_ca_file": "/none.pem"},
            "hcvault_ca_file",
        ),
        (f"aws-kms://{ARN}", {"aws_profile": "none"}, "aws_profile"),
        (f"aws-kms://{ARN}", {"aws_endpoint_url": "kms.example.org"}, "aws_endpoint_url"),
        (
            "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
            {"gcp_credentials_file": "/none.json"},
            "gcp_credentials_file",
        ),
        (
            "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
            {"gcp_endpoint": "kms.example.org:80", "gcp_plaintext": True},
            "gcp_plaintext",
        ),
        ("hcvault://v/nowhere", {"hcvault_token": TOKEN}, "key_resource"),
    ],
)
def test_every_setting_of_a_kms_in_the_signers_table_reaches_it(uri: str, settings: dict[str, Any], path: str) -> None:
    """And a message about one names it as it stands there."""
    with pytest.raises(ConfigError, match=rf"^signer\.tink\.{path}: ") as caught:
        kek_of(uri, **settings)
    assert TOKEN not in str(caught.value)


def test_every_old_name_is_a_setting_of_its_kek() -> None:
    host = PluginHost()
    for scheme, family in (("aws-kms", "aws_"), ("gcp-kms", "gcp_"), ("hcvault", "hcvault_")):
        names = {name.removeprefix(family) for name in TinkOptions.model_fields if name.startswith(family)}
        assert names
        assert names <= host.provider(KEK, scheme).options.model_fields.keys(), scheme


def test_settings_may_stand_in_a_table_of_their_own(kek: Kek) -> None:
    family = f"{kek.uri.partition('://')[0].partition('-')[0]}_"
    table = {name.removeprefix(family): value for name, value in kek.settings.items()}
    options = TinkOptions.model_validate({"key_resource": kek.uri, "kek": table})
    assert ROOT_TOKEN not in f"{options!r} {options.model_dump_json()}"
    opened = open_kek_aead(options, PluginHost().open_kek)
    assert opened.decrypt(kek.aead().encrypt(PLAINTEXT, b""), b"") == PLAINTEXT
    opened.close()


def test_unknown_setting_in_that_table_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting signer\.tink\.kek\.adress; did you mean 'address'\?"):
        kek_of("hcvault:///t/keys/k", kek={"adress": "https://v"})


def test_settings_in_both_places_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"with \[signer.tink.kek\] these settings go there, too: hcvault_token"):
        kek_of("hcvault:///t/keys/k", kek={"address": "https://v"}, hcvault_token=TOKEN)


# -- plugins ----------------------------------------------------------------------------------------------------------


def test_scheme_that_no_plugin_has_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(PluginError) as caught:
        kek_of("azure-kms://vault/key")
    text = str(caught.value)
    assert text.startswith("signer.tink.key_resource: no key encryption key 'azure-kms' is installed; ")
    assert "aws-kms, gcp-kms, hcvault" in text
    assert "pip" not in text


@pytest.mark.parametrize(
    ("uri", "name"),
    [("hcvault:///t/keys/k", "hashivault"), (f"aws-kms://{ARN}", "awskms"), ("gcp-kms://projects/p", "gcpkms")],
)
def test_known_scheme_without_its_plugin_is_refused_with_the_plugin_that_brings_it(uri: str, name: str) -> None:
    none: dict[str, list[InstalledPlugin]] = {}
    with pytest.raises(PluginError, match=rf"to add it: .*tsa-signer-{name}"):
        open_kek_aead(TinkOptions(key_resource=uri), PluginHost(none).open_kek)
