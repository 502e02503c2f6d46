"""What the operator is told about a service, and what a worker reports to its parent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from tsa_core.hosting.tls_files import tls_files
from tsa_core.service import Service, selection

Facts: TypeAlias = Mapping[str, Any]
"""Fit for JSON: `warnings`, `files`, `selected` plugins, `clock` and `profiles` of a service; of its server,
`addresses` and `profiling`."""


def describe(service: Service) -> dict[str, Any]:
    """Return the facts of a service, when it starts or is reloaded."""
    clock = service.clock.gate.status()
    return {
        "warnings": list(service.warnings),
        "files": sorted(map(str, {*service.files, *tls_files(service.settings.server)})),
        "selected": selection(service.settings),
        "clock": {"state": clock.state.value, "issuing": clock.issuing, "reason": clock.reason},
        "profiles": [
            {
                "name": profile.name,
                "algorithm": profile.algorithm.name,
                "policy": profile.policies[0],
                "conformance": list(profile.settings.conformance),
                "not_after": f"{profile.not_after:%Y-%m-%d}",
                "issues_until": profile.not_after.isoformat(),
                "ends_with": profile.period.ends_with,
                "certificates_end": profile.period.certificates_end.isoformat(),
                "key_usage_end": profile.period.key_end.isoformat() if profile.period.key_end else None,
                "signer": profile.settings.scheme,
                "subject": profile.chain.leaf.subject.rfc4514_string(),
                "chain_id": hashlib.sha256(profile.certificate_chain_pem).hexdigest(),
            }
            for profile in service.authority.profiles.values()
        ],
    }
