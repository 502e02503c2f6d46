"""Signs with a key in Google Cloud KMS.

Permissions: cloudkms.cryptoKeyVersions.viewPublicKey and cloudkms.cryptoKeyVersions.useToSign on the key, and
cloudkms.cryptoKeyVersions.list when the URI names no version. Authentication: Google's application default credentials
or a credentials file. What leaves the machine: the digest of the token's signed attributes, or the attributes
themselves for Ed25519 and ML-DSA; they hold the time and a digest of the TSTInfo, nothing of the document. Every
signature costs one gRPC call.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

import google_crc32c
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.cloud import kms

from tsa_core.api import (
    ConfigError,
    KeySigner,
    PublicKey,
    SignatureAlgorithm,
    SignerError,
    SignerUnavailable,
    UnsupportedKey,
    describe_key,
    signature_algorithm,
)
from tsa_signer_gcpkms.connection import KmsConnection
from tsa_signer_gcpkms.options import GcpKmsOptions

_URI: Final = re.compile(
    r"gcpkms://(?P<key>projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+)"
    r"(?:/(?:cryptoKeyVersions|versions)/(?P<version>[1-9][0-9]*))?"
)
_DIGESTED: Final = re.compile(r"(?:RSA_SIGN_(?P<padding>PKCS1|PSS)_\d+|EC_SIGN_P\d+)_(?P<digest>SHA(?:256|384|512))")
_ML_DSA: Final[dict[str, Any]] = {
    "PQ_SIGN_ML_DSA_44": mldsa.MLDSA44PublicKey,
    "PQ_SIGN_ML_DSA_65": mldsa.MLDSA65PublicKey,
    "PQ_SIGN_ML_DSA_87": mldsa.MLDSA87PublicKey,
}
_SIGNING: Final = "EC_SIGN_P256_SHA256, EC_SIGN_P384_SHA384, RSA_SIGN_PKCS1_3072_SHA256 or EC_SIGN_ED25519"
_VIEW: Final = "cloudkms.cryptoKeyVersions.viewPublicKey"
_USE: Final = "cloudkms.cryptoKeyVersions.useToSign"


class GcpKmsSigner(KeySigner):
    """Signs with one version of one KMS key, whatever becomes the newest later."""

    def __init__(
        self,
        connection: KmsConnection,
        *,
        version: str,
        kind: str,
        public_key: PublicKey,
        algorithm: SignatureAlgorithm,
    ) -> None:
        super().__init__(public_key, algorithm)
        self._connection = connection
        self._version = version
        self._kind = kind
        self._digested = algorithm.scheme in {"ecdsa", "rsa-pkcs1v15", "rsa-pss"}

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature; checksums in both directions and the version's name are verified."""
        request: dict[str, Any] = {"name": self._version}
        if self._digested:
            digest = self._algorithm.digest.digest(message)
            request |= {"digest": {self._algorithm.digest.name: digest}, "digest_crc32c": google_crc32c.value(digest)}
        else:
            request |= {"data": message, "data_crc32c": google_crc32c.value(message)}
        answer = self._connection.call(
            "asymmetric_sign",
            self._version,
            _USE,
            timeout=timeout,
            request=request,
            check=lambda answer: self._check(answer, message),
        )
        return bytes(answer.signature)

    def _check(self, answer: Any, message: bytes) -> None:
        """Refuse an answer of another version for good, a damaged one until the next try."""
        if answer.name != self._version:
            raise SignerError(f"Google KMS asymmetric_sign {self._version}: {answer.name!r} answered")
        received = answer.verified_digest_crc32c if self._digested else answer.verified_data_crc32c
        # Nothing to sum up is nothing that can be damaged, and KMS says false for it.
        if not received and (self._digested or message):
            raise SignerUnavailable(f"Google KMS asymmetric_sign {self._version}: the request arrived unverified")
        if answer.signature_crc32c != google_crc32c.value(answer.signature):
            raise SignerUnavailable(f"Google KMS asymmetric_sign {self._version}: the signature arrived damaged")

    def details(self) -> Mapping[str, str]:
        """Return the key's name, kind and version."""
        key, _, version = self._version.rpartition("/cryptoKeyVersions/")
        return {"key": f"{key}, {describe_key(self._public_key)} ({self._kind})", "version": version}

    def close(self) -> None:
        """Close the channel."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"<GcpKmsSigner {self._version}>"


def open_gcp_kms_signer(options: GcpKmsOptions) -> GcpKmsSigner:
    """Return the signer for the version in the URI, else for the one that the certificate certifies, else the newest.

    Raises ConfigError for settings and keys that cannot be used, SignerUnavailable when KMS cannot be reached,
    SignerError when it refuses.
    """
    parts = _URI.fullmatch(options.uri)
    if parts is None:
        raise ConfigError(
            f"{options.uri!r} is not a key URI of Google KMS; write gcpkms://projects/PROJECT/locations/LOCATION/"
            "keyRings/RING/cryptoKeys/KEY, and /cryptoKeyVersions/NUMBER after it to choose a version"
        )
    connection = KmsConnection(options, attempts=options.attempts, setting="signer.gcpkms.{}".format)
    timeout = options.start_timeout.total_seconds()
    try:
        if parts["version"]:
            version = f"{parts['key']}/cryptoKeyVersions/{parts['version']}"
            answer = _get_public_key(connection, version, timeout)
        else:
            version, answer = _choose_version(connection, parts["key"], options, timeout)
        return _open_version(connection, version, answer, options)
    except BaseException:
        connection.close()
        raise


def _choose_version(connection: KmsConnection, key: str, options: GcpKmsOptions, timeout: float) -> tuple[str, Any]:
    """Return the newest enabled version that the certificate certifies, else the newest, with Google's answer."""
    ends = time.monotonic() + timeout
    numbers = [int(name.rpartition("/")[2]) for name in connection.enabled_versions(key, timeout=timeout)]
    if not numbers:
        raise ConfigError(f"the key {key} has no version that is enabled; enable or create one")
    read: list[tuple[str, Any]] = []
    for number in sorted(numbers, reverse=True):
        version = f"{key}/cryptoKeyVersions/{number}"
        left = ends - time.monotonic()
        if left <= 0:
            raise SignerUnavailable(
                f"Google KMS get_public_key {version}: no time was left to look for the version that the certificate "
                f"certifies, of {len(numbers)}; name it in the URI, or raise start_timeout"
            )
        read.append((version, _get_public_key(connection, version, left)))
        if _is_certified(read[-1][1], version, options):
            return read[-1]
    return read[0]


def _is_certified(answer: Any, version: str, options: GcpKmsOptions) -> bool:
    if options.certified_key is None:
        return True
    try:
        return options.is_certified(_load_public_key(answer, version, answer.algorithm.name))
    except ConfigError:
        return False


def _open_version(connection: KmsConnection, version: str, answer: Any, options: GcpKmsOptions) -> GcpKmsSigner:
    if answer.name != version:
        raise SignerError(f"Google KMS get_public_key {version}: {answer.name!r} answered")
    kind = answer.algorithm.name
    public_key = _load_public_key(answer, version, kind)
    digest, pss = fixed_by_the_key(kind, version)
    if options.signature_digest not in {None, digest}:
        raise ConfigError(
            f"the key {version} ({kind}) signs with {digest}; signer_hash says {options.signature_digest}"
        )
    if options.rsa_pss != pss:
        raise ConfigError(
            f"the key {version} ({kind}) signs with RSA-PSS; set rsa_pss = true if all clients can verify that, "
            "openssl ts cannot"
            if pss
            else f"the key {version} ({kind}) does not sign with RSA-PSS, which rsa_pss asks for"
        )
    try:
        algorithm = signature_algorithm(public_key, digest=digest, pss=pss)
    except UnsupportedKey as error:
        raise ConfigError(f"the key {version} ({kind}): {error}") from None
    return GcpKmsSigner(connection, version=version, kind=kind, public_key=public_key, algorithm=algorithm)


def _get_public_key(connection: KmsConnection, version: str, timeout: float) -> Any:
    def ask(**how: Any) -> Any:
        request = {"name": version, **how}
        return connection.call("get_public_key", version, _VIEW, timeout=timeout, request=request, check=check)

    def check(answer: Any) -> None:
        raw, checksum = _sent_key(answer)
        if checksum != google_crc32c.value(raw):
            raise SignerUnavailable(f"Google KMS get_public_key {version}: the public key arrived damaged")

    try:
        return ask()
    except SignerUnavailable:
        raise
    except SignerError as error:
        # Keys of post-quantum algorithms have no PEM, which is what is sent unless told; there is no way to ask first.
        if "InvalidArgument" not in str(error):
            raise
        try:
            return ask(public_key_format=kms.PublicKey.PublicKeyFormat.NIST_PQC)
        except SignerError:
            raise error from None


def fixed_by_the_key(kind: str, version: str) -> tuple[str, bool]:
    """Return the digest, and whether the padding is PSS: in Google's KMS the key has both."""
    if parts := _DIGESTED.fullmatch(kind):
        return parts["digest"].lower(), parts["padding"] == "PSS"
    if kind == "EC_SIGN_ED25519" or kind in _ML_DSA:
        return "sha512", False
    raise ConfigError(
        f"the key {version} is of the kind {kind}, which cannot sign timestamps; create one of {_SIGNING}"
    )


def _sent_key(answer: Any) -> tuple[bytes, int]:
    """Return the public key as it was sent, and the checksum beside it."""
    if answer.algorithm.name in _ML_DSA:
        return bytes(answer.public_key.data), answer.public_key.crc32c_checksum
    return answer.pem.encode("utf-8"), answer.pem_crc32c


def _load_public_key(answer: Any, version: str, kind: str) -> PublicKey:
    raw, _ = _sent_key(answer)
    try:
        public_key = _ML_DSA[kind].from_public_bytes(raw) if kind in _ML_DSA else load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        public_key = None
    if not isinstance(public_key, PublicKey):
        raise ConfigError(f"the public key of {version} ({kind}) cannot be read; create one of {_SIGNING}")
    return public_key
