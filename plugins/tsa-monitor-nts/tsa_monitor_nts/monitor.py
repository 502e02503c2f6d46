"""The NTS monitor: the rounds of the NTP monitor, with servers that prove who they are."""

from __future__ import annotations

import ipaddress
import re

from tsa_core.api import ConfigError
from tsa_core.api.ntp.monitor import TimeServerMonitor
from tsa_core.api.ntp.options import check_rounds
from tsa_core.api.ntp.query import parse_server
from tsa_monitor_nts.key_exchange import KeyExchange, trusting
from tsa_monitor_nts.options import NtsOptions
from tsa_monitor_nts.server import NtsServer

_TABLE = "clock.nts"
_KEY_EXCHANGE_PORT = 4460
_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)


class NtsMonitor(TimeServerMonitor):
    """Asks NTP servers by NTS and believes their majority.

    Raises ConfigError for a server's name that cannot be read or is listed twice, CAs that cannot be read, or a metrics
    port that is taken.
    """

    def __init__(self, options: NtsOptions) -> None:
        check_rounds(options, options.servers, where=_TABLE)
        context = trusting(options.ca, where=f"{_TABLE}.ca")
        servers = []
        for text in dict.fromkeys(options.servers):
            host, port = _parse(text)
            servers.append(
                NtsServer(
                    text,
                    KeyExchange(host, port, context),
                    pause=options.key_exchange_pause.total_seconds(),
                    max_distance=options.max_root_distance.total_seconds(),
                )
            )
        super().__init__(servers, options, kind="nts", described="NTP servers, authenticated by NTS")


def _parse(text: str) -> tuple[str, int]:
    """Return host and port; the host as certificates have it, ASCII."""
    try:
        host, port = parse_server(text, default_port=_KEY_EXCHANGE_PORT)
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        if ":" in host:
            ipaddress.ip_address(host)
        elif not _NAME.fullmatch(host):
            raise ValueError(f"{text!r} is no time server: certificates have no such name")
    except ValueError as error:
        reason = str(error) if "time server" in str(error) else f"{text!r} is no time server: {error}"
        raise ConfigError(reason, path=f"{_TABLE}.servers") from None
    return host, port
