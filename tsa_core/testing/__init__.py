"""The contract test kit for plugin authors: pip install tsa-core[testing].

Subclass the contract of what the plugin provides, override its fixtures, and pytest runs the demands of the core
against the plugin. See docs/plugins. Nothing here is registered anywhere; opt in to the fixtures with
`pytest_plugins = "tsa_core.testing.pytest_plugin"`.
"""

from __future__ import annotations

import pytest

# Contracts use plain asserts; pytest can only show their values when it knows the modules before they are imported.
pytest.register_assert_rewrite(
    "tsa_core.testing.plugin_contract",
    "tsa_core.testing.signer_contract",
    "tsa_core.testing.tokens",
)

from tsa_core.testing.fakes import (  # noqa: E402 - after the line above, on purpose
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
from tsa_core.testing.pki import KEY_KINDS, Pki, new_key, shared_key, write_pem  # noqa: E402
from tsa_core.testing.plugin_contract import PluginFixtures, ProviderContract  # noqa: E402
from tsa_core.testing.programs import missing, require_program  # noqa: E402
from tsa_core.testing.signer_contract import MESSAGE_SIZES, SignerContract  # noqa: E402
from tsa_core.testing.tokens import (  # noqa: E402
    IssuedToken,
    check_token,
    check_with_openssl,
    encode_request,
    issue_token,
    make_authority,
)

__all__ = [
    "KEY_KINDS",
    "MESSAGE_SIZES",
    "NOON",
    "FailingAuditSink",
    "FailingClock",
    "FailingSigner",
    "FakeMonitor",
    "FakeSigner",
    "FixedClock",
    "IssuedToken",
    "ListAuditSink",
    "ListObserver",
    "Pki",
    "PluginFixtures",
    "ProviderContract",
    "RefusingSigner",
    "SignerContract",
    "SteppingClock",
    "check_token",
    "check_with_openssl",
    "encode_request",
    "issue_token",
    "make_authority",
    "missing",
    "new_key",
    "require_program",
    "shared_key",
    "write_pem",
]
