"""The kinds of things that plugins provide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tsa_core.api import (
    AuditSink,
    CertificateAuthority,
    Clock,
    ClockMonitor,
    HealthCheck,
    KeyEncryptionKey,
    Observer,
    PolicySelector,
    ResponseProcessor,
    Signer,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of thing that plugins provide, and where its settings stand."""

    name: str
    """In the names of distributions: tsa-NAME-..."""
    label: str
    hook: str
    section: str
    """The settings table that holds the plugin's own: [SECTION.PLUGIN]."""
    close: str = "close"
    keeps: bool = True
    """Whether a reload keeps what is open already when its settings are the same."""
    users_table: str = ""
    """Of what other plugins use: where in their tables its settings stand, `signer.PLUGIN.kek` for example."""

    def table(self, provider: str) -> str:
        """Return the name of the settings table of a provider of this kind."""
        return self.users_table or f"{self.section}.{provider}"


SIGNER: Kind[Signer] = Kind("signer", "signer", "tsa_signers", "signer", keeps=False)
CLOCK: Kind[Clock] = Kind("clock", "clock source", "tsa_clocks", "clock")
CLOCK_MONITOR: Kind[ClockMonitor] = Kind("monitor", "clock monitor", "tsa_clock_monitors", "clock", close="stop")
POLICY_SELECTOR: Kind[PolicySelector] = Kind("policy", "policy selector", "tsa_policy_selectors", "policy", keeps=False)
RESPONSE_PROCESSOR: Kind[ResponseProcessor] = Kind(
    "response", "response processor", "tsa_response_processors", "response"
)
AUDIT_SINK: Kind[AuditSink] = Kind("audit", "audit sink", "tsa_audit_sinks", "audit")
OBSERVER: Kind[Observer] = Kind("observer", "observer", "tsa_observers", "observe")
HEALTH_CHECK: Kind[HealthCheck] = Kind("health", "health check", "tsa_health_checks", "health")
CERTIFICATE_AUTHORITY: Kind[CertificateAuthority] = Kind(
    "ca", "certificate authority", "tsa_certificate_authorities", "certificate_authority"
)
KEK: Kind[KeyEncryptionKey] = Kind("kek", "key encryption key", "tsa_keks", "kek", users_table="signer.PLUGIN.kek")

KINDS: tuple[Kind[Any], ...] = (
    SIGNER,
    CLOCK,
    CLOCK_MONITOR,
    POLICY_SELECTOR,
    RESPONSE_PROCESSOR,
    AUDIT_SINK,
    OBSERVER,
    HEALTH_CHECK,
    CERTIFICATE_AUTHORITY,
    KEK,
)
