"""Which commit is installed."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

UNKNOWN: Final = "unknown"


def installed_revision() -> str:
    """Return the commit of tsa-core that was installed, where pip noted it (PEP 610), else `unknown`."""
    try:
        noted = json.loads(distribution("tsa-core").read_text("direct_url.json") or "{}")
        return str(noted["vcs_info"]["commit_id"])
    except (PackageNotFoundError, OSError, ValueError, KeyError, TypeError):
        return UNKNOWN
