"""What can be said of a token that was found: with trust, without trust, and without what it is over."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from tsa_core.extract.found import ExtractError, FoundToken
from tsa_core.paths.certificate import PathCertificate
from tsa_core.verify import Verifier
from tsa_core.verify.errors import ImprintMismatch, SignerCertificateMissing, VerificationError
from tsa_core.verify.signed_data import check_signature, find_signer
from tsa_core.verify.signer import check_signer
from tsa_core.verify.statement import Statement, open_token, read_statement, readable
from tsa_core.verify.tolerances import ALLOWANCES, algorithm_rules


class Outcome(enum.Enum):
    """What is known of a token."""

    VERIFIED = "verified"
    """It is over its subject, and an authority that is trusted made it."""
    INTACT = "intact"
    """It is over its subject, and whoever holds the key of the certificate in it made it; nobody was trusted."""
    NOT_CHECKED = "not checked"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A token with its outcome; `reason` says why it is refused or not checked, `rule` which rule refuses it."""

    found: FoundToken
    outcome: Outcome
    reason: str = ""
    rule: str = ""
    gen_time: datetime | None = None
    authority: str | None = None
    """The signer's subject name, as the token or the trusted path has it."""


def check(found: FoundToken, verifier: Verifier | None) -> Checked:
    """Return what is known of a token; without `verifier`, nobody is trusted."""
    statement: Statement | None = None
    signer: PathCertificate | None = None
    try:
        token = open_token(found.token)
        # What is old is shown too; `verifier` alone says what is good enough.
        statement = read_statement(token, algorithm_rules(frozenset(ALLOWANCES)))
        signer = _signer(statement, token.certificates)
        reason = found.unknown
        if verifier is not None:
            digest = statement.info.hashed_message
            if found.subject is not None:
                result = verifier.verify_token(found.token, artifact=found.subject())
            else:
                result = verifier.verify_token(found.token, digest=digest)
            signer = PathCertificate(result.signer_certificate)
            outcome = Outcome.VERIFIED if found.subject is not None else Outcome.NOT_CHECKED
            reason = reason and f"the token itself is good; what it is over is not known: {reason}"
        else:
            outcome, reason = _untrusted(found, statement, signer, reason)
    except (VerificationError, ExtractError) as error:
        rule = error.rule if isinstance(error, VerificationError) else ""
        return _checked(found, Outcome.REFUSED, str(error), statement, signer, rule=rule)
    return _checked(found, outcome, reason, statement, signer)


def _signer(statement: Statement, certificates: tuple[bytes, ...]) -> PathCertificate | None:
    try:
        return find_signer(statement.signed, readable(certificates))
    except SignerCertificateMissing:
        return None


def _untrusted(
    found: FoundToken, statement: Statement, signer: PathCertificate | None, unknown: str
) -> tuple[Outcome, str]:
    if found.subject is not None and statement.hash_algorithm.digest(found.subject()) != statement.info.hashed_message:
        raise ImprintMismatch(f"it is not over {found.covers}: the digest is another one")
    if signer is None:
        return Outcome.NOT_CHECKED, "the signer's certificate is not in the token"
    check_signer(signer)
    check_signature(statement.signed, signer, algorithm_rules(frozenset(ALLOWANCES)))
    if found.subject is None:
        return Outcome.NOT_CHECKED, unknown
    algorithm = statement.hash_algorithm
    weak = f", and {algorithm.name} is weak: something else may have the same digest" if algorithm.weak else ""
    return Outcome.INTACT, f"nobody was trusted{weak}"


def _subject(signer: PathCertificate) -> str:
    try:
        return signer.certificate.subject.rfc4514_string()
    except ValueError:
        return "a name that cannot be read"


def _checked(
    found: FoundToken,
    outcome: Outcome,
    reason: str,
    statement: Statement | None,
    signer: PathCertificate | None,
    *,
    rule: str = "",
) -> Checked:
    return Checked(
        found=found,
        outcome=outcome,
        reason=reason,
        rule=rule,
        gen_time=statement.info.gen_time if statement is not None else None,
        authority=_subject(signer) if signer is not None else None,
    )
