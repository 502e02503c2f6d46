"""Makes a key in AWS KMS, and the alias that names it."""

from __future__ import annotations

from typing import Final

from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_signer_awskms.options import AwsKmsOptions
from tsa_signer_awskms.signer import connect

_SPECS: Final = {
    "ecdsa-p256": "ECC_NIST_P256",
    "ecdsa-p384": "ECC_NIST_P384",
    "ecdsa-p521": "ECC_NIST_P521",
    "rsa-2048": "RSA_2048",
    "rsa-3072": "RSA_3072",
    "rsa-4096": "RSA_4096",
    "ed25519": "ECC_NIST_EDWARDS25519",
    "ml-dsa-44": "ML_DSA_44",
    "ml-dsa-65": "ML_DSA_65",
    "ml-dsa-87": "ML_DSA_87",
}
_DESCRIPTION: Final = "Signs RFC 3161 timestamps"


def make_key(options: AwsKmsOptions, kind: str) -> str:
    """Make a key for signing and give it the alias of the URI; return the URI.

    The identity needs kms:CreateKey, kms:CreateAlias and kms:GetPublicKey. Raises ConfigError for a kind that KMS does
    not have, a URI that names no alias and an alias that is taken, SignerUnavailable when KMS cannot be reached,
    SignerError when it refuses.
    """
    if kind not in _SPECS:
        raise ConfigError(f"KMS has no keys of the kind {kind}; choose among {', '.join(_SPECS)}")
    connection, alias = connect(options)
    timeout = options.start_timeout.total_seconds()
    try:
        if not alias.startswith("alias/"):
            raise ConfigError("KMS chooses the id of a new key; name it by an alias, awskms:///alias/NAME")
        try:
            connection.call("get_public_key", alias, timeout=timeout, hints={})
        except SignerUnavailable:
            raise
        except SignerError as error:
            if "NotFoundException" not in str(error):
                raise
        else:
            raise ConfigError(f"{alias} names a key already; name a new one")
        made = connection.create(
            "create_key",
            timeout=timeout,
            KeySpec=_SPECS[kind],
            KeyUsage="SIGN_VERIFY",
            Description=_DESCRIPTION,
        )
        key = str(made["KeyMetadata"]["KeyId"])
        try:
            connection.create("create_alias", timeout=timeout, AliasName=alias, TargetKeyId=key)
        except SignerError as error:
            raise type(error)(f"{error}; the key {key} was made, and has no alias") from None
    finally:
        connection.close()
    return options.uri
