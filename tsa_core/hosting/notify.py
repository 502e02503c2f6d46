"""Reports the server's state to systemd, or to another service manager that sets NOTIFY_SOCKET: sd_notify(3).

Without NOTIFY_SOCKET nothing is sent. A failure to send is logged and has no other effect. Only the process that has
sent READY=1 sends more: its workers inherit the environment, but are not the service's main process.
"""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)

_SOCKET_VARIABLE = "NOTIFY_SOCKET"
_service: int | None = None
"""The process that has sent READY=1."""
_next_watchdog = 0.0


def notify_ready(status: str = "") -> None:
    """Report that requests are answered, after the start or a reload; `status` is one line for people."""
    global _service  # noqa: PLW0603 - the service manager knows one service to a process
    _service = os.getpid()
    _send("READY=1", f"STATUS={_one_line(status)}")


def notify_reloading() -> None:
    """Report that a reload has begun; `notify_ready` reports its end."""
    if _service == os.getpid():
        # systemd needs the time, to tell this reload from an earlier one.
        _send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> None:
    """Report that the server shuts down; safe in a signal handler."""
    if _service == os.getpid():
        _send("STOPPING=1")


def notify_watchdog() -> None:
    """Report that requests are answered still, twice as often as the service manager wants to hear it, if it does."""
    global _next_watchdog  # noqa: PLW0603 - as above
    period = os.environ.get("WATCHDOG_USEC", "")
    if _service != os.getpid() or not (period.isascii() and period.isdigit()):
        return
    if os.environ.get("WATCHDOG_PID", str(_service)) != str(_service):
        return
    now = time.monotonic()
    if now >= _next_watchdog:
        _next_watchdog = now + int(period) / 2_000_000
        _send("WATCHDOG=1")


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
            # A service manager that does not read must not block the server.
            datagram.setblocking(False)
            datagram.sendto("\n".join(assignments).encode("utf-8"), address)
    except OSError as error:
        log.warning("cannot tell the service manager %s: %s", assignments[0], error)
