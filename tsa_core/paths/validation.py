"""Validation of one certificate path, step by step as RFC 5280 6.1 and RFC 9618 have it.

The state variables have the names of 6.1.2; each function is a step of 6.1.3, 6.1.4 or 6.1.5 and says which.
Step 6.1.3 (a)(3), revocation, is `tsa_core.paths.revocation`'s, which needs a path that is valid otherwise.

Beyond RFC 5280 6.1, as RFC 5937 has it: the trust anchor is a certificate, and its validity, basicConstraints, key
usages and name constraints count. Its policies do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tsa_core.paths.algorithms import STRICT, AlgorithmRules
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.errors import PathError, printable
from tsa_core.paths.extensions import POLICY_MAPPINGS, policy_mappings
from tsa_core.paths.name_constraints import NotAllowed, Subtrees, check_name, read_name_constraints
from tsa_core.paths.names import DIRECTORY_NAME, GeneralName, email_addresses, general_names
from tsa_core.paths.policy_graph import ANY_POLICY, PolicyGraph, user_constrained_policies
from tsa_core.protocol.errors import EncodingError
from tsa_core.values import Value

MAX_NAME_COMPARISONS: Final = 100_000
"""Names of a path times subtrees; honest paths need a few dozen (CVE-2018-1000168 and its like)."""

SignatureCheck: TypeAlias = Callable[[PathCertificate, PathCertificate], None]
"""Raises a VerificationError unless the second certificate's key signed the first."""


class Inputs(Value):
    """What validation takes beside the path (RFC 5280 6.1.1); the defaults demand nothing.

    `initial_permitted_subtrees` restrict the forms of which they hold a subtree and leave the others free.
    `purposes` are extended key usages of which a CA that has any must have one or anyExtendedKeyUsage; with None,
    the extended key usages of CAs do not count. `algorithms` is rule V15.
    """

    time: datetime
    user_initial_policy_set: frozenset[str] = frozenset({ANY_POLICY})
    initial_policy_mapping_inhibit: bool = False
    initial_explicit_policy: bool = False
    initial_any_policy_inhibit: bool = False
    initial_permitted_subtrees: tuple[GeneralName, ...] = ()
    initial_excluded_subtrees: tuple[GeneralName, ...] = ()
    algorithms: AlgorithmRules = STRICT
    purposes: frozenset[x509.ObjectIdentifier] | None = None


class Outputs(NamedTuple):
    """What validation returns beside success (RFC 5280 6.1.6, RFC 9618 6.1.5)."""

    authority_constrained_policy_set: frozenset[str]
    user_constrained_policy_set: frozenset[str]


class _State:
    """The state variables of 6.1.2, but for the four `working` ones: `working_issuer` is the certificate with them."""

    def __init__(self, anchor: PathCertificate, n: int, inputs: Inputs) -> None:
        self.working_issuer = anchor
        self.max_path_length = n
        self.explicit_policy = 0 if inputs.initial_explicit_policy else n + 1
        self.inhibit_any_policy = 0 if inputs.initial_any_policy_inhibit else n + 1
        self.policy_mapping = 0 if inputs.initial_policy_mapping_inhibit else n + 1
        self.permitted_subtrees: list[Subtrees] = []
        self.excluded_subtrees: list[Subtrees] = []
        self.valid_policy_graph = PolicyGraph()
        self.name_comparisons = 0


def validate_path(
    certificates: Sequence[PathCertificate], inputs: Inputs, *, check_signature: SignatureCheck | None = None
) -> Outputs:
    """Validate a path, from the target to the trust anchor (RFC 5280 6.1); raises a VerificationError.

    `check_signature` replaces the check of a signature by one that remembers what it has seen.
    """
    anchor, n = certificates[-1], len(certificates) - 1
    state = _initialize(anchor, n, inputs)
    if check_signature is None:
        check_signature = _signature_check(inputs.algorithms)
    for i in range(1, n + 1):
        certificate = certificates[n - i]
        try:
            check_signature(certificate, state.working_issuer)  # 6.1.3 (a)(1)
            certificate.check_time(inputs.time)  # 6.1.3 (a)(2)
            _check_issuer_name(certificate, state)
            if i == n or not certificate.self_issued:
                _check_names(certificate, state)
            _process_policies(certificate, state, last=i == n)
            if i < n:
                _prepare_for_next(certificate, state, inputs)
        except EncodingError as error:
            raise PathError(f"{certificate.name} cannot be validated: {printable(str(error))}") from None
    return _wrap_up(certificates[0], state, inputs)


def _signature_check(rules: AlgorithmRules) -> SignatureCheck:
    return lambda certificate, issuer: certificate.check_signed_by(issuer, rules)


def _initialize(anchor: PathCertificate, n: int, inputs: Inputs) -> _State:
    """Return the state before the first certificate (6.1.2, and RFC 5937 3.2 for the anchor)."""
    state = _State(anchor, n, inputs)
    if inputs.initial_permitted_subtrees:
        state.permitted_subtrees.append(Subtrees("the caller", inputs.initial_permitted_subtrees))
    if inputs.initial_excluded_subtrees:
        state.excluded_subtrees.append(Subtrees("the caller", inputs.initial_excluded_subtrees))
    anchor.check_time(inputs.time)
    anchor.check_critical_extensions()
    if n:
        try:
            _restrict_names(anchor, state)
        except EncodingError as error:
            raise PathError(f"{anchor.name} cannot be validated: {printable(str(error))}") from None
        check_authority(anchor, inputs, is_anchor=True)
        _restrict_path_length(anchor, state)
    return state


def _check_issuer_name(certificate: PathCertificate, state: _State) -> None:
    """6.1.3 (a)(4): the issuer is the subject of the certificate above."""
    above = state.working_issuer
    if certificate.issuer != above.subject and certificate.issuer_name != above.subject_name:
        raise PathError(f"{certificate.name} names another issuer than {above.name}")


def _check_names(certificate: PathCertificate, state: _State) -> None:
    """6.1.3 (b) and (c): each name lies in permitted_subtrees and in none of excluded_subtrees."""
    if not state.permitted_subtrees and not state.excluded_subtrees:
        return
    names = [GeneralName(DIRECTORY_NAME, certificate.subject)] if certificate.subject_name else []
    alternative = certificate.raw_value(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    # An address in the subject counts where there is no subjectAltName (RFC 5280 4.2.1.10).
    names += general_names(alternative) if alternative is not None else email_addresses(certificate.subject)
    trees = sum(len(each.trees) for each in (*state.permitted_subtrees, *state.excluded_subtrees))
    state.name_comparisons += len(names) * trees
    if state.name_comparisons > MAX_NAME_COMPARISONS:
        raise PathError(f"the names and name constraints of {certificate.name} and above are more than any honest ones")
    for name in names:
        try:
            check_name(name, state.permitted_subtrees, state.excluded_subtrees)
        except NotAllowed as reason:
            raise PathError(f"{certificate.name} {printable(str(reason))}") from None


def _process_policies(certificate: PathCertificate, state: _State, *, last: bool) -> None:
    """6.1.3 (d), (e) and (f): the certificate's policies extend valid_policy_graph."""
    any_policy = state.inhibit_any_policy > 0 or (not last and certificate.self_issued)
    state.valid_policy_graph.add(certificate.policies, any_policy=any_policy)
    if state.explicit_policy == 0 and state.valid_policy_graph.null:
        raise PathError(f"the path to {certificate.name} needs an explicit policy but has no policy in common")


def _prepare_for_next(certificate: PathCertificate, state: _State, inputs: Inputs) -> None:
    """6.1.4: the certificate becomes the issuer of the next one."""
    _map_policies(certificate, state)
    state.working_issuer = certificate  # (c) to (f)
    _restrict_names(certificate, state)
    _count_policy_limits(certificate, state)
    _restrict_policies(certificate, state)
    check_authority(certificate, inputs)
    if not certificate.self_issued:  # (l)
        if state.max_path_length <= 0:
            raise PathError(f"a CA above {certificate.name} permits fewer intermediates below it than the path has")
        state.max_path_length -= 1
    _restrict_path_length(certificate, state)
    certificate.check_critical_extensions()  # (o)


def _map_policies(certificate: PathCertificate, state: _State) -> None:
    """6.1.4 (a) and (b): policies are mapped, or deleted where they may not be."""
    encoded = certificate.raw_value(POLICY_MAPPINGS)
    if encoded is None:
        return
    mappings = policy_mappings(encoded)
    if ANY_POLICY in mappings or any(ANY_POLICY in subjects for subjects in mappings.values()):
        raise PathError(f"{certificate.name} maps anyPolicy, which cannot be mapped")
    if state.policy_mapping > 0:
        state.valid_policy_graph.map(mappings)
    else:
        state.valid_policy_graph.delete(mappings)


def _restrict_names(certificate: PathCertificate, state: _State) -> None:
    """6.1.4 (g): the certificate's name constraints join those above it."""
    encoded = certificate.raw_value(ExtensionOID.NAME_CONSTRAINTS)
    if encoded is None:
        return
    constraints = read_name_constraints(encoded)
    if constraints.permitted:
        state.permitted_subtrees.append(Subtrees(certificate, constraints.permitted))
    if constraints.excluded:
        state.excluded_subtrees.append(Subtrees(certificate, constraints.excluded))


def _count_policy_limits(certificate: PathCertificate, state: _State) -> None:
    """6.1.4 (h): the limits on policies come one certificate nearer."""
    if not certificate.self_issued:
        state.explicit_policy = max(state.explicit_policy - 1, 0)
        state.policy_mapping = max(state.policy_mapping - 1, 0)
        state.inhibit_any_policy = max(state.inhibit_any_policy - 1, 0)


def _restrict_policies(certificate: PathCertificate, state: _State) -> None:
    """6.1.4 (i) and (j): policyConstraints and inhibitAnyPolicy lower the limits."""
    constraints = certificate.value(ExtensionOID.POLICY_CONSTRAINTS)
    if constraints is not None:
        if constraints.require_explicit_policy is not None:
            state.explicit_policy = min(state.explicit_policy, constraints.require_explicit_policy)
        if constraints.inhibit_policy_mapping is not None:
            state.policy_mapping = min(state.policy_mapping, constraints.inhibit_policy_mapping)
    inhibit = certificate.value(ExtensionOID.INHIBIT_ANY_POLICY)
    if inhibit is not None:
        state.inhibit_any_policy = min(state.inhibit_any_policy, inhibit.skip_certs)


def check_authority(certificate: PathCertificate, inputs: Inputs, *, is_anchor: bool = False) -> None:
    """Raise PathError unless the certificate is a CA's that signs certificates for these purposes.

    6.1.4 (k) and (n), and RFC 5280 4.2.1.12 for extended key usages. A certificate without basicConstraints, as all
    of version 1 are, is no CA's; where it is a trust anchor of version 1 or 2, the caller has said that it is.
    """
    if not certificate.is_ca and not (is_anchor and _without_extensions(certificate)):
        raise PathError(f"{certificate.name} is not a CA, so it cannot have issued a certificate")
    usage = certificate.value(ExtensionOID.KEY_USAGE)
    if usage is not None and not usage.key_cert_sign:
        raise PathError(f"the key usage of {certificate.name} does not permit signing certificates")
    purposes = certificate.value(ExtensionOID.EXTENDED_KEY_USAGE)
    if purposes is not None and inputs.purposes is not None:
        found = frozenset(purposes)
        if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in found and not found & inputs.purposes:
            raise PathError(f"the extended key usage of {certificate.name} excludes the purpose of what it issued")


def _without_extensions(certificate: PathCertificate) -> bool:
    return certificate.certificate.version == x509.Version.v1 and not certificate.extensions


def _restrict_path_length(certificate: PathCertificate, state: _State) -> None:
    """6.1.4 (m): pathLenConstraint lowers max_path_length."""
    constraints = certificate.value(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is not None and constraints.path_length is not None:
        state.max_path_length = min(state.max_path_length, constraints.path_length)


def _wrap_up(target: PathCertificate, state: _State, inputs: Inputs) -> Outputs:
    """6.1.5: the target's own constraints, and whether the path has a policy that the user accepts."""
    explicit_policy = max(state.explicit_policy - 1, 0)  # (a)
    constraints = target.value(ExtensionOID.POLICY_CONSTRAINTS)
    if constraints is not None and constraints.require_explicit_policy == 0:  # (b)
        explicit_policy = 0
    target.key_under(inputs.algorithms)  # (c) to (e)
    target.check_critical_extensions()  # (f)
    authority = state.valid_policy_graph.authority_constrained_policies()  # (g)
    user = user_constrained_policies(authority, inputs.user_initial_policy_set)
    if explicit_policy == 0 and not user:
        raise PathError(f"the path to {target.name} needs an explicit policy but has no policy in common")
    return Outputs(authority, user)
