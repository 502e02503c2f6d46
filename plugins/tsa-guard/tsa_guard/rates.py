"""Counts requests, with the library limits: in memory, or in Redis for all servers."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Final

from limits import RateLimitItem, parse
from limits.errors import ConfigurationError, StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from tsa_core.api import ConfigError, GuardRefusal, HealthStatus, TsaError
from tsa_guard.memory import SweptMemory
from tsa_guard.options import GuardOptions

log = logging.getLogger(__name__)

_QUOTA_SECONDS: Final = 3600
"""From here on a limit is a quota, and counted from one fixed time to the next: the first of a window, UTC."""
_WARNING_SECONDS: Final = 10.0


class CannotCount(TsaError):
    """The storage does not answer."""


class Rate:
    """One limit, counted for each name by itself."""

    def __init__(self, text: str, limiter: RateLimiter) -> None:
        self.item: RateLimitItem = parse(text)
        self.limiter = limiter
        self.text = str(self.item)


class Rates:
    """Makes limits from texts, and counts requests against them."""

    def __init__(self, options: GuardOptions) -> None:
        self._allow = options.on_storage_failure == "allow"
        self._next_warning = 0.0
        try:
            self._storage = _open_storage(options)
        except ConfigurationError:
            raise ConfigError(
                "for redis, install tsa-guard[redis] in place of tsa-guard", path="middleware.guard.storage"
            ) from None
        except ValueError:
            # What it says may have the password in it.
            raise ConfigError("this address of a storage is wrong", path="middleware.guard.storage") from None
        self._sliding = SlidingWindowCounterRateLimiter(self._storage)
        self._fixed = FixedWindowRateLimiter(self._storage)

    def make(self, texts: Sequence[str]) -> tuple[Rate, ...]:
        """Return the limits of these texts, the shortest first."""
        items = sorted(texts, key=lambda text: parse(text).get_expiry())
        return tuple(
            Rate(text, self._fixed if parse(text).get_expiry() >= _QUOTA_SECONDS else self._sliding) for text in items
        )

    def health(self) -> HealthStatus:
        """Return whether requests can be counted; when they are served all the same, it does not matter."""
        if self._allow or self._storage.check():
            return HealthStatus(healthy=True)
        return HealthStatus(healthy=False, reason="requests cannot be counted: the storage does not answer")

    def count(self, rates: Sequence[Rate], *name: str) -> GuardRefusal | None:
        """Count a request; return the refusal when a limit is reached. Raises CannotCount."""
        parts = _parts(name)
        try:
            for rate in rates:
                if not rate.limiter.hit(rate.item, *parts):
                    return self._refusal(rate, parts)
        except StorageError as error:
            self._cannot_count(error)
        return None

    def reached(self, rates: Sequence[Rate], *name: str) -> GuardRefusal | None:
        """Return the refusal when a limit is reached already, without counting. Raises CannotCount."""
        parts = _parts(name)
        try:
            for rate in rates:
                if not rate.limiter.test(rate.item, *parts):
                    return self._refusal(rate, parts)
        except StorageError as error:
            self._cannot_count(error)
        return None

    def _cannot_count(self, error: StorageError) -> None:
        if not self._allow:
            raise CannotCount(f"requests cannot be counted: {type(error.storage_error).__name__}") from None
        self._warn(error)

    @staticmethod
    def _refusal(rate: Rate, parts: tuple[str, ...]) -> GuardRefusal:
        reset = rate.limiter.get_window_stats(rate.item, *parts).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        return GuardRefusal(
            status=429,
            text=f"too many requests: the limit is {rate.text}; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )

    def close(self) -> None:
        """End the thread that forgets counts."""
        if isinstance(self._storage, SweptMemory):
            self._storage.close()

    def _warn(self, error: StorageError) -> None:
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_SECONDS
            log.warning(
                "requests are not limited, because they cannot be counted: %s", type(error.storage_error).__name__
            )


def _parts(name: tuple[str, ...]) -> tuple[str, ...]:
    """Return a name's parts without slashes, which the library puts between them: no two names have one count."""
    return tuple(part.replace("%", "%25").replace("/", "%2F") for part in name)


def _open_storage(options: GuardOptions) -> Storage:
    if options.storage is None:
        return SweptMemory()
    seconds = options.storage_timeout.total_seconds()
    # A request does not wait while a library tries again: the client may do that.
    return storage_from_string(  # type: ignore[return-value] # async ones have other schemes
        options.storage.get_secret_value(),
        wrap_exceptions=True,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=None,  # type: ignore[arg-type] # the types know texts and numbers
        retry_on_timeout=False,
    )
