"""The guard: who is it, may they, and not too often."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Literal

from tsa_core.api import (
    ConfigError,
    Guard,
    GuardedRequest,
    GuardRefusal,
    HealthStatus,
    Identity,
    ProfileSummary,
)
from tsa_guard.bearer import BearerTokens
from tsa_guard.client_certificates import ClientCertificateReader
from tsa_guard.key_file import PREFIX, ApiKey, key_id, matches, read_keys
from tsa_guard.options import GuardOptions, Tenant
from tsa_guard.rates import Rate, Rates
from tsa_guard.watched_files import WatchedFiles

_HEADERS: Final = {"WWW-Authenticate": 'Bearer realm="timestamps", Basic realm="timestamps"'}
_MAX_CREDENTIAL: Final = 16_384
_IPV6_PREFIX: Final = 64


class _Tenant:
    """What a tenant may do, ready to be counted."""

    def __init__(self, settings: Tenant, rates: Rates) -> None:
        self.profiles = None if settings.profiles is None else frozenset(settings.profiles)
        self.policies = None if settings.policies is None else frozenset(settings.policies)
        self.together: tuple[Rate, ...] = rates.make(settings.limits)
        self.each: tuple[Rate, ...] = rates.make(settings.client_limits)


class TenantGuard(Guard):
    """Knows clients by API keys, bearer tokens and certificates, in this order, and counts their requests."""

    def __init__(
        self,
        options: GuardOptions,
        *,
        keys: WatchedFiles[dict[str, ApiKey]] | None,
        tokens: BearerTokens | None,
        certificates: ClientCertificateReader | None,
    ) -> None:
        self.latency: Literal["local", "remote"] = "remote" if options.shared else "local"
        self._keys = keys
        self._tokens = tokens
        self._certificates = certificates
        self._rates = Rates(options)
        self._tenants = {name: _Tenant(tenant, self._rates) for name, tenant in options.tenants.items()}
        self._each = self._rates.make(options.client_limits)
        self._failed = self._rates.make(options.failed_limits)
        self._anonymous = options.anonymous == "allow"
        self._anonymous_rates = self._rates.make(options.anonymous_limits)
        profiles = options.anonymous_profiles
        self._named = [(f"tenants.{name}.profiles", frozenset(t.profiles or ())) for name, t in options.tenants.items()]
        self._named.append(("anonymous_profiles", frozenset(profiles or ())))
        self._stranger = (
            None if profiles is None else Identity(name="anonymous", how="none", profiles=frozenset(profiles))
        )

    def bind(self, profiles: Sequence[ProfileSummary]) -> None:
        """Refuse profiles that the settings name and that do not exist; raises ConfigError."""
        there = {profile.name for profile in profiles}
        for path, names in self._named:
            if unknown := sorted(names - there):
                raise ConfigError(
                    f"there is no profile {unknown[0]!r}; there are: {', '.join(sorted(there))}",
                    path=f"middleware.guard.{path}",
                )
        for name, tenant in self._tenants.items():
            offered = {
                policy
                for profile in profiles
                if tenant.profiles is None or profile.name in tenant.profiles
                for policy in profile.policies
            }
            if unknown := sorted((tenant.policies or frozenset()) - offered):
                raise ConfigError(
                    f"no profile of this tenant has the policy {unknown[0]!r}; they have: {', '.join(sorted(offered))}",
                    path=f"middleware.guard.tenants.{name}.policies",
                )

    def health(self) -> HealthStatus:
        """Return whether requests can be counted, where that decides who may pass."""
        return self._rates.health()

    def check(self, request: GuardedRequest) -> Identity | GuardRefusal | None:
        """Return who sends a request, or why it is refused; raises CannotCount."""
        try:
            identity = self._who(request)
        except _Refused as refused:
            return self._rates.count(self._failed, "failed", _network(request)) or GuardRefusal(
                status=401, text=str(refused), headers=_HEADERS
            )
        except _Unseen as unseen:
            return unseen.refusal
        if identity is None:
            if not self._anonymous:
                text = "say who you are: send your API key as X-API-Key, as bearer token, or as password"
                return GuardRefusal(status=401, text=text, headers=_HEADERS)
            return self._rates.count(self._anonymous_rates, "address", _network(request)) or self._stranger
        if not identity.tenant:
            return _of(identity, self._rates.count(self._each, "client", identity.how, identity.name)) or identity
        tenant = self._tenants.get(identity.tenant)
        if tenant is None:
            text = f"the tenant {identity.tenant} is not served here"
            return GuardRefusal(status=403, text=text, identity=identity)
        refusal = self._rates.count(
            tenant.each, "client", identity.tenant, identity.how, identity.name
        ) or self._rates.count(tenant.together, "tenant", identity.tenant)
        return _of(identity, refusal) or replace(identity, profiles=tenant.profiles, policies=tenant.policies)

    def _who(self, request: GuardedRequest) -> Identity | None:
        """Return whose credential this is, None when there is none; raises _Refused for one that does not count."""
        given = request.header("X-API-Key")
        if given:
            return self._by_key(given.strip())
        scheme, _, credential = (request.header("Authorization") or "").strip().partition(" ")
        credential = credential.strip()
        if not scheme:
            return self._by_certificate(request)
        if len(credential) > _MAX_CREDENTIAL:
            raise _Refused("the credential is too long")
        if scheme.lower() == "basic":
            return self._by_key(_password(credential))
        if scheme.lower() != "bearer":
            raise _Refused("use Bearer or Basic authentication")
        if credential.startswith(PREFIX) or self._tokens is None:
            return self._by_key(credential)
        known = self._tokens.known(credential)
        if known is not None:
            return known
        self._may_fail(request)
        try:
            return self._tokens.identity(credential)
        except ValueError as error:
            raise _Refused(str(error)) from None

    def _by_certificate(self, request: GuardedRequest) -> Identity | None:
        if self._certificates is None:
            return None
        given: str | bytes | None = request.client_certificate
        if not given and self._certificates.trusts(request.client_address):
            given = request.header(self._certificates.header)
        if not given:
            return None
        known = self._certificates.known(given)
        if known is not None:
            return known
        self._may_fail(request)
        try:
            return self._certificates.identity(given)
        except ValueError as error:
            raise _Refused(str(error)) from None

    def _may_fail(self, request: GuardedRequest) -> None:
        """Raise _Unseen when an address has shown too much that did not count: to check more of it would cost."""
        refusal = self._rates.reached(self._failed, "failed", _network(request))
        if refusal is not None:
            raise _Unseen(refusal)

    def _by_key(self, text: str) -> Identity:
        identifier = key_id(text)
        key = self._keys.value.get(identifier) if self._keys is not None and identifier else None
        if key is None or not matches(key, text):
            raise _Refused("this API key is not known here")
        state = key.state(datetime.now(UTC))
        if state != "valid":
            raise _Refused(f"this API key is {state}")
        return Identity(name=key.name, tenant=key.tenant, how="api-key")

    def close(self) -> None:
        """End the threads that read keys and forget counts."""
        self._rates.close()
        if self._keys is not None:
            self._keys.close()
        if self._tokens is not None:
            self._tokens.close()
        if self._certificates is not None:
            self._certificates.close()


def _of(identity: Identity, refusal: GuardRefusal | None) -> GuardRefusal | None:
    """Return a refusal that says whose it is."""
    return replace(refusal, identity=identity) if refusal is not None else None


class _Unseen(Exception):
    """A credential that is not looked at, because its address has shown too many that did not count."""

    def __init__(self, refusal: GuardRefusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


class _Refused(Exception):
    """A credential that does not count; its text is for the client."""


def _password(credential: str) -> str:
    """Return the password of Basic authentication (RFC 7617); raises _Refused."""
    try:
        return base64.b64decode(credential, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        raise _Refused("the Basic credential is not base64 of NAME:KEY") from None


def _network(request: GuardedRequest) -> str:
    """Return what a client without a key is counted by: its address, of IPv6 the network that one customer has."""
    try:
        address = ipaddress.ip_address(request.client_address.partition("%")[0])
    except ValueError:
        return request.client_address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def open_guard(options: GuardOptions) -> TenantGuard:
    """Return the guard; raises ConfigError, or UnavailableError when an identity provider does not answer."""
    with ExitStack() as stack:
        keys = tokens = certificates = None
        if options.keys is not None:
            keys = WatchedFiles("the API keys", [options.keys], partial(read_keys, options.keys))
            stack.callback(keys.close)
        if options.jwt is not None:
            tokens = BearerTokens(options.jwt)
            stack.callback(tokens.close)
        if options.client_certificates is not None:
            certificates = ClientCertificateReader(options.client_certificates)
            stack.callback(certificates.close)
        guard = TenantGuard(options, keys=keys, tokens=tokens, certificates=certificates)
        stack.pop_all()
    return guard
