"""The NTP monitor: time servers that are asked without a proof of who answers (RFC 5905)."""

from __future__ import annotations

import time
from functools import partial

import ntplib

from tsa_core.api import Clock, ConfigError
from tsa_core.api.ntp.monitor import TimeServerMonitor
from tsa_core.api.ntp.query import Question, Sample, TimeServer, parse_server, query
from tsa_monitor_ntp.options import NtpOptions

NTP_PORT = 123
_new_packet = partial(ntplib.NTPPacket, version=4, mode=3)
"""Makes a client's packet.

ntplib's NTPClient would send the local time in it, and take any packet of the server's address for the answer.
"""


class NtpServer(TimeServer):
    """Asks one server. `max_distance`, in seconds, is what an answer may be off at most to be of use."""

    def __init__(self, name: str, host: str, port: int, *, max_distance: float) -> None:
        super().__init__(name, host, port)
        self._host = host
        self._port = port
        self._max_distance = max_distance

    def ask(self, clock: Clock, *, timeout: float) -> Sample:
        """Ask for the time once; raises NoUsableAnswer."""
        deadline = time.monotonic() + timeout
        question = Question(_new_packet)
        return query(self._host, self._port, question, clock, deadline=deadline, max_distance=self._max_distance)


class NtpMonitor(TimeServerMonitor):
    """Asks NTP servers and believes their majority.

    Raises ConfigError for a server's name that cannot be read or is listed twice, or a metrics port that is taken.
    """

    def __init__(self, options: NtpOptions) -> None:
        servers = [_open(text, options) for text in dict.fromkeys(options.servers)]
        super().__init__(servers, options, kind="ntp", described="NTP servers, not authenticated")


def _open(text: str, options: NtpOptions) -> NtpServer:
    try:
        host, port = parse_server(text, default_port=NTP_PORT)
    except ValueError as error:
        raise ConfigError(str(error), path="clock.ntp.servers") from None
    return NtpServer(text, host, port, max_distance=options.max_root_distance.total_seconds())
