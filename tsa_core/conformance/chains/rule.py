"""A rule, the chain that it judges, and what it finds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tsa_core.paths.extensions import PARSING_ERRORS, RESTRICTING, Extensions, read_extensions
from tsa_core.protocol.encodings import Encoding
from tsa_core.protocol.errors import EncodingError, TsaError
from tsa_core.protocol.signatures import PublicKey, SignatureAlgorithm, UnsupportedKey, signature_algorithm
from tsa_core.values import Value

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


class NotJudged(TsaError):
    """A rule that cannot be judged with what was given; the text says what is missing."""


class ChainCase(Value):
    """A chain under judgement, TSA certificate first.

    `at` is the moment, aware. `public_key` and `algorithm` are the signer's, None when no key was given.
    `fraction_digits` are those of genTime in the profiles that issue with this chain, None when no such profile was
    given.
    """

    certificates: Sequence[x509.Certificate]
    at: datetime
    public_key: PublicKey | None = None
    algorithm: SignatureAlgorithm | None = None
    fraction_digits: Sequence[int] | None = None

    @property
    def leaf(self) -> x509.Certificate:
        """The TSA's certificate."""
        return self.certificates[0]

    @property
    def authorities(self) -> Sequence[x509.Certificate]:
        """The CAs, the TSA's issuer first and the root last."""
        return self.certificates[1:]

    @property
    def intermediates(self) -> Sequence[x509.Certificate]:
        """The CAs between the TSA's certificate and the root."""
        return self.certificates[1:-1]

    @property
    def root(self) -> x509.Certificate:
        """The last certificate."""
        return self.certificates[-1]

    def token_algorithm(self) -> SignatureAlgorithm | None:
        """Return how tokens are signed: by the signer if it was given, else as the certified key signs by itself."""
        if self.algorithm is not None:
            return self.algorithm
        try:
            return signature_algorithm(self.leaf.public_key())
        except (UnsupportedKey, UnsupportedAlgorithm, ValueError):
            return None


class Outcome(StrEnum):
    """What became of a rule. A warning is a recommendation that the chain does not follow."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    WARN = "warn"
    NOT_JUDGED = "not judged"


class Rule(Value):
    """One demand on a chain.

    `check` returns None when the chain fulfils it, else one line that names the certificate, what is wrong and the
    remedy. `level` says whether the clause demands or recommends. `demand` is one sentence for people.
    """

    name: str
    clause: str
    level: Literal["must", "should"]
    demand: str
    check: Callable[[ChainCase], str | None]

    def judge(self, case: ChainCase) -> Finding:
        """Return what the rule finds; a certificate that cannot be parsed fails it."""
        try:
            complaint = self.check(case)
        except NotJudged as reason:
            return Finding(rule=self, outcome=Outcome.NOT_JUDGED, reason=str(reason))
        except (EncodingError, *PARSING_ERRORS) as error:
            complaint = f"a certificate of the chain is malformed, or of a kind that is not known here: {error}"
            return Finding(rule=self, outcome=Outcome.FAIL, reason=complaint)
        if complaint is None:
            return Finding(rule=self, outcome=Outcome.PASS)
        return Finding(rule=self, outcome=Outcome.FAIL if self.level == "must" else Outcome.WARN, reason=complaint)


class Finding(Value):
    """What one rule found; `reason` is empty when it is fulfilled."""

    rule: Rule
    outcome: Outcome
    reason: str = ""


def rule(
    name: str, *, clause: str, level: Literal["must", "should"] = "must"
) -> Callable[[Callable[[ChainCase], str | None]], Rule]:
    """Make a rule of a function; its docstring is the demand."""

    def make(check: Callable[[ChainCase], str | None]) -> Rule:
        demand = " ".join((inspect.getdoc(check) or "").split())
        return Rule(name=name, clause=clause, level=level, demand=demand, check=check)

    return make


def extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> x509.Extension[ExtensionT] | None:
    """Return an extension of a certificate, None when it has none.

    One that cannot be parsed is passed over where verifiers do so: when it is not critical and restricts nothing.
    Any other raises ValueError.
    """
    found = extensions(certificate)
    raw = found.unreadable.get(kind.oid)
    if raw is not None and (raw.critical or kind.oid in RESTRICTING):
        raise ValueError(f"the extension {kind.oid.dotted_string} cannot be read")
    return found.parsed.get(kind.oid)


@lru_cache(maxsize=64)
def extensions(certificate: x509.Certificate) -> Extensions:
    """Return the extensions of a certificate; raises ValueError when one appears twice, or they cannot be read."""
    try:
        return read_extensions(certificate, certificate.public_bytes(Encoding.DER))
    except EncodingError as error:
        raise ValueError(str(error)) from None


def key_strength(certificate: x509.Certificate) -> tuple[str, int]:
    """Return a certified key's family, rsa, ec or another word, and its size in bits (0 where there is only one)."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name, key.key_size
    return type(key).__name__.removesuffix("PublicKey"), 0
