"""Decrypts the keyset, once, and makes a signer of its primary key.

Permissions and authentication are those of the KMS that has the KEK: its plugin tells them. What
leaves the machine: at start the encrypted keyset, afterwards nothing. From then on the key is in the process's
memory, unprotected: whoever can read that memory has the key.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from tsa_core.api import (
    ConfigError,
    LocalKeySigner,
    OpenKek,
    UnsupportedKey,
    describe_key,
    resolve_path,
    signature_algorithm,
)
from tsa_signer_tink.keys import TinkKey, load_key
from tsa_signer_tink.keyset import read_primary_key
from tsa_signer_tink.options import TinkOptions

log = logging.getLogger(__name__)

_TEMPLATES: Final = {"secp256r1": "ECDSA_P256", "secp384r1": "ECDSA_P384_SHA384", "secp521r1": "ECDSA_P521"}


class TinkSigner(LocalKeySigner):
    """Signs with the primary key of a keyset; signatures carry no Tink prefix, which CMS does not know."""

    def __init__(self, key: TinkKey, *, digest: str | None, path: Path, kek: str, advice: str = "") -> None:
        super().__init__(key.private_key, digest=digest, rsa_pss=key.rsa_pss)
        self._details = {
            "key": f"{describe_key(self.public_key)}, key {key.key_id} of the keyset, in memory",
            "keyset": f"{path}, encrypted by {kek}" if kek else f"{path}, not encrypted",
            **({"template": advice} if advice else {}),
        }

    def details(self) -> Mapping[str, str]:
        """Return the key's kind, its id in the keyset, the keyset's file, what encrypts it, and a better template."""
        return self._details


def open_tink_signer(options: TinkOptions, open_kek: OpenKek) -> TinkSigner:
    """Return the signer.

    Raises ConfigError for a keyset, key or setting that cannot be used, PluginError when no plugin has the KEK's
    scheme, SignerUnavailable when the KMS cannot be reached, SignerError when it refuses.
    """
    path = _keyset_path(options)
    primary, kek = read_primary_key(path, options, open_kek)
    key = load_key(primary, str(path))
    _check_padding(key, options, path)
    advice = "" if options.signature_digest else better_template(key)
    if advice:
        log.warning("the keyset %s: %s; signer_hash chooses another digest", path, advice)
    try:
        return TinkSigner(key, digest=options.signature_digest or key.digest, path=path, kek=kek, advice=advice)
    except UnsupportedKey as error:
        raise ConfigError(str(error), path=str(path)) from None


def better_template(key: TinkKey) -> str:
    """Return a line that names the template whose digest is the curve's; empty when the key's own digest is."""
    public_key = key.private_key.public_key()
    if not isinstance(public_key, EllipticCurvePublicKey) or public_key.curve.name not in _TEMPLATES:
        return ""
    usual = signature_algorithm(public_key).digest.name
    if key.digest == usual:
        return ""
    return (
        f"its template signs with {key.digest}, and clients expect {usual} with this curve; make the next one with "
        f"the template {_TEMPLATES[public_key.curve.name]}"
    )


def _keyset_path(options: TinkOptions) -> Path:
    """Return the path in `tink:keyset.cfg`, `tink:/etc/tsa/keyset.cfg` or `tink:///etc/tsa/...`, else `keyset_path`."""
    parts = urlsplit(options.uri)
    if parts.netloc not in {"", "localhost"}:
        raise ConfigError(
            f"{options.uri!r} names the host {parts.netloc!r}; write tink:{parts.netloc}{parts.path} for a "
            "relative path, tink:///PATH for an absolute one"
        )
    if parts.path:
        return resolve_path(Path(unquote(parts.path)))
    if options.keyset_path is not None:
        return options.keyset_path
    raise ConfigError(
        "there is no keyset; write the key URI as tink:PATH, or use --tink-keyset-path", path="signer.tink.keyset_path"
    )


def _check_padding(key: TinkKey, options: TinkOptions, path: Path) -> None:
    """Demand that key and profile agree: a Tink key is made for one padding."""
    if key.rsa_pss and not options.rsa_pss:
        raise ConfigError(
            "the keyset's primary key is for RSA-PSS; set rsa_pss = true if all clients can verify that, openssl ts "
            "cannot, or make a keyset with the template RSA_SSA_PKCS1_3072_SHA256_F4",
            path=str(path),
        )
    if options.rsa_pss and not key.rsa_pss:
        raise ConfigError(
            "the keyset's primary key is not for RSA-PSS, which rsa_pss asks for; make a keyset with the template "
            "RSA_SSA_PSS_3072_SHA256_SHA256_32_F4",
            path=str(path),
        )
