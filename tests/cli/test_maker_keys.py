"""Key identifiers of the Certificate Maker become key URIs, as the reference makes them."""

from __future__ import annotations

import pytest

from tsa_core.cli.maker_keys import PROVIDER_FLAGS, key_file, key_uri
from tsa_core.host import SIGNER, PluginHost

ARN = "arn:aws:kms:eu-west-1:111122223333:key/1"


@pytest.mark.parametrize(
    ("kms_type", "key_id", "uri"),
    [
        ("awskms", "alias/root", "awskms:///alias/root"),
        ("awskms", ARN, f"awskms:///{ARN}"),
        ("gcpkms", "projects/p/locations/l/keyRings/r/cryptoKeys/k", "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k"),
        ("azurekms", "azurekms:name=root-key;vault=vault", "azurekms://vault.vault.azure.net/root-key"),
        (None, "azurekms:name=root-key;vault=vault", "azurekms://vault.vault.azure.net/root-key"),
        ("hashivault", "root-key", "hashivault://root-key"),
        ("openbao", "root-key", "openbao://root-key"),
        ("acme", "root-key", "acme://root-key"),
        ("file", "/etc/root.key", "file:/etc/root.key"),
        ("pkcs11", "token=t;object=o", "pkcs11:token=t;object=o"),
        (None, "pkcs11:token=t;object=o", "pkcs11:token=t;object=o"),
        ("hashivault", "file:root.key", "file:root.key"),
        ("hashivault", "awskms:///alias/root", "awskms:///alias/root"),
    ],
)  # fmt: skip
def test_key_identifiers_become_key_uris(kms_type: str | None, key_id: str, uri: str) -> None:
    assert key_uri(key_id, kms_type, option="--root-key-id") == uri


@pytest.mark.plugin("awskms", "azurekms", "gcpkms", "hashivault")
def test_flags_about_backends_are_settings_of_their_plugins() -> None:
    host = PluginHost()
    for schemes, setting in PROVIDER_FLAGS.values():
        for scheme in schemes:
            assert setting in host.provider(SIGNER, scheme).options.model_fields


def test_what_is_no_uri_names_no_file() -> None:
    """`file://[x`, of which urllib says that it is no IPv6 address, was a traceback of fetch-tsa-certs."""
    assert key_file("file:root.key") == "root.key"
    assert key_file("file://[x") is None
