"""Which authorities' anchors a command trusts: --anchor-roots, else what the configuration says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tsa_core.api import ConfigError, read_file
from tsa_core.config import CONFIG_VARIABLE, load_settings
from tsa_core.verify import PathError, TrustStore, Verifier

_MAX_ROOTS_OCTETS: Final = 4 * 1_048_576


def anchor_verifier(roots: Path | None, config: Path | None) -> tuple[Verifier | None, int]:
    """Return what verifies anchors, and how many timestamps each needs; None and 1 when nothing says whom to trust."""
    threshold = 1
    if config is not None or (roots is None and os.environ.get(CONFIG_VARIABLE)):
        settings = load_settings(config, whole=False).audit
        roots, threshold = roots or settings.anchor_roots, settings.anchor_threshold
    if roots is None:
        return None, threshold
    try:
        data = read_file(roots, "roots of other authorities", limit=_MAX_ROOTS_OCTETS)
        return Verifier(TrustStore.from_files(data)), threshold
    except PathError as error:
        raise ConfigError(str(error), path=str(roots)) from None
