"""Certificate paths from a target to a trusted root, at one moment (rule V8): found here, judged by `validation`.

Why not a library: docs/decisions/140-one-rfc-5280-machine.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.certificate import PathCertificate, by_subject
from tsa_core.paths.errors import PathError, VerificationError
from tsa_core.paths.names import CanonicalName
from tsa_core.paths.notes import Note
from tsa_core.paths.validation import Inputs, Outputs, check_authority, validate_path
from tsa_core.values import Value

MAX_PATH: Final = 10
"""Certificates in a path, target and root included."""
MAX_SIGNATURE_CHECKS: Final = 32
"""Signatures on certificates that one search checks; crossed names and keys make it grow without end."""
MAX_STEPS: Final = 256
"""Issuers that one search tries; the same few signatures make ever more paths."""

ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)
"""The time of a builder's inputs, which each search replaces."""

_Pool = Mapping[CanonicalName, Sequence[PathCertificate]]


class Path(Value):
    """A valid path: `certificates` from the signer to the root, and the interval in which all are valid.

    `outputs` are the policies of the path, None where the target is trusted itself.
    """

    certificates: tuple[PathCertificate, ...]
    not_before: datetime
    not_after: datetime
    outputs: Outputs | None = None

    @property
    def signer(self) -> PathCertificate:
        """The certificate whose key made the token's signature."""
        return self.certificates[0]

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """What breaks a rule of RFC 5280 in the path's certificates and was accepted nonetheless."""
        return tuple(note for certificate in self.certificates for note in certificate.notes)


class PathBuilder:
    """Builds paths to these roots; `helpers` carry no trust. Immutable and safe to use from many threads.

    `inputs` are those of every validation, but for the time.
    """

    def __init__(
        self,
        roots: Sequence[PathCertificate],
        helpers: Sequence[PathCertificate] = (),
        inputs: Inputs | None = None,
    ) -> None:
        self.helpers = tuple(helpers)
        self._inputs = inputs if inputs is not None else Inputs(time=ANY_TIME)
        self._roots = by_subject(roots)
        self._anchors = {root.der: root for root in roots}
        self._helpers = by_subject(self.helpers)
        self.known = {certificate.der: certificate for certificate in (*roots, *self.helpers)}
        """The caller's certificates by their bytes, so that copies of them in tokens need not be read again."""

    def build(self, signer: PathCertificate, embedded: Sequence[PathCertificate], time: datetime) -> Path:
        """Return a valid path at `time`; `embedded` are certificates that came with the token.

        The outcome does not depend on the order of certificates. Raises a VerificationError of rule V8 or V15 that
        tells what stopped the most promising attempt.
        """
        inputs = self._inputs.replace(time=time)
        anchor = self._anchors.get(signer.der)
        if anchor is not None:
            signer = anchor  # whoever brought the certificate: as a root it may be trusted for some time only
        signer.check_critical_extensions()
        signer.check_time(time)
        signer.key_under(inputs.algorithms)
        outputs: Outputs | None = None
        if anchor is not None:
            # The caller trusts this very certificate; there is nothing left to build.
            certificates: tuple[PathCertificate, ...] = (signer,)
        else:
            search = _Search(self._roots, (self._helpers, by_subject(embedded)), inputs)
            certificates, outputs = search.run(signer)
        return Path(
            certificates=certificates,
            not_before=max(c.not_before for c in certificates),
            not_after=min(c.not_after for c in certificates),
            outputs=outputs,
        )


class _Search:
    """One depth-first search, roots before intermediates, with its budget and the best reason to fail.

    A link is followed when it could be part of a valid path on its own; the whole path is then validated.
    """

    def __init__(self, roots: _Pool, pools: Sequence[_Pool], inputs: Inputs) -> None:
        self._roots = roots
        self._pools = pools
        self._inputs = inputs
        self._signatures: dict[tuple[bytes, bytes], VerificationError | None] = {}
        self._steps = 0
        self._reason: VerificationError | None = None
        self._reason_depth = 0

    def run(self, signer: PathCertificate) -> tuple[tuple[PathCertificate, ...], Outputs]:
        found = self._extend((signer,))
        if found is not None:
            return found
        if self._reason is not None:
            raise self._reason
        raise PathError(f"{signer.name} leads to none of the trusted roots: its issuer is not among them")

    def _extend(self, chain: tuple[PathCertificate, ...]) -> tuple[tuple[PathCertificate, ...], Outputs] | None:
        child = chain[-1]
        known = {certificate.der for certificate in chain}
        for root in self._candidates(child, (self._roots,), known):
            path = (*chain, root)
            depth = len(chain)  # a root that did not sign the chain's end is no way to go
            try:
                self._count_step()
                self._check_signature(child, root)
                depth = len(path)
                return path, validate_path(path, self._inputs, check_signature=self._check_signature)
            except VerificationError as error:
                self._failed(depth, error)
        if len(chain) + 2 > MAX_PATH:
            self._failed(len(chain), PathError(f"the path is longer than {MAX_PATH} certificates"))
            return None
        issuers = self._candidates(child, self._pools, known)
        for issuer in issuers:
            try:
                self._count_step()
                self._check_link(child, issuer)
            except VerificationError as error:
                self._failed(len(chain), error)
            else:
                found = self._extend((*chain, issuer))
                if found is not None:
                    return found
        if not issuers and child.issuer_name not in self._roots:
            self._failed(len(chain), PathError(f"the issuer of {child.name} is neither a trusted root nor at hand"))
        return None

    def _candidates(
        self, child: PathCertificate, pools: Sequence[_Pool], known: set[bytes]
    ) -> Sequence[PathCertificate]:
        """Return the certificates with the right name in an order of their own: the most promising first."""
        name = child.issuer_name
        named = {c.der: c for pool in pools if name in pool for c in pool[name] if c.der not in known}
        if len(named) < 2:
            return tuple(named.values())
        wanted = child.value(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        key = wanted.key_identifier if wanted is not None else None

        def rank(candidate: PathCertificate) -> tuple[bool, bool, bytes]:
            try:
                own = candidate.value(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
                candidate.check_time(self._inputs.time)
            except VerificationError:
                return True, True, candidate.der
            return key is not None and own is not None and own.digest != key, False, candidate.der

        return sorted(named.values(), key=rank)

    def _check_link(self, child: PathCertificate, issuer: PathCertificate) -> None:
        """Raise a VerificationError unless `issuer` may have issued, and did issue, the end of the chain."""
        issuer.check_time(self._inputs.time)
        issuer.check_critical_extensions()
        check_authority(issuer, self._inputs)
        self._check_signature(child, issuer)

    def _check_signature(self, child: PathCertificate, issuer: PathCertificate) -> None:
        """Check a signature once in this search, and remember what came of it."""
        pair = (child.der, issuer.der)
        if pair not in self._signatures:
            if len(self._signatures) >= MAX_SIGNATURE_CHECKS:
                raise PathError(f"no path was found within {MAX_SIGNATURE_CHECKS} signature checks")
            try:
                child.check_signed_by(issuer, self._inputs.algorithms)
                self._signatures[pair] = None
            except VerificationError as error:
                self._signatures[pair] = error
        reason = self._signatures[pair]
        if reason is not None:
            raise reason

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise PathError(f"no path was found within {MAX_STEPS} steps")

    def _failed(self, depth: int, error: VerificationError) -> None:
        if depth >= self._reason_depth:
            self._reason, self._reason_depth = error, depth
