"""Says in words that the system gives a server no thread or no memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tsa_core.api import UnavailableError

log = logging.getLogger(__name__)

NO_THREAD = "can't start new thread"
"""What Python says when the system refuses a thread, in a RuntimeError."""


@contextmanager
def limits_in_words() -> Iterator[None]:
    """Raise UnavailableError for a thread or memory that is refused inside, where the server cannot do without."""
    try:
        yield
    except RuntimeError as error:
        if NO_THREAD not in str(error):
            raise
        log.debug("a thread was refused", exc_info=True)
        raise UnavailableError(
            "the system refuses a thread that the server cannot do without; allow more processes and threads (ulimit "
            "-u, systemd's TasksMax, a container's pids limit), or more memory"
        ) from None
    except MemoryError:
        raise UnavailableError(
            "the memory does not suffice for the server; allow more (ulimit -v, systemd's MemoryMax)"
        ) from None
