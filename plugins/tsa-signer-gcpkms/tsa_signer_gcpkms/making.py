"""Makes a key in Google Cloud KMS, and waits until its first version can sign."""

from __future__ import annotations

import re
from typing import Any, Final

from google.cloud import kms

from tsa_core.api import ConfigError, SignerError, SignerUnavailable
from tsa_signer_gcpkms.connection import KmsConnection
from tsa_signer_gcpkms.options import GcpKmsOptions
from tsa_signer_gcpkms.signer import fixed_by_the_key

_URI: Final = re.compile(
    r"gcpkms://(?P<ring>projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+)/cryptoKeys/(?P<key>[A-Za-z0-9_-]{1,63})"
)
_RSA_BITS: Final = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
_ALGORITHMS: Final = {
    "ecdsa-p256": "EC_SIGN_P256_SHA256",
    "ecdsa-p384": "EC_SIGN_P384_SHA384",
    "ed25519": "EC_SIGN_ED25519",
    "ml-dsa-44": "PQ_SIGN_ML_DSA_44",
    "ml-dsa-65": "PQ_SIGN_ML_DSA_65",
    "ml-dsa-87": "PQ_SIGN_ML_DSA_87",
}
_GENERATION_SECONDS: Final = 120.0
"""Google answers before there is a private key; a module takes up to a minute for a long RSA key."""


def make_key(options: GcpKmsOptions, kind: str) -> str:
    """Make a key for signing with one version, in the module that `new_keys` says; return its URI.

    The identity needs cloudkms.cryptoKeys.create on the key ring and cloudkms.cryptoKeyVersions.get. Raises ConfigError
    for a kind that Google does not have, a URI that cannot name a new key and a name that is taken, SignerUnavailable
    when KMS cannot be reached or the version is not ready in time, SignerError when Google refuses.
    """
    algorithm = _algorithm(options, kind)
    parts = _URI.fullmatch(options.uri)
    if parts is None:
        raise ConfigError(
            "this key URI cannot name a new key; write gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/"
            "cryptoKeys/KEY, without a version: KEY has letters, digits, _ and -, 63 at most"
        )
    connection = KmsConnection(options, attempts=options.attempts, setting="signer.gcpkms.{}".format)
    try:
        _create(connection, parts["ring"], parts["key"], algorithm, options)
        _wait(connection, f"{parts['ring']}/cryptoKeys/{parts['key']}/cryptoKeyVersions/1")
    finally:
        connection.close()
    return options.uri


def _algorithm(options: GcpKmsOptions, kind: str) -> str:
    """Return Google's name of a kind, with the digest and padding that the profile of the key wants."""
    name = _ALGORITHMS.get(kind)
    if kind in _RSA_BITS:
        digest = "SHA512" if kind == "rsa-4096" and options.signature_digest == "sha512" else "SHA256"
        name = f"RSA_SIGN_{'PSS' if options.rsa_pss else 'PKCS1'}_{_RSA_BITS[kind]}_{digest}"
    if name is None:
        raise ConfigError(f"Google KMS has no keys of the kind {kind}; choose {', '.join([*_ALGORITHMS, *_RSA_BITS])}")
    digest, pss = fixed_by_the_key(name, kind)
    if options.signature_digest not in {None, digest} or options.rsa_pss != pss:
        raise ConfigError(
            f"a key {name} would not fit the profile that names it: signer_hash or rsa_pss say otherwise; "
            "choose another kind, or leave them out"
        )
    return name


def _create(connection: KmsConnection, ring: str, key: str, algorithm: str, options: GcpKmsOptions) -> None:
    level = kms.ProtectionLevel.HSM if options.new_keys == "hsm" else kms.ProtectionLevel.SOFTWARE
    template = {"algorithm": algorithm, "protection_level": level}
    request: dict[str, Any] = {
        "parent": ring,
        "crypto_key_id": key,
        "crypto_key": {"purpose": kms.CryptoKey.CryptoKeyPurpose.ASYMMETRIC_SIGN, "version_template": template},
    }
    try:
        connection.call(
            "create_crypto_key",
            ring,
            "cloudkms.cryptoKeys.create",
            timeout=options.start_timeout.total_seconds(),
            request=request,
            attempts=1,  # what has no answer may have been done
            invalid='has the location such keys in modules? Else: new_keys = "software"',
        )
    except SignerError as error:
        if "AlreadyExists" not in str(error):
            raise
        raise ConfigError(
            f"there is a key {key} in {ring} already; name a new one, or leave --make away if you made it just now"
        ) from None


def _wait(connection: KmsConnection, version: str) -> None:
    """Return when the version can sign."""
    states = kms.CryptoKeyVersion.CryptoKeyVersionState
    made = f"the key was made, but {version}"

    def check(answer: Any) -> None:
        if answer.state == states.PENDING_GENERATION:
            raise SignerUnavailable(f"{made} is not ready yet; hold the ceremony without --make when it is")
        if answer.state != states.ENABLED:
            why = f": {answer.generation_failure_reason}" if answer.generation_failure_reason else ""
            raise SignerError(f"{made} is {answer.state.name}{why}")

    try:
        connection.call(
            "get_crypto_key_version",
            version,
            "cloudkms.cryptoKeyVersions.get",
            timeout=_GENERATION_SECONDS,
            request={"name": version},
            check=check,
        )
    except SignerError as error:
        text = str(error)
        raise SignerError(text if text.startswith(made) else f"{made} cannot be looked at: {text}") from None
