"""Whether a timestamp is about a file, whoever signed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsa_core.cli.timestamp.tokens import verify_with
from tsa_core.protocol.reply import is_token
from tsa_core.verify.statement import check_imprint

if TYPE_CHECKING:
    from tsa_core.protocol.hashes import HashAlgorithm
    from tsa_core.protocol.tstinfo_reader import TSTInfo
    from tsa_core.verify import Verifier


def check_token(data: bytes, digest: bytes, algorithm: HashAlgorithm, verifier: Verifier | None) -> TSTInfo:
    """Return what a reply or token says of a digest; raises a VerificationError when it is not about that digest.

    Without a verifier, everything is checked but who signed it.
    """
    if verifier is None:
        return check_imprint(data, digest, algorithm, bare_token=is_token(data))
    return verify_with(verifier, data, digest=digest, digest_algorithm=algorithm.name).tst_info
