"""Signs with a key in AWS KMS.

Permissions: the IAM actions kms:GetPublicKey and kms:Sign on the key. Authentication: AWS's own chain of environment,
configuration files, web identity and the machine's role; this plugin takes no credential. What leaves the machine:
the digest of the token's signed attributes, or the attributes themselves for Ed25519 and ML-DSA; they hold the time
and a digest of the TSTInfo, nothing of the document. Every signature costs one HTTPS request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tsa_core.api import (
    ConfigError,
    KeySigner,
    PublicKey,
    SignatureAlgorithm,
    SignerError,
    UnsupportedKey,
    describe_key,
    signature_algorithm,
)
from tsa_signer_awskms.connection import KmsConnection, check_endpoint
from tsa_signer_awskms.options import AwsKmsOptions

_URI: Final = re.compile(r"awskms://(?P<endpoint>[^/\s]*)/(?P<key>[A-Za-z0-9:/_.+=,@-]+)")
_ALIAS: Final = re.compile(r"(?:^|:)alias/")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):\d+:(?:key|alias)/.+")
_SIGNING_SPECS: Final = (
    "ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, RSA_2048, RSA_3072, RSA_4096 or ECC_NIST_EDWARDS25519"
)
_HINTS: Final = {"UnsupportedOperationException": "the key is symmetric; create one with key usage SIGN_VERIFY"}


class AwsKmsSigner(KeySigner):
    """Signs with one KMS key, named by the ARN that it had at start: moving an alias changes nothing."""

    def __init__(
        self, connection: KmsConnection, *, arn: str, spec: str, public_key: PublicKey, algorithm: SignatureAlgorithm
    ) -> None:
        super().__init__(public_key, algorithm)
        self._connection = connection
        self._arn = arn
        self._spec = spec
        self._kms_algorithm, self._message_type = _kms_algorithm(algorithm)

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature; an answer in the name of another key or algorithm is refused."""
        digested = self._message_type == "DIGEST"
        answer = self._connection.call(
            "sign",
            self._arn,
            timeout=timeout,
            hints=_HINTS,
            Message=self._algorithm.digest.digest(message) if digested else message,
            MessageType=self._message_type,
            SigningAlgorithm=self._kms_algorithm,
        )
        used = (answer.get("KeyId"), answer.get("SigningAlgorithm"))
        if used != (self._arn, self._kms_algorithm):
            raise SignerError(f"AWS kms:Sign with {self._arn} {self._kms_algorithm}: {used[0]} {used[1]} answered")
        signature = answer.get("Signature")
        if not isinstance(signature, bytes) or not signature:
            raise SignerError(f"AWS kms:Sign with {self._arn}: the answer holds no signature")
        return signature

    def details(self) -> Mapping[str, str]:
        """Return the key's ARN and kind; a KMS key that signs has one version only."""
        return {
            "key": f"{self._arn}, {describe_key(self._public_key)} ({self._spec})",
            "version": "the only one: KMS keys that sign do not rotate",
        }

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"<AwsKmsSigner {self._arn}>"


def _kms_algorithm(algorithm: SignatureAlgorithm) -> tuple[str, str]:
    """Return KMS's names of the algorithm and of what it is to be given."""
    sha = f"SHA_{8 * algorithm.digest.digest_size}"
    match algorithm.scheme:
        case "rsa-pkcs1v15":
            return f"RSASSA_PKCS1_V1_5_{sha}", "DIGEST"
        case "rsa-pss":
            return f"RSASSA_PSS_{sha}", "DIGEST"
        case "ecdsa":
            return f"ECDSA_{sha}", "DIGEST"
        case "ed25519":
            # With a digest KMS would make Ed25519ph, which CMS does not know (RFC 8419).
            return "ED25519_SHA_512", "RAW"
        case _:
            return "ML_DSA_SHAKE_256", "RAW"


def open_aws_kms_signer(options: AwsKmsOptions) -> AwsKmsSigner:
    """Return the signer for the key that the URI names now.

    Raises ConfigError for settings and keys that cannot be used, SignerUnavailable when KMS cannot be reached,
    SignerError when it refuses.
    """
    connection, key = connect(options)
    try:
        return _open_key(connection, key, options)
    except BaseException:
        connection.close()
        raise


def connect(options: AwsKmsOptions) -> tuple[KmsConnection, str]:
    """Return a connection and the key that the URI names; raises ConfigError."""
    key, endpoint_url, region = _read_uri(options)
    connection = KmsConnection(
        region=region,
        profile=options.aws_profile,
        endpoint_url=endpoint_url,
        connections=options.connections,
        attempts=options.attempts,
        setting=_setting,
    )
    return connection, key


def _setting(name: str) -> str:
    """Return the full name of a setting, for messages."""
    return f"signer.awskms.{'aws_profile' if name == 'profile' else name}"


def _read_uri(options: AwsKmsOptions) -> tuple[str, str | None, str | None]:
    """Return key, endpoint and region as far as they are known."""
    parts = _URI.fullmatch(options.uri)
    if parts is None:
        raise ConfigError(
            f"{options.uri!r} is not a key URI of AWS KMS; write awskms:///KEY with a key id, ARN or alias/NAME, "
            "awskms://HOST/KEY for another endpoint"
        )
    endpoint_url = options.endpoint_url or (f"https://{parts['endpoint']}" if parts["endpoint"] else None)
    if endpoint_url:
        check_endpoint(endpoint_url, _setting("endpoint_url"), "a session token crosses")
    region = options.region
    if arn := _ARN.fullmatch(parts["key"]):
        if region and region != arn["region"]:
            raise ConfigError(
                f"the key {parts['key']} is in the region {arn['region']}, the setting says {region}",
                path=_setting("region"),
            )
        region = arn["region"]
    # botocore knows AWS_DEFAULT_REGION and the profile's region, but not the variable that all other SDKs read.
    return parts["key"], endpoint_url, region or os.environ.get("AWS_REGION")


def _open_key(connection: KmsConnection, key: str, options: AwsKmsOptions) -> AwsKmsSigner:
    answer = connection.call("get_public_key", key, timeout=options.start_timeout.total_seconds(), hints=_HINTS)
    arn, spec = str(answer.get("KeyId")), str(answer.get("KeySpec"))
    if answer.get("KeyUsage") != "SIGN_VERIFY":
        raise ConfigError(
            f"the key {arn} ({spec}) is for {answer.get('KeyUsage')}; create one with key usage SIGN_VERIFY "
            f"and key spec {_SIGNING_SPECS}"
        )
    public_key = _load_public_key(answer, arn, spec)
    try:
        algorithm = signature_algorithm(public_key, digest=options.signature_digest, pss=options.rsa_pss)
    except UnsupportedKey as error:
        raise ConfigError(f"the key {arn} ({spec}): {error}") from None
    if not options.is_certified(public_key) and _ALIAS.search(key):
        raise ConfigError(
            f"{key} names {arn} now, whose key ({describe_key(public_key)}) is not the one that the certificate "
            "certifies; give the ARN of the key that it certifies, which an alias may have left, or this key's chain"
        )
    offered = answer.get("SigningAlgorithms") or []
    if _kms_algorithm(algorithm)[0] not in offered:
        raise ConfigError(
            f"the key {arn} ({spec}) cannot sign with {algorithm.name}; KMS offers for it: "
            f"{', '.join(offered)} (signer_hash and rsa_pss choose)"
        )
    return AwsKmsSigner(connection, arn=arn, spec=spec, public_key=public_key, algorithm=algorithm)


def _load_public_key(answer: Mapping[str, Any], arn: str, spec: str) -> PublicKey:
    try:
        public_key = load_der_public_key(answer["PublicKey"])
    except (KeyError, ValueError, UnsupportedAlgorithm):
        public_key = None
    if not isinstance(public_key, PublicKey):
        raise ConfigError(f"the key {arn} is of the kind {spec}, which cannot sign timestamps; use {_SIGNING_SPECS}")
    return public_key
