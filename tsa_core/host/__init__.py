"""Finds, checks, opens and closes plugins; the only package that uses pluggy, beside hookspecs."""

from tsa_core.host.at_work import plugins_at_work
from tsa_core.host.closing import CLOSE_SECONDS
from tsa_core.host.discovery import COMMAND_GROUP, CORE_DISTRIBUTION, GROUP, InstalledPlugin, installed_plugins
from tsa_core.host.host import PluginHost
from tsa_core.host.kinds import (
    AUDIT_SINK,
    CERTIFICATE_AUTHORITY,
    CLOCK,
    CLOCK_MONITOR,
    GUARD,
    HEALTH_CHECK,
    KEK,
    KINDS,
    OBSERVER,
    POLICY_SELECTOR,
    RESPONSE_PROCESSOR,
    ROUTES,
    SIGNER,
    Kind,
)

__all__ = [
    "AUDIT_SINK",
    "CERTIFICATE_AUTHORITY",
    "CLOCK",
    "CLOCK_MONITOR",
    "CLOSE_SECONDS",
    "COMMAND_GROUP",
    "CORE_DISTRIBUTION",
    "GROUP",
    "GUARD",
    "HEALTH_CHECK",
    "KEK",
    "KINDS",
    "OBSERVER",
    "POLICY_SELECTOR",
    "RESPONSE_PROCESSOR",
    "ROUTES",
    "SIGNER",
    "InstalledPlugin",
    "Kind",
    "PluginHost",
    "installed_plugins",
    "plugins_at_work",
]
