"""Networks in settings: addresses and CIDR notation."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator

from tsa_core.api.fields import split_text


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value).strip())
    except ValueError as error:
        raise ValueError(f"{error}; write an address or a network, 192.0.2.0/24 or 2001:db8::/32") from None


Networks: TypeAlias = Annotated[
    list[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]], BeforeValidator(split_text)
]
"""A list of networks, or one text with commas, as environment variables need it."""
