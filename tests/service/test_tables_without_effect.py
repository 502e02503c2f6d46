"""The settings table of a plugin that nothing selects is an error with the line that is missing."""

from __future__ import annotations

import pytest

from tsa_core.api import ConfigError
from tsa_core.config import Settings
from tsa_core.host import InstalledPlugin, PluginHost
from tsa_core.service import Service

DISTRIBUTIONS = {
    "ledger": "tsa-audit-ledger",
    "keeper": "tsa-response-keeper",
    "network": "tsa-policy-network",
    "spans": "tsa-observer-spans",
    "disk": "tsa-health-disk",
    "portal": "tsa-routes-portal",
    "keys": "tsa-guard-keys",
    "gps": "tsa-clock-gps",
    "sntp": "tsa-monitor-sntp",
    "acme": "acme-timestamps",
    "hsm": "tsa-signer-hsm",
}


def refusal(**sections: object) -> str:
    """What a service says of these settings; none of the plugins is imported for that."""
    installed = {
        name: [InstalledPlugin(name=name, module="no_such_module", distribution=distribution, version="1.0")]
        for name, distribution in DISTRIBUTIONS.items()
    }
    values: dict[str, object] = {"profiles": {"default": {"signer": "memory:"}}, **sections}
    settings = Settings(**values)
    with pytest.raises(ConfigError) as caught:
        Service(settings, host=PluginHost(installed))
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "name", "line"),
    [
        ("audit", "ledger", 'add to [audit]: sinks = ["ledger"]'),
        ("response", "keeper", 'add to [response]: processors = ["keeper"]'),
        ("policy", "network", 'add to [policy]: selectors = ["oid", "network"]'),
        ("observe", "spans", 'add to [observe]: observers = ["spans"]'),
        ("health", "disk", 'add to [health]: checks = ["disk"]'),
        ("middleware", "keys", 'add to [middleware]: guards = ["keys"]'),
        ("routes", "portal", 'add to [routes]: plugins = ["portal"]'),
        ("clock", "gps", 'add to [clock]: source = "gps"'),
        ("clock", "sntp", 'add to [clock]: monitors = ["sntp"]'),
        ("clock", "acme", 'add to [clock]: monitors = ["acme"] (or source = "acme")'),
        (
            "signer",
            "hsm",
            'let a profile sign with it: signer = "hsm:..."; for keys of certificates, write [certificate_signer.hsm]',
        ),
    ],
)
def test_unselected_table_is_an_error_with_the_line_to_add(section: str, name: str, line: str) -> None:
    message = refusal(**{section: {name: {}}})
    assert message == (
        f"[{section}.{name}] has no effect, because nothing selects '{name}'; {line}, or remove the table"
    )


def test_line_keeps_what_is_selected_already() -> None:
    assert 'sinks = ["other", "ledger"]' in refusal(audit={"sinks": ["other"], "ledger": {}})


def test_table_of_a_plugin_that_is_not_installed_says_so() -> None:
    message = refusal(audit={"ledgre": {}})
    assert message.startswith("[audit.ledgre] is the table of a plugin that is not installed; installed: acme, ")


def test_tables_for_the_commands_that_make_certificates_are_left_alone() -> None:
    """The complaint is about another table, which is looked at later."""
    assert "[health.disk]" in refusal(
        certificate_signer={"hsm": {}}, certificate_authority={"acme": {}}, health={"disk": {}}
    )


def test_monitor_that_is_listed_and_disabled_keeps_its_table() -> None:
    """The complaint is about another table, which is looked at later."""
    clock = {"monitors": ["sntp"], "disabled_monitors": ["sntp"], "sntp": {}}
    assert "[audit.ledger]" in refusal(clock=clock, audit={"ledger": {}})
