"""The connection limit, and the operating system's limit on open files."""

from __future__ import annotations

import logging
import resource

from tsa_core.config import ServerSettings

log = logging.getLogger(__name__)

_OTHER_FILES = 128
"""Reserved for listening sockets, keys, logs and the plugins' connections."""
_MANY = 1_000_000


def allow_many_open_files() -> None:
    """Raise the soft limit on open files to the hard one: each connection is one, and the default is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard == resource.RLIM_INFINITY else min(hard, _MANY)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            log.debug("the limit on open files stays at %d: %s", soft, error)


def connection_limit(settings: ServerSettings) -> int:
    """Return the connection limit: that of the settings, or fewer if the limit on open files requires that."""
    return min(settings.connection_limit or _MANY, _possible())


def accept_limit(settings: ServerSettings) -> int:
    """Return how many connections a server accepts that closes those beyond its limit a moment later."""
    return min(2 * connection_limit(settings), _possible())


def _possible() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY if soft == resource.RLIM_INFINITY else max(16, min(soft, _MANY) - _OTHER_FILES)
