"""A PKCS#11 module in this process: loaded once, shared by all signers, initialised anew when it lost its token.

Three things are the process's, not a signer's, and therefore live here: the module's initialisation, the login to a
token, and the right moment to finalise, which is when no call is in progress.

python-pkcs11 initialises modules with `C_Initialize(NULL)`, by which an application promises to call from one thread
only; SoftHSM then takes no locks and crashes under a server's threads. So this module calls `C_Finalize` and
`C_Initialize(CKF_OS_LOCKING_OK)` itself, through the function list that PKCS#11 prescribes.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pkcs11
from pkcs11.exceptions import (
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserAlreadyLoggedIn,
    UserPinNotInitialized,
)
from pkcs11.types import Session, Token
from pydantic import SecretStr

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - it is a class, whatever its name

from tsa_core.api import ConfigError, SignerError, SignerUnavailable

log = logging.getLogger(__name__)

_CKF_OS_LOCKING_OK: Final = 0x02
_CKR_CANT_LOCK: Final = 0x0A
_CKR_CRYPTOKI_ALREADY_INITIALIZED: Final = 0x191
_RESET_PAUSE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 5.0
_PIN_ERRORS: Final = (PinIncorrect, PinInvalid, PinLenRange, PinLocked, PinExpired, UserPinNotInitialized)


class PinRefusedError(SignerError):
    """The token did not accept the PIN; it is not tried again, because a few wrong ones lock the token."""


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte))


class _FunctionList(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST; the order is PKCS#11's."""

    _fields_ = (("version", _Version), ("initialize", ctypes.c_void_p), ("finalize", ctypes.c_void_p))


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


_FUNCTION: Final = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
# Kept for the life of the process: there are modules that keep the pointer and read it later.
_ARGUMENTS: Final = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)


class Module:
    """One loaded module. Thread-safe. Get it with `acquire`, give it back with `release`."""

    _loaded: Final[dict[Path, Module]] = {}
    _loading: Final = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lib: Library = _load(path)
        dll = ctypes.CDLL(str(path))
        functions = ctypes.POINTER(_FunctionList)()
        dll.C_GetFunctionList.restype = ctypes.c_ulong
        dll.C_GetFunctionList(ctypes.byref(functions))
        self._initialize = _FUNCTION(functions.contents.initialize)
        self._finalize = _FUNCTION(functions.contents.finalize)
        self._state = threading.Condition()
        self._signers = 0
        self._calls = 0
        self._resetting = False
        self._generation = 0
        self._next_reset = 0.0
        self._process = os.getpid()
        self._login = threading.Lock()
        self._logins: dict[int, Session | None] = {}
        self._refused: set[tuple[int, SecretStr]] = set()

    @property
    def description(self) -> str:
        """The maker's name of it, and its version."""
        major, minor = self._lib.library_version
        return f"{self.path} ({self._lib.manufacturer_id} {major}.{minor})"

    # -- lifetime -----------------------------------------------------------------------------------------------

    @classmethod
    def acquire(cls, path: Path) -> Module:
        """Return the module, initialised for threads; raises ConfigError when it is no such, else SignerUnavailable."""
        with cls._loading:
            module = cls._loaded.get(path)
            if module is None or module._process != os.getpid():
                module = cls._loaded[path] = cls(path)
            if module._signers == 0:
                module._start()
                module._next_reset = 0.0
            module._signers += 1
            return module

    def release(self) -> None:
        """Finalise the module when no signer needs it any more and no call is in progress."""
        with self._loading:
            self._signers -= 1
            if self._signers:
                return
            self._refused.clear()
            try:
                self._drain(time.monotonic() + _CLOSE_SECONDS)
            except SignerUnavailable:
                log.warning("%s is left as it is: a call into it has not returned", self.path)
                return
            self._logins.clear()
            self._finalize(None)
            self._leave_reset()

    def _start(self) -> None:
        """Initialise; a module that is initialised already, by python-pkcs11 or by us, begins anew."""
        code = self._initialize(ctypes.addressof(_ARGUMENTS))
        if code == _CKR_CRYPTOKI_ALREADY_INITIALIZED:
            self._finalize(None)
            code = self._initialize(ctypes.addressof(_ARGUMENTS))
        self._logins.clear()
        self._generation += 1
        if code == _CKR_CANT_LOCK:
            raise ConfigError("this PKCS#11 module cannot be called from several threads", path=str(self.path))
        if code:
            raise SignerUnavailable(
                f"the PKCS#11 module {self.path} does not start (C_Initialize: {code:#x}); is its configuration in "
                "place, and its device connected?"
            )

    # -- calls --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def call(self, deadline: float) -> Iterator[int]:
        """Let calls into the module be made inside; yields the generation, which changes when sessions are lost."""
        if os.getpid() != self._process:
            raise SignerError(
                f"{self.path} was opened before this process was forked, and PKCS#11 does not survive that; "
                "let each worker open its own (no --preload)"
            )
        with self._state:
            if not self._state.wait_for(lambda: not self._resetting, timeout=deadline - time.monotonic()):
                raise SignerUnavailable(f"{self.path} is being initialised anew")
            self._calls += 1
            generation = self._generation
        try:
            yield generation
        finally:
            with self._state:
                self._calls -= 1
                self._state.notify_all()

    def open_session(self, find: Callable[[Library], Token], pin: SecretStr | None, deadline: float) -> Session:
        """Return a new session, logged in; inside `call`. Raises PKCS11Error, PinRefusedError, SignerUnavailable.

        A login counts for all sessions of the process with that token, so it is done once and by a session that
        nobody else uses.
        """
        token = find(self._lib)
        slot = token.slot.slot_id
        if pin is not None and slot not in self._logins:
            if not self._login.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise SignerUnavailable(f"the login to token {token.label!r} takes too long")
            try:
                if slot not in self._logins:
                    self._logins[slot] = self._log_in(token, pin)
            finally:
                self._login.release()
        return token.open()

    def _log_in(self, token: Token, pin: SecretStr) -> Session | None:
        asked = (token.slot.slot_id, pin)
        if asked in self._refused:
            raise PinRefusedError(
                f"token {token.label!r} refused the PIN earlier; it is not tried again, so that the token does not "
                "lock itself. Correct the PIN and start again"
            )
        try:
            return token.open(user_pin=pin.get_secret_value())
        except UserAlreadyLoggedIn:
            return None
        except _PIN_ERRORS as error:
            self._refused.add(asked)
            raise PinRefusedError(f"token {token.label!r} refused the PIN: {error_name(error)}") from None

    # -- recovery -----------------------------------------------------------------------------------------------

    def reset(self, generation: int, deadline: float) -> None:
        """Finalise and initialise the module anew, unless that was done since `generation`; outside `call`.

        At most once a second, when no call is in progress. Raises SignerUnavailable when it must not or fails.
        """
        with self._state:
            if self._generation != generation:
                return
            if time.monotonic() < self._next_reset:
                raise SignerUnavailable(f"{self.path} was initialised anew a moment ago, without success")
        self._drain(deadline)
        try:
            if self._generation != generation:
                return
            self._next_reset = time.monotonic() + _RESET_PAUSE_SECONDS
            log.warning("initialising %s anew, because its sessions or objects were lost", self.path)
            self._start()
        finally:
            self._leave_reset()

    def _drain(self, deadline: float) -> None:
        """Keep new calls out and wait for those in progress; raises SignerUnavailable at the deadline."""
        with self._state:
            if not self._state.wait_for(lambda: not self._resetting, timeout=deadline - time.monotonic()):
                raise SignerUnavailable(f"{self.path} is being initialised anew")
            self._resetting = True
            if self._state.wait_for(lambda: self._calls == 0, timeout=deadline - time.monotonic()):
                return
            self._resetting = False
            self._state.notify_all()
        raise SignerUnavailable(f"a call into {self.path} has not returned; its device hangs")

    def _leave_reset(self) -> None:
        with self._state:
            self._resetting = False
            self._state.notify_all()


def _load(path: Path) -> Library:
    try:
        return pkcs11.lib(str(path))
    except PKCS11Error as error:
        if not path.is_file():
            raise ConfigError("there is no such PKCS#11 module; name the vendor's .so file", path=str(path)) from None
        if not hasattr(_try_dll(path), "C_GetFunctionList"):
            raise ConfigError(f"this is not a PKCS#11 module that can be loaded: {error}", path=str(path)) from None
        raise SignerUnavailable(
            f"the PKCS#11 module {path} does not start (C_Initialize: {error_name(error)}); is its configuration in "
            "place, and its device connected?"
        ) from None


def _try_dll(path: Path) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def error_name(error: PKCS11Error) -> str:
    """Return the error as PKCS#11 writes it, CKR_DEVICE_REMOVED for example."""
    name = type(error).__name__
    if type(error) is PKCS11Error:
        text = str(error) or name
        # python-pkcs11 has no class for this one.
        return "CKR_CRYPTOKI_NOT_INITIALIZED" if "not initialized" in text else text
    words = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)
    return f"CKR{words}".replace("_I_D_", "_ID_")
