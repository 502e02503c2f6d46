"""Verification of timestamps: the calls that programs make.

from tsa_core.verify import TrustStore, verify_response
result = verify_response("release.tsr", artifact="release.tar.gz", trust="chain.pem")
print(result.gen_time, result.earliest, result.latest)
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Unpack

from cryptography import x509
from cryptography.x509.oid import NameOID

from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.findings import RevocationFinding, RevocationStatus
from tsa_core.protocol import der, oids
from tsa_core.protocol.reply import SignerInfo, Token, is_token
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.verify.errors import NotAccepted, ProofMissing, WeakAlgorithm, printable
from tsa_core.verify.expectations import ACCEPTANCE, SUBJECT, Acceptance, Expectations, Subject, check_names, separate
from tsa_core.verify.path import Path, PathBuilder, check_made_before
from tsa_core.verify.proof import ByDate, prove
from tsa_core.verify.remarks import remarks
from tsa_core.verify.shapes import Shapes
from tsa_core.verify.signed_data import SignedToken, check_signature, find_signer
from tsa_core.verify.statement import Octets, Reading, octets, open_reply, open_token, read_statement, readable
from tsa_core.verify.subject import check_subject
from tsa_core.verify.tolerances import NONCRITICAL_EKU, algorithm_rules, check_allowances
from tsa_core.verify.trust import TrustStore, read_one_certificate
from tsa_core.verify.verdict import VerifiedTimestamp

if TYPE_CHECKING:
    from tsa_core.paths.revocation import Revocation
    from tsa_core.paths.revocation_check import Enclosed

_REVOCATION_INFO_ARCHIVAL: Final = der.oid(oids.ID_REVOCATION_INFO_ARCHIVAL)
_MAX_PATHS: Final = 256
_MAX_CACHED_OCTETS: Final = 1 << 16


class Verifier:
    """Verifies timestamps against one set of expectations; safe to use from many threads.

    Paths are remembered, bounded, by the very bytes that led to them (the token's certificates, the
    signer's name and its ESSCertID) and used again only for times at which every certificate of the path is
    valid; what one token carried never helps another one. Revocation is judged anew for each token. The shape of
    tokens is remembered too (see `shapes`), which makes the reading of the next one of the same authority quick.

    `trust` is a TrustStore, or what `TrustStore.read` takes: a chain or a TrustedRoot, as path, bytes or open file.
    `acceptance` says whose timestamps are accepted among those that the roots vouch for: see Acceptance.
    """

    def __init__(self, trust: TrustStore | Octets, **acceptance: Unpack[Acceptance]) -> None:
        check_names(acceptance, ACCEPTANCE, "Verifier")
        tsa_certificate = acceptance.get("tsa_certificate")
        if tsa_certificate is not None and not isinstance(tsa_certificate, x509.Certificate):
            tsa_certificate = read_one_certificate(tsa_certificate)
        self._trust = trust = trust if isinstance(trust, TrustStore) else TrustStore.read(trust)
        self._allow = check_allowances(acceptance.get("allow", ()))
        self._periods = tuple(acceptance.get("algorithm_periods", ()))
        self._rules = algorithm_rules(self._allow)
        self._without_proof = ByDate(periods=self._periods, existed=None)
        self._builder = self._builder_for(STRICT)
        self._builders = {STRICT: self._builder}
        self._tsa_certificate = PathCertificate(tsa_certificate) if tsa_certificate is not None else None
        self._helpers = self._builder.helpers + ((self._tsa_certificate,) if self._tsa_certificate else ())
        policies = acceptance.get("policies")
        self._policies = None if policies is None else frozenset(policies)
        self._common_name = acceptance.get("common_name")
        self._revocation = acceptance.get("revocation")
        self._paths: dict[tuple[object, ...], Path] = {}
        self._shapes = Shapes()
        self._lock = threading.Lock()

    def verify_response(self, reply: Octets, **subject: Unpack[Subject]) -> VerifiedTimestamp:
        """Return what a TimeStampResp proves about its subject, or raise a VerificationError; see Subject.

        `reply` is a path, bytes, or a file open for reading bytes. Raises OSError for a file that cannot be read.
        """
        check_names(subject, SUBJECT, "verify_response")
        return self._verify(octets(reply), subject, is_reply=True)

    def verify_token(self, token: Octets, **subject: Unpack[Subject]) -> VerifiedTimestamp:
        """Return what a bare TimeStampToken proves; everything else is as in `verify_response`."""
        check_names(subject, SUBJECT, "verify_token")
        return self._verify(octets(token), subject, is_reply=False)

    def forget(self) -> None:
        """Drop what is remembered; the next verification of every authority builds its path anew."""
        with self._lock:
            self._paths.clear()
        self._shapes.forget()

    def _verify(
        self,
        data: bytes,
        subject: Subject,
        *,
        is_reply: bool,
        moment: datetime | None = None,
        proof: VerifiedTimestamp | None = None,
        crl: bytes | None = None,
    ) -> VerifiedTimestamp:
        """Verify a reply or a token; `moment` is for what evidence must speak where the subject has no time.

        `proof` is a timestamp that has been verified and covers `data` with all that is enclosed in it; `crl` is one
        that came with the token. Both are of a file with layers, whose subjects have no proofs of their own.
        """
        _check_arguments(subject)
        time, existed = subject.get("time"), subject.get("existed")
        proofs = [octets(proof) for proof in subject.get("proofs", ())]
        layered = proof is not None or existed is not None
        by_date, rules = self._without_proof, self._rules
        reading = self._shapes.read(data, is_reply=is_reply) if not proofs and not layered else None
        new_shape = reading is None
        if reading is None:
            status, token = open_reply(data) if is_reply else (None, open_token(data))
        if proofs:
            proof = self._prove(data, proofs, time or moment)
        if proof is not None:
            existed = proof.latest or proof.gen_time
        if existed is not None:
            by_date = ByDate(periods=self._periods, existed=existed)
            rules = algorithm_rules(self._allow | by_date.strong_then)
        try:
            if reading is None:
                reading = Reading(status, token, read_statement(token, rules))
            status, token, statement = reading
            signed, info, algorithm = statement
            path, known_path = self._path(token, signed, time if time is not None else info.gen_time, rules)
            check_signature(signed, path.signer, rules)
            if time is not None:
                check_made_before(info, path, time)
            if self._trust.authorities:
                for each in (info.gen_time,) if time is None else (info.gen_time, time):
                    self._trust.check_authorities(path.certificates, each)
        except WeakAlgorithm as error:
            if self._periods:
                raise by_date.missing(str(error)) from None
            raise
        if existed is not None and existed < (info.earliest or info.gen_time):
            older = "the proof" if proof is not None else "the moment at which it existed"
            raise ProofMissing(f"{older} is older than the timestamp that it is about, so that one of them is wrong")
        self._check_acceptance(info, path)
        check_subject(info, algorithm, subject)
        moment = time or moment
        # Of what has layers the proof covers the enclosed evidence too. Otherwise evidence is of today, and must be
        # strong today, however old the token's algorithms may be.
        evidence_rules = rules if layered and not self._has_evidence else algorithm_rules(self._allow)
        enclosed = _enclosed(token, signed.info, crl)
        findings = self._check_revocation(token, enclosed, path, info, time=moment, rules=evidence_rules)
        notes = remarks(token, statement, path, by_date, self._allow)
        if new_shape and known_path:
            # Not from the first token of an authority: most programs verify one, and would learn for nothing.
            self._shapes.learn(data, reading)
        return VerifiedTimestamp(
            tst_info=info,
            signer_certificate=path.signer.certificate,
            path=tuple([c.certificate for c in path.certificates]),
            status=status,
            checked_at=moment if moment is not None else datetime.now(UTC),
            revocation_checked=bool(findings) and findings[0].status is not RevocationStatus.NOT_CHECKED,
            revocation=findings,
            notes=notes,
            proof=proof,
        )

    def _prove(self, data: bytes, proofs: Sequence[bytes], moment: datetime | None) -> VerifiedTimestamp:
        """Verify the proofs, which any authority of the trust store may have made, and whether it was revoked."""
        if not self._periods:
            raise TypeError("proofs have no effect without algorithm_periods")
        verifier = Verifier(
            self._trust, allow=self._allow, algorithm_periods=self._periods, revocation=self._revocation
        )

        def verify(proof: bytes, covered: bytes, further: Sequence[bytes]) -> VerifiedTimestamp:
            subject: Subject = {"artifact": covered, "proofs": further}
            return verifier._verify(proof, subject, is_reply=not is_token(proof), moment=moment)

        return prove(data, proofs, verify)

    def _builder_for(self, rules: AlgorithmRules) -> PathBuilder:
        return PathBuilder(self._trust, rules, critical=NONCRITICAL_EKU not in self._allow)

    @property
    def _has_evidence(self) -> bool:
        """Whether revocation evidence was given besides what tokens bring."""
        return self._revocation is not None and bool(self._revocation.crls or self._revocation.ocsp_responses)

    def _check_revocation(
        self,
        token: Token,
        enclosed: Enclosed | None,
        path: Path,
        info: TSTInfo,
        *,
        time: datetime | None,
        rules: AlgorithmRules,
    ) -> tuple[RevocationFinding, ...]:
        if self._revocation is None and enclosed is None:
            return ()
        revocation = self._revocation if self._revocation is not None else _at_hand()
        embedded = readable(token.certificates, self._builder.known)
        return revocation.check(
            path,
            info.gen_time,
            latest=info.latest,
            at=time,
            certificates=(*self._builder.known.values(), *embedded),
            enclosed=enclosed,
            algorithms=rules,
        )

    def _path(self, token: Token, signed: SignedToken, time: datetime, rules: AlgorithmRules) -> tuple[Path, bool]:
        """Return the path of a token's signer, and whether it was remembered; raises a VerificationError."""
        key = (token.certificates, signed.info.sid_der, signed.ess_values)
        # Under the rules that only a proof makes good, nothing is remembered: there is a proof for each token.
        remembered = rules is self._rules
        path = self._paths.get(key) if remembered else None
        if path is not None and path.not_before <= time <= path.not_after:
            return path, True
        embedded = readable(token.certificates, self._builder.known)
        signer = find_signer(signed, (*embedded, *self._helpers))
        if self._tsa_certificate is not None and signer.der != self._tsa_certificate.der:
            raise NotAccepted("the token was signed with another certificate than the one demanded")
        builder = self._builders.get(rules)
        if builder is None:
            builder = self._builders[rules] = self._builder_for(rules)
        path = builder.build(signer, embedded, time)
        if remembered and sum(map(len, token.certificates)) <= _MAX_CACHED_OCTETS:
            with self._lock:
                if len(self._paths) >= _MAX_PATHS:
                    del self._paths[next(iter(self._paths))]
                self._paths[key] = path
        return path, False

    def _check_acceptance(self, info: TSTInfo, path: Path) -> None:
        if self._policies is not None and info.policy not in self._policies:
            raise NotAccepted(f"the token was made under policy {info.policy}, which is not an accepted one")
        if self._common_name is not None:
            subject = path.signer.certificate.subject
            names = [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            if self._common_name not in names:
                raise NotAccepted(
                    f"the signer's common name is {printable(', '.join(map(str, names))) or 'absent'!r}, "
                    f"not {self._common_name!r}"
                )


def _check_arguments(subject: Subject) -> None:
    """Raise TypeError for arguments that say too little, or one thing twice."""
    if subject.get("digest") is None and subject.get("artifact") is None and subject.get("request") is None:
        raise TypeError("verification needs the artifact, its digest or the request")
    time, existed = subject.get("time"), subject.get("existed")
    if time is not None and time.tzinfo is None:
        raise TypeError("the time of verification must be an aware datetime")
    if existed is not None and existed.tzinfo is None:
        raise TypeError("the moment at which it existed must be an aware datetime")
    if existed is not None and subject.get("proofs", ()):
        raise TypeError("proofs and existed say the same: give one of them")


def _enclosed(token: Token, info: SignerInfo, crl: bytes | None) -> Enclosed | None:
    """Return the CRLs and OCSP responses that came with a token; most come with none and need no reader."""
    if (
        crl is None
        and not token.crls
        and not info.unsigned_attributes
        and _REVOCATION_INFO_ARCHIVAL not in info.attributes
    ):
        return None
    from tsa_core.verify.enclosed import enclosed_evidence

    return enclosed_evidence(token, info, crl)


@lru_cache(maxsize=1)
def _at_hand() -> Revocation:
    """Return what holds without expectations about revocation: what a token itself brings is still heeded."""
    # Not at the top: most tokens bring nothing, and a command that verifies one would pay for it.
    from tsa_core.paths.revocation import Revocation, RevocationScope

    return Revocation(scope=RevocationScope.AT_HAND)


def verify_response(
    reply: Octets, *, trust: TrustStore | Octets, **expectations: Unpack[Expectations]
) -> VerifiedTimestamp:
    """Verify one TimeStampResp; Verifier is faster for more than one. See Subject and Acceptance.

    `reply` and `trust` are paths, bytes, or files open for reading bytes; `trust` may be a TrustStore.

    verify_response("r.tsr", artifact="a.txt", trust="chain.pem")
    """
    subject, acceptance = separate(expectations, "verify_response")
    return Verifier(trust, **acceptance).verify_response(reply, **subject)


def verify_token(
    token: Octets, *, trust: TrustStore | Octets, **expectations: Unpack[Expectations]
) -> VerifiedTimestamp:
    """Verify one bare TimeStampToken; everything else is as in `verify_response`."""
    subject, acceptance = separate(expectations, "verify_token")
    return Verifier(trust, **acceptance).verify_token(token, **subject)
