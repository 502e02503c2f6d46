"""Asks the program for the public key at start, and for each signature.

Permissions: those that the program needs, with the server's user and its variables, but for TSA_...; whatever the
program sends, and where, is the program's affair. From here it gets the key's name and, for each token, the digest that
is signed (the whole signed attributes, on stdin, for Ed25519 and ML-DSA). Both are arguments, which ps shows to
everybody on the machine.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

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
    within_deadline,
)
from tsa_signer_cliplugin import protocol
from tsa_signer_cliplugin.options import CliPluginOptions
from tsa_signer_cliplugin.program import (
    CannotStart,
    PrintedTooMuch,
    TookTooLong,
    run_program,
)

log = logging.getLogger(__name__)

_URI: Final = re.compile(r"(?:cliplugin:)?(?P<name>[a-z0-9][a-z0-9._-]*)://(?P<key>.*)", re.IGNORECASE | re.DOTALL)
_SECRET: Final = re.compile(r"(?i)\b(?:pin|password|passwd|token|secret)[^=&;]*=")
_OURS: Final = "TSA_"
_DIGESTED: Final = frozenset({"ecdsa", "rsa-pkcs1v15", "rsa-pss"})
_ATTEMPTS: Final = 2
_LONGEST_TEXT: Final = 300
_SHORTEST_LINE: Final = 4
"""Shorter lines of a secret, such as a brace, tell nothing, and would mask half of every message."""


class ProgramSigner(KeySigner):
    """Signs by starting a program for each signature; holds nothing, so processes may share it."""

    latency = "remote"

    def __init__(
        self, program: Program, init: dict[str, object], public_key: PublicKey, algorithm: SignatureAlgorithm
    ) -> None:
        super().__init__(public_key, algorithm)
        self._program = program
        self._init = init

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the program's signature; SignerUnavailable when the program fails, says so or takes too long."""
        return within_deadline(lambda left: self._sign(message, left), timeout=timeout, attempts=_ATTEMPTS)

    def _sign(self, message: bytes, timeout: float) -> bytes:
        digested = self._algorithm.scheme in _DIGESTED
        digest = self._algorithm.digest.digest(message) if digested else None
        call = protocol.sign_call(self._init, digest=digest, hash_name=self._algorithm.digest.name, timeout=timeout)
        return self._program.call(call, b"" if digested else message, protocol.signature_reply, timeout=timeout)

    def details(self) -> Mapping[str, str]:
        """Return the key's kind and the program."""
        version = "as the program chooses: the protocol tells none"
        return {"key": describe_key(self.public_key), "program": self._program.path, "version": version}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._algorithm.name} {self._program.path}>"


class Program:
    """A plugin of sigstore's: its path, and the variables that it gets beside the server's own."""

    def __init__(self, path: str, secrets: Mapping[str, str]) -> None:
        self.path = path
        self._secrets = secrets
        self._parts = _parts_of(secrets.values())

    def call(self, argument: str, data: bytes, read: Callable[[bytes], bytes], *, timeout: float) -> bytes:
        """Return what `read` finds in the program's reply.

        Raises SignerUnavailable for what may pass, and for an error that the program tells; else SignerError.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        try:
            done = run_program(
                [self.path, protocol.VERSION, argument],
                data=data,
                environment={**environment, **self._secrets},
                timeout=timeout,
            )
        except CannotStart as error:
            raise SignerUnavailable(f"{self.path} cannot be started: {error}") from None
        except TookTooLong:
            raise SignerUnavailable(f"{self.path} did not end within {timeout:.1f} s, and was killed") from None
        except PrintedTooMuch:
            raise SignerError(f"{self.path} printed more than any reply of this protocol, and was killed") from None
        messages = self._masked(done.messages.decode("utf-8", "replace"))
        lines = [_on_one_line(line) for line in messages.splitlines()]
        for line in lines:
            log.debug("%s: %s", self.path, line)
        wrote = f"; it wrote: {lines[-1]}" if lines else ""
        if done.code < 0:
            raise SignerUnavailable(f"{self.path} was ended by signal {-done.code}{wrote}")
        try:
            return read(done.output)
        except protocol.Refused as error:
            # Whether it would work later, the protocol does not tell; that the network was down is the likeliest.
            raise SignerUnavailable(f"{self.path} says: {_on_one_line(self._masked(str(error)))}{wrote}") from None
        except protocol.BadReply as error:
            raise SignerError(f"{self.path} does not speak version 1 of sigstore's protocol: {error}{wrote}") from None

    def _masked(self, text: str) -> str:
        """Return a program's text without the secrets that we gave to it, of which it may show single lines."""
        for part in self._parts:
            text = text.replace(part, "***")
        return text


def _parts_of(secrets: Iterable[str]) -> Sequence[str]:
    """Return what is masked, longest first: whole secrets, for one may begin another, and the lines of long ones."""
    whole = {secret for secret in secrets if secret}
    lines = {line.strip() for secret in whole for line in secret.splitlines()}
    return sorted(whole | {line for line in lines if len(line) >= _SHORTEST_LINE}, key=len, reverse=True)


def _on_one_line(text: str) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}..."


def open_program_signer(options: CliPluginOptions) -> ProgramSigner:
    """Return the signer; raises ConfigError, SignerUnavailable or SignerError."""
    name, key = _read_uri(options.uri)
    path = shutil.which(f"sigstore-kms-{name}")
    if path is None:
        raise ConfigError(
            f"there is no program sigstore-kms-{name} on the PATH of the server ({os.environ.get('PATH', 'empty')})"
        )
    secrets = {name: value.get_secret_value() for name, value in options.environment.items()}
    program = Program(str(Path(path).absolute()), secrets)
    seconds = options.open_timeout.total_seconds()
    call = protocol.public_key_call(protocol.init_options(key, options.signature_digest or ""), timeout=seconds)
    public_key = _load(program.call(call, b"", protocol.public_key_reply, timeout=seconds), program.path)
    try:
        algorithm = signature_algorithm(public_key, digest=options.signature_digest, pss=options.rsa_pss)
    except UnsupportedKey as error:
        raise ConfigError(f"the key of {program.path}: {error}") from None
    signer = ProgramSigner(program, protocol.init_options(key, algorithm.digest.name), public_key, algorithm)
    if options.rsa_pss and not algorithm.is_valid(public_key, signer.sign(b"trial", timeout=seconds), b"trial"):
        raise ConfigError(f"rsa_pss = true, but {program.path} does not sign so, and the protocol cannot ask for it")
    return signer


def _read_uri(uri: str) -> tuple[str, str]:
    """Return the program's name and the key in `NAME://KEY` or `cliplugin:NAME://KEY`."""
    found = _URI.fullmatch(uri)
    if found is None:
        # A URI may hold a PIN, so it is not repeated.
        raise ConfigError("write the key URI as NAME://KEY, for the program sigstore-kms-NAME")
    if _SECRET.search(found["key"]):
        log.warning(
            "the key URI of sigstore-kms-%s seems to hold a secret, and the protocol makes it an argument, which ps "
            "shows to everybody on this machine; use [signer.%s] environment = { NAME = { file = ... } } if the "
            "program can",
            found["name"],
            found["name"],
        )
    return found["name"], found["key"]


def _load(pem: bytes, path: str) -> PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SignerError(f"{path} tells a public key that cannot be read") from None
    if not isinstance(key, PublicKey):
        raise ConfigError(f"{path} has a key of type {type(key).__name__}, which cannot sign timestamps")
    return key
