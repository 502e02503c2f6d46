"""Signs with a key in the transit engine of HashiCorp Vault or OpenBao.

Permissions: read on MOUNT/keys/KEY, update on MOUNT/sign/KEY/* (MOUNT/sign/KEY for Ed25519); the README has the
policy. Authentication: a token, from the settings, VAULT_TOKEN, or a file that an agent keeps up to date. What
leaves the machine: the digest of the token's signed attributes, or the attributes themselves for Ed25519; they
hold the time and a digest of the TSTInfo, nothing of the document. Every signature costs one HTTP request.
"""

from __future__ import annotations

import base64
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tsa_core.api import (
    ConfigError,
    KeySigner,
    PublicKey,
    SignatureAlgorithm,
    SignerError,
    UnsupportedKey,
    describe_key,
    signature_algorithm,
    within_deadline,
)
from tsa_signer_hashivault.connection import TransitConnection
from tsa_signer_hashivault.options import TransitOptions
from tsa_signer_hashivault.settings import complete

log = logging.getLogger(__name__)

_SIGNING_TYPES: Final = "ecdsa-p256, ecdsa-p384, ecdsa-p521, rsa-2048, rsa-3072, rsa-4096 or ed25519"


class TransitSigner(KeySigner):
    """Signs with one version of one transit key, which a rotation leaves in place."""

    def __init__(
        self,
        connection: TransitConnection,
        *,
        mount: str,
        key: str,
        version: int,
        public_key: PublicKey,
        algorithm: SignatureAlgorithm,
        attempts: int | None,
    ) -> None:
        super().__init__(public_key, algorithm)
        self._connection = connection
        self._name = f"{mount}/keys/{key}"
        self._version = version
        self._attempts = attempts
        self._path = f"{mount}/sign/{key}"
        self._parameters: dict[str, Any] = {"key_version": version}
        if algorithm.scheme != "ed25519":
            self._path += f"/sha2-{8 * algorithm.digest.digest_size}"
            self._parameters["prehashed"] = True
        if algorithm.scheme == "ecdsa":
            self._parameters["marshaling_algorithm"] = "asn1"
        if algorithm.scheme == "rsa-pkcs1v15":
            self._parameters["signature_algorithm"] = "pkcs1v15"
        if algorithm.scheme == "rsa-pss":
            # The server's default is the longest salt that fits; CMS announces one as long as the digest.
            self._parameters |= {"signature_algorithm": "pss", "salt_length": "hash"}

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature by the pinned version of the key; anything else the server signs with is refused."""
        data = message if self._algorithm.scheme == "ed25519" else self._algorithm.digest.digest(message)
        body = {"input": base64.b64encode(data).decode("ascii"), **self._parameters}
        answer = within_deadline(
            lambda left: self._connection.request("post", self._path, timeout=left, needs="update", body=body),
            timeout=timeout,
            attempts=self._attempts,
        )
        vault, _, rest = str(answer.get("signature")).partition(":")
        version, _, signature = rest.partition(":")
        if (vault, version) != ("vault", f"v{self._version}"):
            raise SignerError(f"{self._path}: version {self._version} was asked to sign, {version[:20]!r} answered")
        try:
            return base64.b64decode(signature, validate=True)
        except ValueError:  # binascii.Error, or of letters that are not ASCII
            raise SignerError(f"{self._path}: the signature in the answer is not base64") from None

    def details(self) -> Mapping[str, str]:
        """Return the key's path, kind and version."""
        return {"key": f"{self._name}, {describe_key(self._public_key)}", "version": str(self._version)}

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __repr__(self) -> str:
        return f"<TransitSigner {self._name} version {self._version}>"


def open_transit_signer(options: TransitOptions) -> TransitSigner:
    """Return the signer for the version that is configured, else the one that the certificate certifies.

    Raises ConfigError for settings and keys that cannot be used, SignerUnavailable when the server cannot be
    reached, SignerError when it refuses.
    """
    settings = complete(options)
    if settings.plain_http:
        log.warning("%s is not HTTPS: the token crosses the network unprotected", settings.address)
    connection = TransitConnection(settings, connections=options.connections)
    timeout = options.start_timeout.total_seconds()
    try:
        path = f"{settings.mount}/keys/{settings.key}"
        record = within_deadline(
            lambda left: connection.request("get", path, timeout=left, needs="read"),
            timeout=timeout,
            attempts=options.attempts,
        )
        version, public_key = _choose_version(record, options, path)
        try:
            algorithm = signature_algorithm(public_key, digest=options.signature_digest, pss=options.rsa_pss)
        except UnsupportedKey as error:
            raise ConfigError(f"the key {path}: {error}") from None
        if options.renew_token:
            connection.keep_token_alive(timeout=timeout)
    except BaseException:
        connection.close()
        raise
    return TransitSigner(
        connection,
        mount=settings.mount,
        key=settings.key,
        version=version,
        public_key=public_key,
        algorithm=algorithm,
        attempts=options.attempts,
    )


def _choose_version(record: Mapping[str, Any], options: TransitOptions, path: str) -> tuple[int, PublicKey]:
    """Return version and public key from the server's record; raises ConfigError for a key that cannot sign.

    The version is the configured one, else the newest that the certificate certifies, else the newest.
    """
    kind = record.get("type")
    if not record.get("supports_signing"):
        raise ConfigError(f"the key {path} is of type {kind}, which cannot sign; create one of {_SIGNING_TYPES}")
    if record.get("derived"):
        raise ConfigError(f"the key {path} is a derived one, which has no fixed public key; create one without derived")
    versions: Mapping[int, Any] = {int(number): entry for number, entry in (record.get("keys") or {}).items()}
    newest = int(record.get("latest_version") or 0)
    oldest = max(int(record.get("min_available_version") or 0), int(record.get("min_encryption_version") or 0))
    usable = [number for number in sorted(versions) if number >= oldest]
    certified = _certified(versions, kind, options)
    version = options.key_version or (certified[-1] if certified else newest)
    if version not in usable:
        reason = ", which the certificate certifies," if version in certified else ""
        raise ConfigError(
            f"version {version} of the key {path}{reason} cannot sign; it may sign with: "
            f"{', '.join(map(str, usable)) or 'none'} (key_version chooses, min_encryption_version limits)"
        )
    if certified and version not in certified:
        raise ConfigError(
            f"version {version} of the key {path} is not the one that the certificate certifies, but version "
            f"{certified[-1]} is; leave key_version out, or give the chain that was issued for version {version}",
            path=f"signer.{options.uri.partition(':')[0]}.key_version",
        )
    try:
        public_key = _public_key(versions[version], kind)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"the public key of {path} (type {kind}) cannot be read; use {_SIGNING_TYPES}") from None
    if public_key is None:
        raise ConfigError(f"the key {path} is of type {kind} and shows no public key; create one of {_SIGNING_TYPES}")
    if not isinstance(public_key, PublicKey):
        raise ConfigError(f"the key {path} is of type {kind}, which cannot sign; create one of {_SIGNING_TYPES}")
    return version, public_key


def _certified(versions: Mapping[int, Any], kind: Any, options: TransitOptions) -> list[int]:
    """Return the versions whose key the certificate certifies; none where there is no certificate yet."""
    if options.certified_key is None:
        return []
    found = []
    for number in sorted(versions):
        with contextlib.suppress(ValueError, UnsupportedAlgorithm):
            public_key = _public_key(versions[number], kind)
            if isinstance(public_key, PublicKey) and options.is_certified(public_key):
                found.append(number)
    return found


def _public_key(entry: Any, kind: Any) -> Any:
    """Return the public key in a version's record, None when it shows none; raises ValueError, UnsupportedAlgorithm."""
    text = entry.get("public_key") if isinstance(entry, dict) else None
    if not text:
        return None
    if kind == "ed25519":
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))
    return load_pem_public_key(text.encode("ascii"))
