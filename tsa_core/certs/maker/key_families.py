"""Post-quantum and classical keys: whether a chain has both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from tsa_core.api import ConfigError, describe_key

_POST_QUANTUM: Final = (mldsa.MLDSA44PublicKey, mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey)


def refuse_mixed_keys(keys: Mapping[str, CertificatePublicKeyTypes]) -> None:
    """Raise ConfigError when some of the keys are post-quantum (ML-DSA) and others classical.

    `keys` has what messages call each of them. A chain is as strong as its weakest signature: a post-quantum TSA under
    a classical root falls with the root, and the other way round costs size for nothing.
    """
    families = {isinstance(key, _POST_QUANTUM) for key in keys.values()}
    if len(families) > 1:
        kinds = ", ".join(f"{name}: {describe_key(key)}" for name, key in keys.items())
        raise ConfigError(
            f"the chain would mix post-quantum and classical keys ({kinds}); give keys of one family, or leave "
            "--refuse-mixed-keys out"
        )
