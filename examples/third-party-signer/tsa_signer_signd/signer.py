"""The signer: asks signd for every signature.

Permissions: the server's user needs write access to the socket, and the PIN. It needs no access to the key file, which is
the point: who breaks into the server can have things signed, as long as he is there, and cannot take the key away. Only
digests leave the process, and nothing leaves the machine.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tsa_core.api import (
    ConfigError,
    KeySigner,
    SignerError,
    SignerUnavailable,
    describe_key,
    signature_algorithm,
)

from tsa_signer_signd import wire
from tsa_signer_signd.options import SigndOptions

_OPEN_SECONDS = 5.0


class SigndClient:
    """Sends one request on a connection of its own, so that any number of threads may."""

    def __init__(self, path: Path, pin: str) -> None:
        self._path = path
        self._pin = pin

    def ask(self, *, timeout: float, **fields: str) -> dict[str, Any]:
        """Return the answer; raises SignerUnavailable when there is none in time, SignerError for a refusal."""
        try:
            answer = wire.decode(self._exchange(wire.encode(pin=self._pin, **fields), monotonic() + timeout))
        except TimeoutError:
            raise SignerUnavailable(f"signd at {self._path} did not answer within {timeout:g} s") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise SignerUnavailable(f"signd at {self._path} cannot be reached: {reason}") from None
        if "error" in answer:
            raise SignerError(f"signd at {self._path} refuses: {answer['error']}")
        return answer

    def _exchange(self, line: bytes, deadline: float) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            _set_timeout(connection, deadline)
            connection.connect(str(self._path))
            connection.sendall(line)
            received = b""
            while not received.endswith(b"\n") and len(received) <= wire.MAX_LINE:
                # The time-out of a socket is for one call: without this, a byte at a time would go on for ever.
                _set_timeout(connection, deadline)
                chunk = connection.recv(wire.MAX_LINE)
                if not chunk:
                    break
                received += chunk
            return received


def _set_timeout(connection: socket.socket, deadline: float) -> None:
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise TimeoutError
    connection.settimeout(remaining)


class SigndSigner(KeySigner):
    """Signs with one key of signd."""

    latency = "remote"

    def __init__(self, client: SigndClient, key: str, options: SigndOptions) -> None:
        self._client = client
        self._key = key
        answer = client.ask(timeout=_OPEN_SECONDS, do="public_key", key=key)
        public_key = load_der_public_key(wire.to_bytes(answer.get("public_key")))
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise ConfigError(f"the key {key!r} of signd is {describe_key(public_key)}; an EC key is needed")
        self._coordinate_size = (public_key.curve.key_size + 7) // 8
        algorithm = signature_algorithm(public_key, digest=options.signature_digest, pss=options.rsa_pss)
        super().__init__(public_key, algorithm)

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature: signd wants a digest and answers r||s, CMS wants DER."""
        digest = self._algorithm.digest
        answer = self._client.ask(
            timeout=timeout, do="sign", key=self._key, hash=digest.name, digest=wire.to_text(digest.digest(message))
        )
        try:
            raw = wire.to_bytes(answer.get("signature"))
        except ValueError as error:
            raise SignerError(f"signd answered no signature: {error}") from None
        size = self._coordinate_size
        if len(raw) != 2 * size:
            raise SignerError(f"signd answered a signature of {len(raw)} bytes; {2 * size} are needed")
        return encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    def details(self) -> Mapping[str, str]:
        """Return facts for `timestamp-server check`."""
        return {"key": f"{self._key} in signd, {describe_key(self._public_key)}"}


def open_signer(options: SigndOptions) -> SigndSigner:
    """Return the signer of the key that the URI names; raises ConfigError for one that names none."""
    key = options.uri.partition(":")[2].lstrip("/")
    if not key:
        raise ConfigError("the key URI names no key; write it as signd:KEY")
    return SigndSigner(SigndClient(options.socket, options.pin.get_secret_value()), key, options)
