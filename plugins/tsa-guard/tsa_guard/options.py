"""The settings of `[middleware.guard]`."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import IPv6Network, ip_network
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tsa_core.api import ConfigPath, Duration, PluginOptions, Secret, TextList

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those with a public key; a secret shared with an identity provider is nothing for a timestamp server."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NO_TIME: Final = re.compile(r"(?:/|per)\s*0+(?![0-9])", re.IGNORECASE)
"""A limit for 0 seconds, of which the library makes one for a second."""


def parse_limits(texts: list[str]) -> list[str]:
    """Return the texts when each is one limit, such as `10/second` or `100000 per day`, and none is there twice.

    Raises ValueError.
    """
    from limits import RateLimitItem, parse_many

    known: set[RateLimitItem] = set()
    for text in texts:
        try:
            limit, *others = parse_many(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is no limit; write 10/second, 100 per 10 seconds, 100000/day or 1000000/month"
            ) from None
        if others:
            # The library takes several in one text, and `parse` returns the first of them.
            raise ValueError(f"{text!r} is {len(others) + 1} limits; make each a text of its own in the list")
        if _NO_TIME.search(text):
            raise ValueError(f"{text!r} is no limit: it is for no time at all")
        if limit in known:
            # Both would have one count, to which each request is added twice.
            raise ValueError(f"{text!r} is there twice; remove one of them")
        known.add(limit)
    return texts


class Tenant(BaseModel):
    """`[middleware.guard.tenants.NAME]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    profiles: TextList | None = Field(None, description="profiles that it may use; all when left out")
    policies: TextList | None = Field(
        None, description="policies, by OID, that its timestamps may have; all when left out"
    )
    limits: TextList = Field(default_factory=list, description="limits for all of its clients together")
    client_limits: TextList = Field(default_factory=list, description="limits for each of its clients")

    _limits = field_validator("limits", "client_limits")(parse_limits)


class Jwt(BaseModel):
    """`[middleware.guard.jwt]`: bearer tokens of an identity provider (RFC 9068, OpenID Connect)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: str = Field(min_length=1, description="the claim iss that tokens must have")
    audience: str = Field(min_length=1, description="the claim aud that tokens must have")
    jwks: ConfigPath | None = Field(None, description="file with the provider's public keys (RFC 7517)")
    jwks_url: str | None = Field(None, description="https address of these keys, in place of the file")
    refresh: Duration = Field(
        timedelta(minutes=5), ge=timedelta(seconds=1), description="how often the keys are read again"
    )
    name_claim: str = Field("sub", description="the claim that names the client")
    tenant_claim: str | None = Field(None, description="the claim that names its tenant")
    algorithms: TextList = Field(
        default_factory=lambda: list(_ALGORITHMS), min_length=1, description="signature algorithms"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks is None) == (self.jwks_url is None):
            raise ValueError("give one of jwks and jwks_url")
        if self.jwks_url is not None and not _is_safe(self.jwks_url):
            raise ValueError("jwks_url must begin with https://, or with http:// and an address of this machine")
        if unknown := sorted(set(self.algorithms) - set(_ALGORITHMS)):
            raise ValueError(f"the algorithm {unknown[0]} cannot be used; choose among {', '.join(_ALGORITHMS)}")
        return self


class ClientCertificates(BaseModel):
    """`[middleware.guard.client_certificates]`: mutual TLS, which this server ends, or a reverse proxy."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    header: str = Field(
        "X-SSL-Client-Cert",
        pattern="^[A-Za-z0-9-]+$",
        description="the header with the certificate: PEM, percent-encoded (nginx: $ssl_client_escaped_cert), or "
        "base64 of DER (HAProxy: ssl_c_der,base64)",
    )
    trusted_proxies: TextList = Field(
        default_factory=list,
        description="proxies whose header is believed, addresses, networks or unix; of others it is ignored; none "
        "where this server does TLS with tls_ca",
    )
    ca: ConfigPath = Field(description="PEM file with the certificates that directly issue clients' certificates")
    crls: list[ConfigPath] = Field(
        default_factory=list,
        description="their revocation lists; with any, each issuer needs one that is not out of date",
    )
    name_from: Literal["CN", "subject", "dns", "email", "uri", "sha256"] = Field(
        "CN",
        description="what names the client: the common name (the subject when there is none), the whole subject, the "
        "first such subject alternative name, or the certificate's SHA-256",
    )
    tenant_from: Literal["none", "O", "OU"] = Field("none", description="what of the subject names the tenant")

    @model_validator(mode="after")
    def _header_needs_proxies(self) -> Self:
        if "header" in self.model_fields_set and not self.trusted_proxies:
            raise ValueError("header has no effect without trusted_proxies")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, texts: list[str]) -> list[str]:
        for text in texts:
            try:
                network = None if text == "unix" else ip_network(text)
            except ValueError:
                raise ValueError(f"{text!r} is no address, no network and not unix") from None
            if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.subnet_of(_MAPPED):
                # A peer's mapped address is compared as the IPv4 address that it is.
                raise ValueError(f"{text!r} has no effect: write the IPv4 address or network that it stands for")
        return texts


def _is_safe(url: str) -> bool:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"})
    )


class GuardOptions(PluginOptions):
    """`[middleware.guard]`."""

    keys: ConfigPath | None = Field(None, description="file of API keys, made by timestamp-server keys new")
    jwt: Jwt | None = Field(None, description="bearer tokens of an identity provider: a table of its own")
    client_certificates: ClientCertificates | None = Field(
        None, description="certificates of clients, over TLS or from a reverse proxy: a table of its own"
    )
    tenants: dict[str, Tenant] = Field(default_factory=dict, description="what tenants may do: a table for each")
    client_limits: TextList = Field(default_factory=list, description="limits for each client without a tenant")
    failed_limits: TextList = Field(
        default_factory=lambda: ["60/minute"],
        description="limits of credentials that do not count, for each address (each /64 of IPv6); none: []",
    )
    anonymous: Literal["refuse", "allow"] = Field(
        "refuse", description="allow: who shows no key is served too, within anonymous_limits"
    )
    anonymous_limits: TextList = Field(
        default_factory=list, description="limits for each address (each /64 of IPv6) without a key"
    )
    anonymous_profiles: TextList | None = Field(None, description="profiles that it may use; all when left out")
    storage: Secret | None = Field(
        None,
        description="redis://HOST:PORT/0 or rediss://...: where all servers count requests together; in each process "
        "by itself when left out",
    )
    storage_timeout: Duration = Field(
        timedelta(milliseconds=500), gt=timedelta(0), description="time for one answer of redis"
    )
    on_storage_failure: Literal["refuse", "allow"] = Field(
        "refuse", description="refuse: 503 while requests cannot be counted; allow: serve without limits, and log it"
    )

    _limits = field_validator("client_limits", "failed_limits", "anonymous_limits")(parse_limits)

    @property
    def shared(self) -> bool:
        """Whether requests are counted outside this process."""
        return self.storage is not None

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        if self.storage and self.storage.get_secret_value().partition("://")[0] not in {"redis", "rediss"}:
            raise ValueError("storage must begin with redis:// or rediss://")
        nobody = self.keys is None and self.jwt is None and self.client_certificates is None
        if nobody and self.anonymous == "refuse":
            raise ValueError('nobody could get in: give keys, jwt or client_certificates, or say anonymous = "allow"')
        for name in ("tenants", "client_limits", "failed_limits"):
            if nobody and name in self.model_fields_set and getattr(self, name):
                raise ValueError(f"{name} has no effect without keys, jwt or client_certificates")
        if self.anonymous == "refuse" and (self.anonymous_limits or self.anonymous_profiles is not None):
            raise ValueError('anonymous_limits and anonymous_profiles have no effect without anonymous = "allow"')
        if not self.shared and (self.on_storage_failure == "allow" or "storage_timeout" in self.model_fields_set):
            raise ValueError("storage_timeout and on_storage_failure have no effect without storage")
        return self
