"""The kinds of things that plugins provide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tsa_core.api import (
    AuditSink,
    CertificateAuthority,
    CertificateAuthorityOptions,
    Clock,
    ClockMonitor,
    Guard,
    HealthCheck,
    KekOptions,
    KeyEncryptionKey,
    Observer,
    PluginOptions,
    PolicySelector,
    ResponseProcessor,
    Routes,
    Signer,
    SignerOptions,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of thing that plugins provide, and where its settings stand."""

    name: str
    """In the names of distributions: tsa-NAME-..."""
    label: str
    hook: str
    base: type[Any]
    """The class, T, whose objects `open` returns."""
    section: str
    """The settings table that holds the plugin's own: [SECTION.PLUGIN]."""
    options: type[PluginOptions] = PluginOptions
    """The class that the models of their settings derive from."""
    close: str = "close"
    keeps: bool = True
    """Whether a reload keeps what is open already when its settings are the same."""
    other_schemes_hook: str = ""
    """The hook of plugins that provide this kind for schemes that no plugin is named after."""
    users_table: str = ""
    """Of what other plugins use: where in their tables its settings stand, `signer.PLUGIN.kek` for example."""

    def table(self, provider: str) -> str:
        """Return the name of the settings table of a provider of this kind."""
        return self.users_table or f"{self.section}.{provider}"


SIGNER: Kind[Signer] = Kind(
    "signer",
    "signer",
    "tsa_signers",
    Signer,
    "signer",
    options=SignerOptions,
    keeps=False,
    other_schemes_hook="tsa_signers_of_scheme",
)
CLOCK: Kind[Clock] = Kind("clock", "clock source", "tsa_clocks", Clock, "clock")
CLOCK_MONITOR: Kind[ClockMonitor] = Kind(
    "monitor", "clock monitor", "tsa_clock_monitors", ClockMonitor, "clock", close="stop"
)
POLICY_SELECTOR: Kind[PolicySelector] = Kind(
    "policy", "policy selector", "tsa_policy_selectors", PolicySelector, "policy", keeps=False
)
RESPONSE_PROCESSOR: Kind[ResponseProcessor] = Kind(
    "response", "response processor", "tsa_response_processors", ResponseProcessor, "response"
)
AUDIT_SINK: Kind[AuditSink] = Kind("audit", "audit sink", "tsa_audit_sinks", AuditSink, "audit")
OBSERVER: Kind[Observer] = Kind("observer", "observer", "tsa_observers", Observer, "observe")
HEALTH_CHECK: Kind[HealthCheck] = Kind("health", "health check", "tsa_health_checks", HealthCheck, "health")
ROUTES: Kind[Routes] = Kind("routes", "routes plugin", "tsa_routes", Routes, "routes", keeps=False)
GUARD: Kind[Guard] = Kind("guard", "guard", "tsa_middleware", Guard, "middleware")
CERTIFICATE_AUTHORITY: Kind[CertificateAuthority] = Kind(
    "ca",
    "certificate authority",
    "tsa_certificate_authorities",
    CertificateAuthority,
    "certificate_authority",
    options=CertificateAuthorityOptions,
)
KEK: Kind[KeyEncryptionKey] = Kind(
    "kek",
    "key encryption key",
    "tsa_keks",
    KeyEncryptionKey,
    "kek",
    options=KekOptions,
    users_table="signer.PLUGIN.kek",
)

KINDS: tuple[Kind[Any], ...] = (
    SIGNER,
    CLOCK,
    CLOCK_MONITOR,
    POLICY_SELECTOR,
    RESPONSE_PROCESSOR,
    AUDIT_SINK,
    OBSERVER,
    HEALTH_CHECK,
    ROUTES,
    GUARD,
    CERTIFICATE_AUTHORITY,
    KEK,
)
