"""The PKCS#11 signer.

Permissions: the PIN of a user (not of the security officer) who may use the private key; of the key only CKA_SIGN;
of the operating system whatever the vendor's module needs (its configuration, its device file or its network).
What leaves the process: the digest of the signed attributes (for Ed25519, and with tokens that hash themselves, the
attributes, some 200 bytes), and the PIN at each start and recovery. The private key never enters it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkcs11 import Attribute, Mechanism
from pkcs11.exceptions import (
    ArgumentsBad,
    DataInvalid,
    DataLenRange,
    FunctionNotSupported,
    FunctionRejected,
    KeySizeRange,
    KeyTypeInconsistent,
    MechanismInvalid,
    MechanismParamInvalid,
    PKCS11Error,
)
from pkcs11.types import PrivateKey, Session, SignMixin
from pydantic import SecretStr

from tsa_core.api import (
    ConfigError,
    KeySigner,
    SignerError,
    SignerUnavailable,
    TsaError,
    UnsupportedKey,
    describe_key,
    signature_algorithm,
)
from tsa_signer_pkcs11.keys import (
    KeyNotFoundError,
    Operation,
    attribute,
    choose_operation,
    describe_object,
    find_private_key,
    find_token,
    read_public_key,
)
from tsa_signer_pkcs11.module import Module, PinRefusedError, error_name
from tsa_signer_pkcs11.options import Pkcs11Options
from tsa_signer_pkcs11.pool import FairPool
from tsa_signer_pkcs11.uri import KeyUri, read_key_uri

log = logging.getLogger(__name__)

_OPEN_SECONDS: Final = 30.0
# The token understood and said no; a new session would get the same answer. Everything else may be a lost session,
# a removed device or a module in disorder, of which modules speak in many ways.
_REFUSALS: Final = (
    ArgumentsBad,
    DataInvalid,
    DataLenRange,
    FunctionNotSupported,
    FunctionRejected,
    KeySizeRange,
    KeyTypeInconsistent,
    MechanismInvalid,
    MechanismParamInvalid,
)


@dataclass(frozen=True, kw_only=True)
class _OpenSession:
    """A session with its private key; of no use after the module's generation has changed."""

    generation: int
    session: Session
    key: PrivateKey


class Pkcs11Signer(KeySigner):
    """Signs in a token, through a bounded pool of sessions, each of which one thread uses at a time.

    Raises ConfigError, SignerError or SignerUnavailable, each with one line, when the key cannot be used. When
    sessions, token or device are lost, a signature tries a new session, then the module initialised anew, and
    fails with SignerUnavailable until the token is back; no restart is needed. A call into the module cannot be
    interrupted: a device that hangs holds the threads that are in it, at most as many as there are sessions, and
    every other thread gets SignerUnavailable within its time.
    """

    def __init__(self, options: Pkcs11Options) -> None:
        self._uri = read_key_uri(options.uri)
        self._pin = pin_of(options, self._uri)
        self.latency = options.latency
        self._sessions = options.sessions
        self._closed = False
        self._module = Module.acquire(module_path(options, self._uri))
        try:
            first = self._open_first(options)
        except BaseException:
            self._module.release()
            raise
        # None: not open yet, at the bottom, so that under little load few sessions are open.
        self._pool: FairPool[_OpenSession | None] = FairPool([*[None] * (options.sessions - 1), first])

    def _open_first(self, options: Pkcs11Options) -> _OpenSession:
        deadline = time.monotonic() + _OPEN_SECONDS
        try:
            with self._module.call(deadline) as generation:
                session = self._module.open_session(lambda lib: find_token(lib, self._uri), self._pin, deadline)
                key = find_private_key(session, self._uri)
                self._key_text = f"{describe_object(key)} on token {session.token.label!r}"
                self._check_can_sign(key)
                public_key = read_public_key(session, key)
                algorithm = signature_algorithm(public_key, digest=options.signature_digest, pss=options.rsa_pss)
                super().__init__(public_key, algorithm)
                offered = {Mechanism(m) for m in session.token.slot.get_mechanisms() if m in _KNOWN_MECHANISMS}
                self._operation: Operation = choose_operation(algorithm, public_key, offered)
                # Such a key wants the PIN before each signature, as signature cards do.
                self._pin_each_time = bool(attribute(key, Attribute.ALWAYS_AUTHENTICATE))
                self._details = self._describe(session, key)
                return _OpenSession(generation=generation, session=session, key=key)
        except PinRefusedError as error:
            raise ConfigError(str(error), path="signer.pkcs11.pin") from None
        except UnsupportedKey as error:
            raise ConfigError(f"{self._key_text}: {error}") from None
        except PKCS11Error as error:
            raise SignerUnavailable(
                f"{self._module.path}, key with {self._uri.key_text}: {error_name(error)}"
            ) from None

    def _check_can_sign(self, key: PrivateKey) -> None:
        if not isinstance(key, SignMixin):
            raise SignerError(f"the key {self._key_text} must not sign: its CKA_SIGN is false; use a signing key")

    def _describe(self, session: Session, key: PrivateKey) -> Mapping[str, str]:
        token = session.token
        identity = attribute(key, Attribute.ID)
        return {
            "key": f"{describe_key(self._public_key)}, {attribute(key, Attribute.LABEL) or ''!r}",
            "version": f"id {identity.hex() if identity else 'none'} (PKCS#11 keys have no versions)",
            "token": f"{token.label!r}, serial {token.serial.decode('ascii', 'replace')}, "
            f"{token.manufacturer_id} {token.model}, slot {token.slot.slot_id}",
            "module": self._module.description,
            "mechanism": f"CKM_{self._operation.mechanism.name}",
            "sessions": f"up to {self._sessions}, {self.latency}",
        }

    # -- what it is ---------------------------------------------------------------------------------------------

    def details(self) -> Mapping[str, str]:
        """Return key, token, module and mechanism."""
        return self._details

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._algorithm.name} {self._key_text}>"

    # -- signing ------------------------------------------------------------------------------------------------

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signature; waits at most `timeout` seconds for a session and for a recovery."""
        deadline = time.monotonic() + timeout
        if self._closed:
            raise SignerError(f"the signer of key {self._key_text} is closed")
        try:
            used = self._pool.take(timeout)
        except TimeoutError:
            raise SignerUnavailable(
                f"all {self._sessions} sessions with the token of key {self._key_text} were busy for {timeout:g} s; "
                "the device hangs, or [signer.pkcs11] sessions is too low"
            ) from None
        signed = None
        try:
            signed, signature = self._sign_or_recover(used, message, deadline)
        except TsaError:
            raise
        except Exception as error:
            raise SignerError(f"signing with key {self._key_text} failed: {type(error).__name__}") from error
        finally:
            self._pool.give(signed)
        return signature

    def _sign_or_recover(
        self, used: _OpenSession | None, message: bytes, deadline: float
    ) -> tuple[_OpenSession, bytes]:
        """Sign with `used` if it is open, else with a new session, and last with the module initialised anew."""
        candidates = [None, None] if used is None else [used, None, None]
        generation, lost = 0, ""
        for number, candidate in enumerate(candidates, start=1):
            if lost and time.monotonic() >= deadline:
                break
            last = number == len(candidates)
            if last:
                self._module.reset(generation, deadline)
            try:
                with self._module.call(deadline) as generation:
                    return self._sign_once(candidate, generation, message, deadline)
            except KeyNotFoundError as error:
                # Deleted, or the module has lost sight of its token: to know, the module must look again.
                if last:
                    raise
                lost = str(error)
            except PKCS11Error as error:
                lost = error_name(error)
                if isinstance(error, _REFUSALS):
                    raise SignerError(f"the token refuses to sign with key {self._key_text}: {lost}") from None
                log.info("key %s, attempt %d of %d: %s", self._key_text, number, len(candidates), lost)
        raise SignerUnavailable(f"the key {self._key_text} cannot be used now: {lost}")

    def _sign_once(
        self, used: _OpenSession | None, generation: int, message: bytes, deadline: float
    ) -> tuple[_OpenSession, bytes]:
        pin = self._pin.get_secret_value() if self._pin_each_time and self._pin else None
        if used is not None and used.generation == generation:
            try:
                return used, self._operation.sign(used.key, message, pin)
            except BaseException:
                _close(used.session)
                raise
        session = self._module.open_session(lambda lib: find_token(lib, self._uri), self._pin, deadline)
        try:
            key = find_private_key(session, self._uri)
            self._check_can_sign(key)
            signature = self._operation.sign(key, message, pin)
            # The first signature of a session says whether this is still the key that the certificate is for.
            if not self._algorithm.is_valid(self._public_key, signature, message):
                raise SignerError(
                    f"the key {self._key_text} is another one than at the start; start again with its chain"
                )
        except BaseException:
            _close(session)
            raise
        return _OpenSession(generation=generation, session=session, key=key), signature

    def close(self) -> None:
        """Close the sessions and let the module go."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(TsaError), self._module.call(time.monotonic() + 1) as generation:
            for idle in self._pool.take_idle():
                if idle is not None and idle.generation == generation:
                    _close(idle.session)
        self._module.release()


_KNOWN_MECHANISMS: Final = frozenset(int(mechanism) for mechanism in Mechanism)


def module_path(options: Pkcs11Options, uri: KeyUri) -> Path:
    """Return the module that the URI or else the setting names; raises ConfigError."""
    path = uri.module_path or options.module
    if path is None:
        raise ConfigError(
            "no PKCS#11 module is named; write the vendor's .so file there, or ?module-path=/PATH into the key URI",
            path="signer.pkcs11.module",
        )
    return path


def pin_of(options: Pkcs11Options, uri: KeyUri) -> SecretStr | None:
    """Return the PIN that the URI or else the setting gives; raises ConfigError for both."""
    from_uri = uri.pin()
    if from_uri is None:
        return options.pin
    if options.pin is not None:
        raise ConfigError("the key URI gives the PIN too; give it once", path="signer.pkcs11.pin")
    if uri.pin_value is not None:
        log.warning(
            "the PIN stands in the key URI (pin-value), where ps and configuration listings show it; use "
            "pin-source=/FILE or [signer.pkcs11] pin = { file = ... } instead"
        )
    return from_uri


def _close(session: Session) -> None:
    """Close a session that may be lost already."""
    with contextlib.suppress(PKCS11Error):
        session.close()
