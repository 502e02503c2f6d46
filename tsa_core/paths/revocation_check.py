"""One check of revocation: the certificates of one path, and those who signed the evidence about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

from cryptography import exceptions
from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.algorithms import AlgorithmRules, certificate_signature_scheme
from tsa_core.paths.building import Path, PathBuilder
from tsa_core.paths.certificate import PathCertificate, text
from tsa_core.paths.crl import crl_statements
from tsa_core.paths.crl_reader import CertificateList
from tsa_core.paths.errors import PathError, RevocationError, VerificationError
from tsa_core.paths.findings import RevocationFinding, RevocationStatus
from tsa_core.paths.ocsp import is_exempt, ocsp_statements
from tsa_core.paths.ocsp_reader import OCSPResponse
from tsa_core.paths.statements import Moment, covered, judge
from tsa_core.paths.validation import Inputs
from tsa_core.protocol.errors import EncodingError

_MAX_CANDIDATES: Final = 8
"""Certificates of one name that are tried as the signer of a CRL."""
_MAX_OTHER_SIGNERS: Final = 16
"""Paths that one check builds for signers of CRLs outside of the path."""
_MAX_SIGNATURE_CHECKS: Final = 512
"""Signatures on evidence that one check looks at; crossed names and lists make them many."""


class Enclosed(NamedTuple):
    """Evidence that came with the token; `problems` say what could not be read."""

    crls: tuple[CertificateList, ...] = ()
    responses: tuple[OCSPResponse, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(kw_only=True)
class RevocationCheck:
    """Evidence, a moment for which it must speak, and a valid path; `pool` has other certificates at hand."""

    crls: tuple[CertificateList, ...]
    responses: tuple[OCSPResponse, ...]
    problems: tuple[str, ...]
    moment: Moment
    path: Path
    pool: Sequence[PathCertificate]
    rules: AlgorithmRules
    whole_path: bool
    """Whether those who signed evidence must be covered as well."""
    _pending: list[bytes] = field(default_factory=list)
    _signature_checks: int = 0
    _paths: dict[tuple[bytes, datetime], Path | VerificationError] = field(default_factory=dict)

    def issuer_of(self, position: int) -> PathCertificate | None:
        """Return the issuer of the path's certificate at `position`; None when the anchor's is not at hand."""
        certificates = self.path.certificates
        if position + 1 < len(certificates):
            return certificates[position + 1]
        anchor = certificates[position]
        for candidate in (*self.pool, anchor):
            if candidate.subject_name == anchor.issuer_name:
                try:
                    # What signed a certificate that is trusted has the issuer's key, whoever brought it.
                    anchor.check_signed_by(candidate, self.rules)
                except VerificationError:
                    continue
                return candidate
        return None

    def find(self, certificate: PathCertificate, issuer: PathCertificate | None, latest: datetime) -> RevocationFinding:
        """Return what is known of one certificate; raises CertificateRevoked."""
        if issuer is None:
            return RevocationFinding(
                certificate=certificate.certificate,
                status=RevocationStatus.NOT_CHECKED,
                detail=f"nobody can tell whether {certificate.name} was revoked: its issuer is not at hand",
            )
        problems: list[str] = []
        self._pending.append(certificate.der)
        try:
            statements = [
                *crl_statements(
                    certificate,
                    issuer,
                    self.crls,
                    moment=self.moment,
                    signer_of=self._crl_signer,
                    problems=problems,
                ),
                *ocsp_statements(
                    certificate,
                    issuer,
                    self.responses,
                    moment=self.moment,
                    pool=self.pool,
                    check_responder=self._check_responder,
                    rules=self.rules,
                    problems=problems,
                ),
            ]
        finally:
            self._pending.pop()
        later = judge(certificate, statements, latest)
        if not covered(statements):
            if any(statement.reasons_mask for statement in statements):
                problems.append("the CRLs at hand are for some reasons of revocation only")
            return RevocationFinding(
                certificate=certificate.certificate,
                status=RevocationStatus.NOT_CHECKED,
                detail=self._unknown(certificate, [*problems, *self.problems]),
            )
        return RevocationFinding(
            certificate=certificate.certificate,
            status=RevocationStatus.REVOKED_LATER if later else RevocationStatus.GOOD,
            evidence=tuple(statement.evidence for statement in statements if statement.reasons_mask),
            detail=later,
        )

    def _unknown(self, certificate: PathCertificate, problems: Sequence[str]) -> str:
        words = f"nothing at hand tells whether {certificate.name} was revoked"
        if not problems:
            return f"{words}: no CRL and no OCSP response given is about it"
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        return f"{words}: {'; '.join(problems[:3])}{more}"

    def _crl_signer(self, crl: CertificateList, issuer: PathCertificate) -> PathCertificate:
        """Return who signed a CRL: the issuer, or one with a path to the same anchor (RFC 5280 6.3.3 (f), (g))."""
        named = [c for c in (issuer, *self.path.certificates, *self.pool) if c.subject_name == crl.issuer_name]
        candidates = list({candidate.der: candidate for candidate in named}.values())[:_MAX_CANDIDATES]
        reason: VerificationError = PathError("the certificate of its issuer is not at hand")
        for candidate in candidates:
            try:
                self._check_crl_signature(crl, candidate)
                if candidate.der not in {issuer.der, *(c.der for c in self.path.certificates), *self._pending}:
                    self._check_other_signer(candidate, crl.this_update)
            except VerificationError as error:
                reason = error
            else:
                return candidate
        raise reason

    def _check_crl_signature(self, crl: CertificateList, signer: PathCertificate) -> None:
        usage = signer.value(ExtensionOID.KEY_USAGE)
        if usage is not None and not usage.crl_sign:
            raise PathError(f"the key usage of {signer.name} does not permit signing CRLs")
        if crl.this_update > signer.not_after:
            raise PathError(f"it was made after {signer.name} ended at {text(signer.not_after)}")
        try:
            scheme = certificate_signature_scheme(crl.signature_algorithm, self.rules)
            signer.key_under(self.rules)
            if crl.is_known_signer(signer.der):
                return
            self._count_signature_check()
            signer.check_signature(scheme, crl.signature, crl.signed_bytes, self.rules)
        except EncodingError as error:
            raise PathError(f"its signature algorithm cannot be read: {error}") from None
        except exceptions.InvalidSignature:
            raise PathError(f"it is not signed by {signer.name}") from None
        crl.remember_signer(signer.der)

    def _count_signature_check(self) -> None:
        self._signature_checks += 1
        if self._signature_checks > _MAX_SIGNATURE_CHECKS:
            raise PathError(f"more than {_MAX_SIGNATURE_CHECKS} signatures would have to be checked")

    def _check_other_signer(self, signer: PathCertificate, time: datetime) -> None:
        """Raise a VerificationError unless a signer of CRLs has a path to the same anchor, and was not revoked."""
        known = {certificate.der for certificate in self.path.certificates}
        for certificate, issuer in pairwise(self._path_of(signer, time).certificates):
            if certificate.der not in known and certificate.der not in self._pending:
                self._check_helper(certificate, issuer, self.whole_path)

    def _path_of(self, signer: PathCertificate, time: datetime) -> Path:
        key = (signer.der, time)
        found = self._paths.get(key)
        if found is None:
            if len(self._paths) == _MAX_OTHER_SIGNERS:
                raise PathError(f"more than {_MAX_OTHER_SIGNERS} signers of CRLs would have to be checked")
            inputs = Inputs(time=time, algorithms=self.rules)
            helpers = (*self.path.certificates, *self.pool)
            try:
                found = PathBuilder((self.path.certificates[-1],), helpers, inputs).build(signer, (), time)
            except VerificationError as error:
                found = error
            self._paths[key] = found
        if isinstance(found, VerificationError):
            raise found
        return found

    def _check_responder(self, responder: PathCertificate, issuer: PathCertificate) -> None:
        if responder.der not in self._pending:
            self._check_helper(responder, issuer, self.whole_path and not is_exempt(responder))

    def _check_helper(self, certificate: PathCertificate, issuer: PathCertificate, required: bool) -> None:
        """Raise a VerificationError when one who signs evidence was revoked, or is not covered and must be."""
        finding = self.find(certificate, issuer, self.moment.at)
        if required and not finding.evidence:
            raise RevocationError(finding.detail)
