"""A signer whose backend was not there at the start: stands in for it, and opens it when it comes."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tsa_core.api import KeyMismatch, PublicKey, SignatureAlgorithm, Signer, SignerError, SignerUnavailable, TsaError
from tsa_core.protocol.signatures import key_fingerprint, public_key_info

log = logging.getLogger(__name__)

NOT_REACHED: Final = "the signer has not been reached since the start; it is tried again"
"""What /readyz says of it."""
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0


class AwaitedSigner(Signer):
    """Refuses to sign until `opens` returns the signer, and then is that signer. Thread-safe.

    `opens` is called from a thread of its own, with pauses that grow from 1 s to 30 s; it raises TsaError while the
    signer cannot be opened. Key and algorithm are those that the certificate says, and a signer with others is refused:
    tokens are encoded for these. `failure` is why the signer could not be opened at the start.
    """

    latency = "remote"

    def __init__(
        self,
        profile: str,
        *,
        public_key: PublicKey,
        algorithm: SignatureAlgorithm,
        opens: Callable[[], Signer],
        failure: str,
    ) -> None:
        self._profile = profile
        self._public_key = public_key
        self._algorithm = algorithm
        self._opens = opens
        self._failure = failure
        self._signer: Signer | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._keep_trying()

    @property
    def reached(self) -> bool:
        """Whether the signer is there."""
        return self._signer is not None

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """How the certified key signs."""
        return self._algorithm

    @property
    def public_key(self) -> PublicKey:
        """The certified key."""
        return self._public_key

    def sign(self, message: bytes, *, timeout: float) -> bytes:
        """Return the signer's signature; raises SignerUnavailable at once as long as there is none."""
        if self._signer is None:
            self._keep_trying()
            raise SignerUnavailable(f"not reached since the start: {self._failure}")
        return self._signer.sign(message, timeout=timeout)

    def files(self) -> Sequence[Path]:
        """Return the signer's files."""
        return self._signer.files() if self._signer else ()

    def details(self) -> Mapping[str, str]:
        """Return the signer's facts."""
        return self._signer.details() if self._signer else {}

    def close(self) -> None:
        """Try no more, and close the signer."""
        self._closing.set()
        with self._lock:
            if self._signer is not None:
                self._signer.close()

    def _keep_trying(self) -> None:
        """Start the thread unless it runs; each request does that again when none could be started."""
        if self._closing.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name=f"await-{self._profile}", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                log.error("the signer of profile %r cannot be tried again now: %s", self._profile, error)  # noqa: TRY400 - no traceback
                return
            self._thread = thread

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        # Not all processes and servers at the same moment.
        while not self._closing.wait(pause * random.uniform(0.75, 1.25)):  # noqa: S311 - spreads load, protects nothing
            try:
                signer = self._open()
            except TsaError as error:
                self._note(" ".join(str(error).split()))
            except Exception as error:
                self._note(f"{type(error).__name__}: {error}")
                log.debug("the signer of profile %r cannot be opened", self._profile, exc_info=True)
            else:
                with self._lock:
                    self._signer = signer
                    closing = self._closing.is_set()
                if closing:
                    signer.close()
                else:
                    log.warning("profile %s: the signer has been reached", self._profile)
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _open(self) -> Signer:
        signer = self._opens()
        try:
            where = f"profiles.{self._profile}.signer"
            if public_key_info(signer.public_key) != public_key_info(self._public_key):
                raise KeyMismatch(
                    f"{where}: the signer's key (SHA-256 {key_fingerprint(signer.public_key)}) is not the one that the "
                    f"certificate certifies (SHA-256 {key_fingerprint(self._public_key)}); give the chain that was "
                    "issued for this key, or the other key"
                )
            if signer.algorithm != self._algorithm:
                raise SignerError(
                    f"{where}: the signer signs with {signer.algorithm.name}, and this server has started for "
                    f"{self._algorithm.name}; restart it, or say signer_hash and rsa_pss as the key demands"
                )
        except BaseException:
            signer.close()
            raise
        return signer

    def _note(self, failure: str) -> None:
        """Log why it cannot be opened, when that has changed."""
        if failure != self._failure:
            log.error("profile %s: the signer cannot be opened: %s", self._profile, failure)
        self._failure = failure
