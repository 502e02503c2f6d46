"""The contract test kit for plugin authors; its requirements are the core's extra `testing`.

Subclass the contract of what the plugin provides, override its fixtures, and pytest runs the demands of the core
against the plugin. See docs/plugins. Nothing here is registered anywhere; opt in to the fixtures with
`pytest_plugins = "tsa_core.testing.pytest_plugin"`.
"""

from __future__ import annotations

import pytest

# Contracts use plain asserts; pytest can only show their values when it knows the modules before they are imported.
pytest.register_assert_rewrite(
    "tsa_core.testing.ca_contract",
    "tsa_core.testing.clock_contract",
    "tsa_core.testing.guard_contract",
    "tsa_core.testing.health_contract",
    "tsa_core.testing.kek_contract",
    "tsa_core.testing.plugin_contract",
    "tsa_core.testing.policy_contract",
    "tsa_core.testing.record_contract",
    "tsa_core.testing.response_contract",
    "tsa_core.testing.routes_contract",
    "tsa_core.testing.signer_contract",
    "tsa_core.testing.tokens",
    "tsa_core.testing.trail_contract",
)

# ruff: noqa: E402 - the imports must come after the line above
from tsa_core.testing.ca_contract import CertificateAuthorityContract
from tsa_core.testing.clock_contract import ClockContract, ClockMonitorContract, OffsetClock
from tsa_core.testing.fakes import (
    NOON,
    FailingAuditSink,
    FailingClock,
    FailingSigner,
    FakeMonitor,
    FakeSigner,
    FixedClock,
    ListAuditSink,
    ListObserver,
    RefusingSigner,
    SteppingClock,
)
from tsa_core.testing.guard_contract import GuardContract
from tsa_core.testing.health_contract import HealthCheckContract
from tsa_core.testing.kek_contract import KekContract
from tsa_core.testing.key_making_contract import KeyMakingContract
from tsa_core.testing.pki import KEY_KINDS, Pki, new_key, shared_key, write_pem
from tsa_core.testing.plugin_contract import PluginFixtures, ProviderContract
from tsa_core.testing.policy_contract import PolicySelectorContract
from tsa_core.testing.programs import missing, require_package, require_program
from tsa_core.testing.record_contract import AuditSinkContract, ObserverContract, sample_outcome
from tsa_core.testing.relay import Relay
from tsa_core.testing.response_contract import ResponseProcessorContract
from tsa_core.testing.routes_contract import RoutesContract, SampleAccess, sample_route_request
from tsa_core.testing.samples import (
    SAMPLE_POLICY,
    encode_request,
    sample_context,
    sample_draft,
    sample_record,
    sample_refusal,
    sample_request,
)
from tsa_core.testing.server import HttpReply, ServerProcess
from tsa_core.testing.signer_contract import MESSAGE_SIZES, SignerContract
from tsa_core.testing.threads import on_threads
from tsa_core.testing.tokens import (
    IssuedToken,
    check_path_with_openssl,
    check_token,
    check_with_openssl,
    check_with_verifier,
    issue_token,
    make_authority,
)
from tsa_core.testing.trail_contract import TrailContract
from tsa_core.testing.waiting import ends_within, wait_until

__all__ = [
    "KEY_KINDS",
    "MESSAGE_SIZES",
    "NOON",
    "SAMPLE_POLICY",
    "AuditSinkContract",
    "CertificateAuthorityContract",
    "ClockContract",
    "ClockMonitorContract",
    "FailingAuditSink",
    "FailingClock",
    "FailingSigner",
    "FakeMonitor",
    "FakeSigner",
    "FixedClock",
    "GuardContract",
    "HealthCheckContract",
    "HttpReply",
    "IssuedToken",
    "KekContract",
    "KeyMakingContract",
    "ListAuditSink",
    "ListObserver",
    "ObserverContract",
    "OffsetClock",
    "Pki",
    "PluginFixtures",
    "PolicySelectorContract",
    "ProviderContract",
    "RefusingSigner",
    "Relay",
    "ResponseProcessorContract",
    "RoutesContract",
    "SampleAccess",
    "ServerProcess",
    "SignerContract",
    "SteppingClock",
    "TrailContract",
    "check_path_with_openssl",
    "check_token",
    "check_with_openssl",
    "check_with_verifier",
    "encode_request",
    "ends_within",
    "issue_token",
    "make_authority",
    "missing",
    "new_key",
    "on_threads",
    "require_package",
    "require_program",
    "sample_context",
    "sample_draft",
    "sample_outcome",
    "sample_record",
    "sample_refusal",
    "sample_request",
    "sample_route_request",
    "shared_key",
    "wait_until",
    "write_pem",
]
