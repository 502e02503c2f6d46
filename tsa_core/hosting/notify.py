"""Tells systemd, or whoever set NOTIFY_SOCKET, how the server is: sd_notify(3), which is one datagram.

Without NOTIFY_SOCKET nothing happens. What cannot be sent is logged and stops nobody. Only the process that said that
it is ready says more: workers that were forked from it share its environment, but are not the service.
"""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)

_SOCKET_VARIABLE = "NOTIFY_SOCKET"
_service: int | None = None
"""The process that said READY=1."""


def notify_ready(status: str = "") -> None:
    """Say that requests are answered, at first or again after a reload; `status` is one line for people."""
    global _service  # noqa: PLW0603 - the service manager knows one service to a process
    _service = os.getpid()
    _send("READY=1", f"STATUS={_one_line(status)}")


def notify_reloading() -> None:
    """Say that a reload has begun; `notify_ready` ends it."""
    if _service == os.getpid():
        # systemd asks for the time, so as to tell this reload from the one before.
        _send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> None:
    """Say that the end has begun; safe in a signal handler."""
    if _service == os.getpid():
        _send("STOPPING=1")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _send(*assignments: str) -> None:
    address = os.environ.get(_SOCKET_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            # A service manager that does not read must not hold up the server.
            datagram.setblocking(False)
            datagram.sendto("\n".join(assignments).encode("utf-8"), address)
    except OSError as error:
        log.warning("cannot tell the service manager %s: %s", assignments[0], error)
