"""What to type to add a plugin of this repository: made from how tsa-core itself was installed.

The plugins' names are anybody's on the public index, so only distributions of this repository are ever named, and
they come from where the core came from (`tsa_core.origin`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tsa_core.origin import CORE, Origin, core_origin, install_command, origin_of, upgrade_hint

__all__ = [
    "CORE",
    "OWN_PLUGINS",
    "Origin",
    "core_origin",
    "hint_for",
    "install_hint",
    "known_names",
    "origin_of",
    "upgrade_hint",
]

OWN_PLUGINS: Final[Mapping[tuple[str, str], str]] = {
    ("audit", "auditfile"): "tsa-audit-file",
    ("audit", "auditsql"): "tsa-audit-sql",
    ("audit", "tokenlog"): "tsa-log",
    ("ca", "gcp"): "tsa-signer-gcpkms[ca]",
    ("command", "archive"): "tsa-response-archive",
    ("command", "keys"): "tsa-guard",
    ("command", "log"): "tsa-log",
    ("command", "tink"): "tsa-signer-tink",
    ("command", "witness"): "tsa-log",
    ("guard", "guard"): "tsa-guard",
    ("kek", "aws-kms"): "tsa-signer-awskms",
    ("kek", "gcp-kms"): "tsa-signer-gcpkms",
    ("kek", "hcvault"): "tsa-signer-hashivault",
    ("monitor", "chrony"): "tsa-monitor-chrony",
    ("monitor", "ntp"): "tsa-monitor-ntp",
    ("monitor", "nts"): "tsa-monitor-nts",
    ("observer", "otel"): "tsa-observer-otel",
    ("policy", "network"): "tsa-policy-network",
    ("response", "archive"): "tsa-response-archive",
    ("routes", "authenticode"): "tsa-authenticode",
    ("routes", "log"): "tsa-log",
    ("routes", "web"): "tsa-web",
    ("routes", "witness"): "tsa-log",
    ("signer", "awskms"): "tsa-signer-awskms",
    ("signer", "azurekms"): "tsa-signer-azurekms",
    ("signer", "cliplugin"): "tsa-signer-cliplugin",
    ("signer", "file"): "tsa-signer-file",
    ("signer", "gcpkms"): "tsa-signer-gcpkms",
    ("signer", "hashivault"): "tsa-signer-hashivault",
    ("signer", "memory"): "tsa-signer-memory",
    ("signer", "openbao"): "tsa-signer-hashivault",
    ("signer", "pkcs11"): "tsa-signer-pkcs11",
    ("signer", "tink"): "tsa-signer-tink",
}
"""What this repository's distributions provide: kind and name, and the requirement that brings it.

The kind `command` is that of the entry point group `tsa_core.commands`: commands of timestamp-server.
"""


def known_names(kind: str) -> list[str]:
    """Return the names of a kind that plugins of this repository provide, installed or not."""
    return sorted(name for each, name in OWN_PLUGINS if each == kind)


def hint_for(kind: str, name: str, *, origin: Origin | None = None) -> str:
    """Return how to add what a plugin of this repository provides; empty for a name that is not ours."""
    requirement = OWN_PLUGINS.get((kind, name))
    return install_hint(requirement, origin=origin) if requirement else ""


def install_hint(requirement: str, *, again: bool = False, origin: Origin | None = None) -> str:
    """Return how to install a distribution of this repository, `tsa-signer-gcpkms[ca]` for example.

    A command wherever the origin of the core leads to one, else a sentence. `again` is for one that is installed and
    broken. For a distribution that is not ours: how to ask for help, without a command.
    """
    name = requirement.partition("[")[0]
    if name != CORE and name not in {each.partition("[")[0] for each in OWN_PLUGINS.values()}:
        return f"install {name} again from where it came" if again else f"ask the author of {name} how to install it"
    return install_command(requirement, again=again, origin=origin)
