"""Certificate paths from a timestamp's signer to a trusted root, at one moment (rule V8; RFC 5280 6.1).

Why not a library: docs/decisions/010-path-building.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tsa_core.paths.certificate import PathCertificate, by_subject
from tsa_core.paths.constraints import check_name_constraints, check_policies
from tsa_core.paths.errors import PathError, VerificationError

MAX_PATH: Final = 10
"""Certificates in a path, signer and root included."""
MAX_SIGNATURE_CHECKS: Final = 32
"""Signatures on certificates that one search checks; crossed names and keys make it grow without end."""

_ISSUING_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


@dataclass(frozen=True, kw_only=True)
class Path:
    """A valid path: `certificates` from the signer to the root, and the interval in which all are valid."""

    certificates: tuple[PathCertificate, ...]
    not_before: datetime
    not_after: datetime

    @property
    def signer(self) -> PathCertificate:
        """The certificate whose key made the token's signature."""
        return self.certificates[0]


class PathBuilder:
    """Builds paths to these roots; `helpers` carry no trust. Immutable and safe to use from many threads."""

    def __init__(self, roots: Sequence[PathCertificate], helpers: Sequence[PathCertificate] = ()) -> None:
        self.helpers = tuple(helpers)
        self._roots = by_subject(roots)
        self._root_ders = {root.der for root in roots}
        self._helpers = by_subject(self.helpers)
        self.known = {certificate.der: certificate for certificate in (*roots, *self.helpers)}
        """The caller's certificates by their bytes, so that copies of them in tokens need not be read again."""

    def build(self, signer: PathCertificate, embedded: Sequence[PathCertificate], time: datetime) -> Path:
        """Return a valid path at `time`; `embedded` are certificates that came with the token.

        Raises a VerificationError of rule V8 or V15 that tells what stopped the most promising attempt.
        """
        signer.check_critical_extensions()
        signer.check_time(time)
        _ = signer.public_key
        search = _Search(self._roots, self._helpers, by_subject(embedded), time)
        if signer.der in self._root_ders:
            # The caller trusts this very certificate; there is nothing left to build.
            certificates: tuple[PathCertificate, ...] = (signer,)
        else:
            certificates = search.run(signer)
        return Path(
            certificates=certificates,
            not_before=max(c.not_before for c in certificates),
            not_after=min(c.not_after for c in certificates),
        )


class _Search:
    """One depth-first search, roots before intermediates, with its budget and the best reason to fail."""

    def __init__(
        self,
        roots: dict[bytes, list[PathCertificate]],
        helpers: dict[bytes, list[PathCertificate]],
        embedded: dict[bytes, list[PathCertificate]],
        time: datetime,
    ) -> None:
        self._roots = roots
        self._pools = (helpers, embedded)
        self._time = time
        self._checks = 0
        self._reason: VerificationError | None = None
        self._reason_depth = 0

    def run(self, signer: PathCertificate) -> tuple[PathCertificate, ...]:
        found = self._extend((signer,))
        if found is not None:
            return found
        if self._reason is not None:
            raise self._reason
        raise PathError(f"{signer.name} leads to none of the trusted roots: its issuer is not among them")

    def _extend(self, chain: tuple[PathCertificate, ...]) -> tuple[PathCertificate, ...] | None:
        child = chain[-1]
        known = {certificate.der for certificate in chain}
        for root in self._candidates(child, (self._roots,), known):
            try:
                self._check_link(chain, root)
                path = (*chain, root)
                check_name_constraints(path)
                check_policies(path)
            except VerificationError as error:
                self._failed(len(chain) + 1, error)
            else:
                return path
        if len(chain) + 2 > MAX_PATH:
            self._failed(len(chain), PathError(f"the path is longer than {MAX_PATH} certificates"))
            return None
        issuers = self._candidates(child, self._pools, known)
        for issuer in issuers:
            try:
                self._check_link(chain, issuer)
            except VerificationError as error:
                self._failed(len(chain), error)
            else:
                found = self._extend((*chain, issuer))
                if found is not None:
                    return found
        if not issuers and child.issuer not in self._roots:
            self._failed(len(chain), PathError(f"the issuer of {child.name} is neither a trusted root nor at hand"))
        return None

    def _candidates(
        self,
        child: PathCertificate,
        pools: Sequence[dict[bytes, list[PathCertificate]]],
        known: set[bytes],
    ) -> list[PathCertificate]:
        """Return the certificates with the right name, those with the right key identifier first."""
        named = {c.der: c for pool in pools for c in pool.get(child.issuer, ()) if c.der not in known}
        if len(named) < 2:
            return list(named.values())
        wanted = child.value(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        key = wanted.key_identifier if wanted is not None else None

        def other_key(candidate: PathCertificate) -> bool:
            own = candidate.value(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
            return key is not None and own is not None and own.digest != key

        return sorted(named.values(), key=other_key)

    def _check_link(self, chain: tuple[PathCertificate, ...], issuer: PathCertificate) -> None:
        """Raise a VerificationError unless `issuer` may have issued, and did issue, the end of the chain."""
        child = chain[-1]
        issuer.check_time(self._time)
        issuer.check_critical_extensions()
        _check_ca(issuer, [c for c in chain[1:] if not c.self_issued])
        self._checks += 1
        if self._checks > MAX_SIGNATURE_CHECKS:
            raise PathError(f"no path was found within {MAX_SIGNATURE_CHECKS} signature checks")
        child.check_signed_by(issuer)

    def _failed(self, depth: int, error: VerificationError) -> None:
        if depth >= self._reason_depth:
            self._reason, self._reason_depth = error, depth


def _check_ca(issuer: PathCertificate, intermediates_below: Sequence[PathCertificate]) -> None:
    """Raise PathError unless the certificate is a CA that may have timestamping below it (RFC 5280 6.1.4)."""
    constraints = issuer.value(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is None and issuer.certificate.version == x509.Version.v1 and issuer.self_issued:
        return  # roots from before there were extensions; an intermediate without them is never a CA
    if constraints is None or not constraints.ca:
        raise PathError(f"{issuer.name} is not a CA, so it cannot have issued a timestamping certificate")
    if constraints.path_length is not None and len(intermediates_below) > constraints.path_length:
        raise PathError(f"{issuer.name} permits fewer intermediates below it than the path has")
    usage = issuer.value(ExtensionOID.KEY_USAGE)
    if usage is not None and not usage.key_cert_sign:
        raise PathError(f"the key usage of {issuer.name} does not permit signing certificates")
    purposes = issuer.value(ExtensionOID.EXTENDED_KEY_USAGE)
    if purposes is not None and not _ISSUING_PURPOSES.intersection(purposes):
        raise PathError(f"the extended key usage of {issuer.name} excludes timeStamping")
