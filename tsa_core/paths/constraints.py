"""Name constraints and certificate policies along a path (RFC 5280 4.2.1.10 and 6.1).

What cannot be checked is refused: a constraint on a kind of name that this module does not compare fails
the path as soon as a certificate below uses that kind, and required policies fail where policies are
mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.errors import PathError

_ANY_POLICY: Final = "2.5.29.32.0"


def check_name_constraints(path: Sequence[PathCertificate]) -> None:
    """Raise PathError when a name breaks a constraint of a CA above it; `path` runs from signer to root."""
    for position in range(1, len(path)):
        constraints = path[position].value(ExtensionOID.NAME_CONSTRAINTS)
        if constraints is None:
            continue
        for below in range(position):
            certificate = path[below]
            # RFC 5280 6.1.3: self-issued certificates are exempt unless they end the path.
            if below == 0 or not certificate.self_issued:
                for name in _names(certificate):
                    _check_name(name, constraints, certificate, path[position])


def _names(certificate: PathCertificate) -> list[x509.GeneralName]:
    subject = certificate.certificate.subject
    names: list[x509.GeneralName] = [x509.DirectoryName(subject)] if subject.rdns else []
    emails = subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
    names.extend(x509.RFC822Name._init_without_validation(str(email.value)) for email in emails)
    alternative = certificate.value(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    return names + list(alternative or ())


def _check_name(
    name: x509.GeneralName,
    constraints: x509.NameConstraints,
    certificate: PathCertificate,
    ca: PathCertificate,
) -> None:
    permitted = [tree for tree in constraints.permitted_subtrees or () if type(tree) is type(name)]
    excluded = [tree for tree in constraints.excluded_subtrees or () if type(tree) is type(name)]
    if not permitted and not excluded:
        return
    if not isinstance(name, x509.DirectoryName):
        raise PathError(
            f"{ca.name} constrains {type(name).__name__}, which {certificate.name} has and cannot be checked"
        )
    if any(_within(name, tree) for tree in excluded):
        raise PathError(f"{certificate.name} has a name that {ca.name} excludes")
    if permitted and not any(_within(name, tree) for tree in permitted):
        raise PathError(f"{certificate.name} has a name that {ca.name} does not permit")


def _within(name: x509.DirectoryName, tree: x509.GeneralName) -> bool:
    """Say whether a name lies in a subtree: the subtree's RDNs are the name's first ones."""
    assert isinstance(tree, x509.DirectoryName)  # noqa: S101 - the caller compared the types
    base = [_folded(rdn) for rdn in tree.value.rdns]
    return [_folded(rdn) for rdn in name.value.rdns[: len(base)]] == base


def _folded(rdn: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str]]:
    # RFC 5280 7.1: case and repeated spaces do not distinguish names.
    return frozenset((a.oid.dotted_string, " ".join(str(a.value).casefold().split())) for a in rdn)


def check_policies(path: Sequence[PathCertificate]) -> None:
    """Raise PathError when a CA requires an explicit policy and the path has none in common.

    The user's initial policy set is any policy; `path` runs from signer to root. The root's own extensions
    take no part, as it is given as a trust anchor (RFC 5280 6.1.1).
    """
    length = len(path) - 1
    explicit = any_policy = length + 1
    valid: set[str] = {_ANY_POLICY}
    mapped = False
    for remaining in range(length - 1, -1, -1):
        certificate = path[remaining]
        own = {p.policy_identifier.dotted_string for p in certificate.value(ExtensionOID.CERTIFICATE_POLICIES) or ()}
        kept = {p for p in own if p != _ANY_POLICY and (p in valid or _ANY_POLICY in valid)}
        if _ANY_POLICY in own and (any_policy > 0 or (certificate.self_issued and remaining)):
            kept |= valid
        valid = kept
        if not (remaining and certificate.self_issued):
            explicit, any_policy = max(explicit - 1, 0), max(any_policy - 1, 0)
        mapped = mapped or certificate.policy_mappings
        required = certificate.value(ExtensionOID.POLICY_CONSTRAINTS)
        skip = required.require_explicit_policy if required is not None else None
        # At the end of the path only zero takes effect (RFC 5280 6.1.5).
        if skip is not None and (remaining or skip == 0):
            explicit = min(explicit, skip)
        inhibit = certificate.value(ExtensionOID.INHIBIT_ANY_POLICY)
        if inhibit is not None and remaining:
            any_policy = min(any_policy, inhibit.skip_certs)
        if explicit == 0 and (not valid or mapped):
            why = "mapped policies, which are not supported" if mapped else "no policy in common"
            raise PathError(f"the path to {certificate.name} needs an explicit policy but has {why}")
