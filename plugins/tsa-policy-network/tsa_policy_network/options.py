"""The settings of `[policy.network]`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from tsa_core.api import PluginOptions, TextList

_MAPPED = IPv6Network("::ffff:0:0/96")


def _network(value: object) -> IPv4Network | IPv6Network | str:
    """Return the network that a text in CIDR notation means; an IPv4-mapped one becomes the IPv4 network."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if str(value).strip() == "unix":
        return "unix"
    try:
        network = ip_network(str(value).strip())
    except ValueError as error:
        raise ValueError(f"{error}; write an address or a network, 192.0.2.0/24 or 2001:db8::/32, or unix") from None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _networks(value: object) -> object:
    """Let a list be given as one text with commas, as environment variables need it."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Network: TypeAlias = IPv4Network | IPv6Network | Literal["unix"]
"""A network, or whoever connects to a Unix socket."""
Networks: TypeAlias = Annotated[list[Annotated[Network, BeforeValidator(_network)]], BeforeValidator(_networks)]


class NetworkRule(PluginOptions):
    """`[[policy.network.rules]]`: what clients in some networks get."""

    networks: Networks = Field(
        min_length=1, description="addresses and networks in CIDR notation; unix: clients of a Unix socket"
    )
    profiles: TextList = Field(
        default_factory=list, description="profiles that these clients may use, the first unless they ask for another"
    )
    refuse: bool = Field(False, description="refuse these clients")

    @model_validator(mode="after")
    def _one_consequence(self) -> Self:
        if self.refuse and self.profiles:
            raise ValueError("a rule either refuses or names profiles")
        return self


class NetworkOptions(PluginOptions):
    """`[policy.network]`."""

    rules: list[NetworkRule] = Field(
        min_length=1,
        description="tables with networks and profiles, or refuse = true, or neither to ask the next selector; the "
        "first that matches counts",
    )
    otherwise: Literal["next", "refuse"] = Field(
        "next",
        description="what becomes of clients that no rule matches: ask the next selector, or refuse; clients whose "
        "network cannot be known are always refused",
    )
    trusted_proxies: Networks = Field(
        default_factory=list,
        description="reverse proxies whose X-Forwarded-For is believed, unix for those that connect to a Unix socket; "
        "from all others it is ignored",
    )
    refusal: str = Field(
        "requests from your network are not accepted here; ask the operator of this service for access",
        min_length=1,
        max_length=200,
        description="what a refused requester is told",
    )
