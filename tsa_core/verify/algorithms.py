"""The algorithms of a SignerInfo and of what it identifies; the rules are those of certificates (rule V15)."""

from __future__ import annotations

from tsa_core.paths import algorithms
from tsa_core.paths.algorithms import STRICT, AlgorithmRules, SignatureScheme, strong_hash
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import HashAlgorithm
from tsa_core.verify.errors import MalformedTimestamp

__all__ = ["SignatureScheme", "digest_algorithm", "signature_scheme", "strong_hash"]


def digest_algorithm(identifier: bytes, what: str, rules: AlgorithmRules = STRICT) -> HashAlgorithm:
    """Return the strong hash of an AlgorithmIdentifier; `what` it is for stands in the error's text."""
    try:
        return algorithms.digest_algorithm(identifier, what, rules)
    except EncodingError as error:
        raise MalformedTimestamp(str(error)) from None


def signature_scheme(identifier: bytes, digest: HashAlgorithm, rules: AlgorithmRules = STRICT) -> SignatureScheme:
    """Return the scheme of a signatureAlgorithm; `digest` is the SignerInfo's digestAlgorithm (RFC 5754 3)."""
    try:
        return algorithms.signature_scheme(identifier, digest, rules)
    except EncodingError as error:
        raise MalformedTimestamp(str(error)) from None
