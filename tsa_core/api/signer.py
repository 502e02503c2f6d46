"""Signers: the object that holds, or reaches, a profile's private key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from tsa_core.api.errors import SignerError
from tsa_core.protocol.signatures import (
    RSA_SHA1,
    PrivateKey,
    PublicKey,
    SignatureAlgorithm,
    is_slow,
    signature_algorithm,
)


class Signer(ABC):
    """Signs the messages that the core hands it. Thread-safe.

    `latency` tells the server how to run the signer: "local" ones answer in microseconds and are called on the
    I/O thread, "remote" ones wait for a network and get threads of their own. It is read once, after the signer
    was opened, so that a signer whose settings decide it may set it on itself.
    """

    latency: Literal["local", "remote"] = "remote"

    sign_digest: Callable[[bytes], bytes] | None = None
    """Makes the same signatures as `sign` from digests by `algorithm.digest`, for keys in this process's memory.

    Where it is not None the core hashes and asks it instead. Most signers leave it, and hash in `sign`, if at all.
    """

    parallel: bool = False
    """Whether two threads sign twice as much: of local signers that need 0.1 ms or more, and let other threads run.

    Where a process has a CPU to spare, a second thread then makes a share of the signatures.
    """

    @property
    @abstractmethod
    def algorithm(self) -> SignatureAlgorithm:
        """How this signer signs; fixed for its lifetime."""

    @property
    @abstractmethod
    def public_key(self) -> PublicKey:
        """The public key, read from the backend and never from configuration; fixed for its lifetime."""

    @abstractmethod
    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature of `message` within `timeout` seconds, from any thread.

        The message, not a digest: only the signer knows what its backend wants. ECDSA signatures are DER
        ECDSA-Sig-Value. Raises SignerUnavailable when trying again may help, SignerError otherwise, and nothing
        else; the texts are for the operator's log and hold no secret.
        """

    def with_sha1(self) -> Signer | None:
        """Return a signer of the same RSA key that signs SHA-1 digests (sha1WithRSAEncryption), None where it cannot.

        For countersignatures that a profile's operator wants in SHA-1, for clients that know nothing else; never for
        tokens. This signer is the one that is closed. Most signers cannot.
        """
        return None

    def certificate_chain(self) -> Sequence[bytes]:
        """Return the DER certificates, TSA's first, of a signer that brings its own; most bring none."""
        return ()

    def files(self) -> Sequence[Path]:
        """Return the files that this signer was made from; `[server] watch` reloads when one changes."""
        return ()

    def details(self) -> Mapping[str, str]:
        """Return facts for `timestamp-server check`, such as key and version; no secret among them."""
        return {}

    def close(self) -> None:  # noqa: B027 - optional: most signers hold nothing to close
        """Release what the signer holds; called once more than needed does no harm."""


class KeySigner(Signer):
    """A signer of one key whose public half was read when it was opened: base of most signers.

    A subclass reads `public_key` from its backend, has `tsa_core.api.signature_algorithm` choose the algorithm, and
    hands both to this constructor.
    """

    def __init__(self, public_key: PublicKey, algorithm: SignatureAlgorithm) -> None:
        self._public_key = public_key
        self._algorithm = algorithm

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """How the key signs."""
        return self._algorithm

    @property
    def public_key(self) -> PublicKey:
        """The public half of the key."""
        return self._public_key


class LocalKeySigner(KeySigner):
    """A signer whose private key is in this process's memory, for plugins that load or make a key.

    Raises UnsupportedKey for keys that cannot make timestamps. A class with a `sign` of its own is asked by that.
    """

    latency: Literal["local", "remote"] = "local"

    def __init__(self, private_key: PrivateKey, *, digest: str | None = None, rsa_pss: bool = False) -> None:
        public_key = private_key.public_key()
        super().__init__(public_key, signature_algorithm(public_key, digest=digest, pss=rsa_pss))
        self._sign = self._algorithm.signing_function(private_key)
        self._with_sha1 = partial(_Sha1Signer, private_key)
        if type(self).sign is LocalKeySigner.sign:
            self.parallel = is_slow(public_key)
            self.sign_digest = self._algorithm.digest_signing_function(private_key)

    def sign(self, message: bytes, *, timeout: float) -> bytes:  # noqa: ARG002 - a local key does not wait
        """Return the signature; a failure of the cryptographic library is a SignerError."""
        try:
            return self._sign(message)
        except Exception as error:
            raise SignerError(f"the local key could not sign: {type(error).__name__}") from error

    def with_sha1(self) -> Signer | None:
        """Return a signer that signs SHA-1 digests with the same key, if it is an RSA key for PKCS #1 v1.5."""
        return self._with_sha1() if self._algorithm.scheme == "rsa-pkcs1v15" else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._algorithm.name}>"


class _Sha1Signer(KeySigner):
    """Signs SHA-1 digests with a key of a LocalKeySigner."""

    latency: Literal["local", "remote"] = "local"

    def __init__(self, private_key: PrivateKey) -> None:
        super().__init__(private_key.public_key(), RSA_SHA1)
        self._sign = RSA_SHA1.signing_function(private_key)

    def sign(self, message: bytes, *, timeout: float) -> bytes:  # noqa: ARG002 - a local key does not wait
        """Return the signature; a policy of the cryptographic library may forbid SHA-1."""
        try:
            return self._sign(message)
        except Exception as error:
            raise SignerError(f"the local key could not sign a SHA-1 digest: {type(error).__name__}") from error
