"""RFC 5280 6.1 and RFC 9618, step by step, on certificates assembled for the purpose."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.paths.encoded_certificates import (
    ANY_POLICY,
    CA,
    COMMON_NAME,
    EXTENDED_KEY_USAGE,
    ORGANIZATION,
    TIME,
    Encoded,
    Extension,
    basic_constraints,
    common_name,
    encoded,
    inhibit_any_policy,
    key_usage,
    mappings,
    name,
    policies,
    policy_constraints,
)
from tsa_core.paths import building
from tsa_core.paths.building import Path, PathBuilder
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.errors import PathError
from tsa_core.paths.validation import Inputs, Outputs, check_authority, validate_path
from tsa_core.protocol import der
from tsa_core.protocol.reply import values_of

ROOT = encoded("Root", extensions=CA)
P1, P2, P3 = "1.2.3.1", "1.2.3.2", "1.2.3.3"


def validate(*path: Encoded, **inputs: Any) -> Outputs:
    """Validate a path that is given from the target to the root."""
    return validate_path([certificate.path for certificate in path], Inputs(time=TIME, **inputs))


def build(target: Encoded, *helpers: Encoded, roots: tuple[Encoded, ...] = (ROOT,)) -> Path:
    builder = PathBuilder([root.path for root in roots], (), Inputs(time=TIME))
    return builder.build(target.path, [helper.path for helper in helpers], TIME)


def chain(*extensions: tuple[Extension, ...], root: Encoded = ROOT) -> list[Encoded]:
    """Return a path, target first, of CAs below the root with these extensions beside a CA's, and a target."""
    path = [root]
    for depth, own in enumerate(extensions[:-1], 1):
        path.insert(0, encoded(f"CA {depth}", issuer=path[0], key_number=depth, extensions=(*CA, *own)))
    target = encoded("Target", issuer=path[0], key_number=len(path), extensions=extensions[-1])
    return [target, *path]


# --- certificates that are no CAs ---


def test_a_self_issued_certificate_of_version_1_is_no_intermediate() -> None:
    """It has no basicConstraints; only a trust anchor may be of it (RFC 5280 6.1.4 (k))."""
    old = encoded("Root", issuer=ROOT, key_number=1, version=None)
    target = encoded("Target", issuer=old, key_number=2)
    with pytest.raises(PathError, match="is not a CA"):
        build(target, old)
    with pytest.raises(PathError, match="is not a CA"):
        validate(target, old, ROOT)


def test_a_trust_anchor_may_be_of_version_1() -> None:
    old = encoded("Old root", version=None)
    assert len(build(encoded("Target", issuer=old, key_number=1), roots=(old,)).certificates) == 2


def test_a_trust_anchor_of_version_3_says_that_it_is_a_ca() -> None:
    plain = encoded("Plain", extensions=(key_usage(5),))
    with pytest.raises(PathError, match="is not a CA"):
        build(encoded("Target", issuer=plain, key_number=1), roots=(plain,))


@pytest.mark.parametrize("own", [(), (basic_constraints(ca=False),), (basic_constraints(), key_usage(0))])
def test_an_intermediate_is_a_ca_that_signs_certificates(own: tuple[Extension, ...]) -> None:
    middle = encoded("CA", issuer=ROOT, key_number=1, extensions=own)
    with pytest.raises(PathError, match=r"is not a CA|does not permit signing certificates"):
        build(encoded("Target", issuer=middle, key_number=2), middle)


def test_extended_key_usages_of_cas_count_where_a_purpose_is_asked_for() -> None:
    code_signing = "1.3.6.1.5.5.7.3.3"
    usage = Extension(EXTENDED_KEY_USAGE, der.sequence(der.oid(code_signing)))
    target, middle, root = chain((usage,), ())
    assert validate(target, middle, root)
    assert validate(target, middle, root, purposes=frozenset({ExtendedKeyUsageOID.CODE_SIGNING}))
    with pytest.raises(PathError, match="extended key usage"):
        validate(target, middle, root, purposes=frozenset({ExtendedKeyUsageOID.TIME_STAMPING}))


# --- path length and self-issued certificates ---


def test_self_issued_certificates_do_not_count_whatever_the_spelling_of_the_name() -> None:
    ca = encoded("CA", issuer=ROOT, key_number=1, extensions=(basic_constraints(path_length=0),))
    rolled = encoded(common_name(" ca ", 0x13), issuer=ca, key_number=2, extensions=CA)
    target = encoded("Target", issuer=rolled, key_number=3)
    assert len(build(target, ca, rolled).certificates) == 4
    below = encoded("Below", issuer=ca, key_number=4, extensions=CA)
    with pytest.raises(PathError, match="fewer intermediates"):
        build(encoded("Target", issuer=below, key_number=5), ca, below)


# --- names ---


EQUAL = [
    name((COMMON_NAME, "Ca  Nr   1")),
    name((COMMON_NAME, "  ca nr 1 ")),
    name((COMMON_NAME, "CA NR 1", 0x13)),
    name((COMMON_NAME, "CA NR 1", 0x16)),
    name((COMMON_NAME, "ca nr 1", 0x1E)),
    name((COMMON_NAME, "ca nr 1", 0x1C)),
    name((COMMON_NAME, "ca nr 1", 0x14)),
    name((COMMON_NAME, "ca\u00a0nr\t1")),
    name((COMMON_NAME, "ca\u00ad nr 1\u200b")),
    name((COMMON_NAME, "\uff43\uff41 nr 1")),
]


@pytest.mark.parametrize("spelling", EQUAL)
def test_names_that_differ_in_case_space_and_string_type_are_equal(spelling: bytes) -> None:
    middle = encoded(spelling, issuer=ROOT, key_number=1, extensions=CA)
    target = encoded("Target", issuer=middle, issuer_name=EQUAL[0], key_number=2)
    assert len(build(target, middle).certificates) == 3


@pytest.mark.parametrize(
    "other",
    [
        name((COMMON_NAME, "Ca Nr1")),
        name((COMMON_NAME, "Ca Nr 2")),
        name((ORGANIZATION, "Ca Nr 1")),
        name((COMMON_NAME, "Ca Nr 1"), (COMMON_NAME, "Ca Nr 1")),
        name((COMMON_NAME, "Ca Nr 1", der.OCTET_STRING)),
        name(),
    ],
)
def test_names_that_differ_otherwise_are_not(other: bytes) -> None:
    middle = encoded(other, issuer=ROOT, key_number=1, extensions=CA)
    target = encoded("Target", issuer=middle, issuer_name=EQUAL[0], key_number=2)
    with pytest.raises(PathError, match="neither a trusted root nor at hand"):
        build(target, middle)
    with pytest.raises(PathError, match="names another issuer"):
        validate(target, middle, ROOT)


def test_an_attribute_that_an_rdn_has_twice_is_not_one_attribute() -> None:
    """RDNs have the same number of attributes, or they differ (RFC 5280 7.1)."""
    once = name((COMMON_NAME, "Ca Nr 1"))
    (attribute,) = values_of(values_of(once[2:])[0][2:])
    twice = der.sequence(der.set_of(attribute, attribute))
    for own, stated in ((once, twice), (twice, once)):
        middle = encoded(own, issuer=ROOT, key_number=1, extensions=CA)
        target = encoded("Target", issuer=middle, issuer_name=stated, key_number=2)
        with pytest.raises(PathError, match="neither a trusted root nor at hand"):
            build(target, middle)


def test_letters_fold_beyond_ascii() -> None:
    middle = encoded(name((COMMON_NAME, "STRASSE \u00c4")), issuer=ROOT, key_number=1, extensions=CA)
    spelt = name((COMMON_NAME, "stra\u00dfe a\u0308"))
    assert len(build(encoded("Target", issuer=middle, issuer_name=spelt, key_number=2), middle).certificates) == 3


# --- one of several ways ---


def test_v17_the_outcome_does_not_depend_on_the_order_of_certificates() -> None:
    """CAs of one name: crossed, expired, of another key, of the wrong kind; one way in all orders leads to the root."""
    other_root = encoded("Other root", key_number=1, extensions=CA)
    bag = [
        encoded("CA", issuer=ROOT, key_number=2, extensions=CA),
        encoded("CA", issuer=other_root, key_number=2, extensions=CA),
        encoded("CA", issuer=ROOT, key_number=3, extensions=CA),
        encoded("CA", issuer=ROOT, key_number=2, extensions=CA, end=b"210101000000Z"),
        encoded("CA", issuer=ROOT, key_number=2, version=None),
    ]
    target = encoded("Target", issuer=bag[0], key_number=4)
    found = {tuple(c.der for c in build(target, *order).certificates) for order in itertools.permutations(bag)}
    assert found == {(target.der, bag[0].der, ROOT.der)}
    reasons = set()
    for order in itertools.permutations(bag[1:]):
        with pytest.raises(PathError) as refused:
            build(target, *order)
        reasons.add(str(refused.value))
    assert len(reasons) == 1


def test_a_way_that_its_policies_forbid_is_left_for_another() -> None:
    strict = encoded("CA", issuer=ROOT, key_number=1, extensions=(*CA, policy_constraints(explicit=0)))
    free = encoded("CA", issuer=ROOT, key_number=1, serial_number=2, extensions=CA)
    target = encoded("Target", issuer=free, key_number=2)
    for order in ((strict, free), (free, strict)):
        assert build(target, *order).certificates[1].der == free.der


def crossed(count: int) -> list[Encoded]:
    """Return certificates that each of `count` CAs issued to each other one: ever longer ways, none to the root."""
    cas = [encoded(f"CA {number}", key_number=number, extensions=CA) for number in range(count)]
    return [
        encoded(f"CA {b}", issuer=cas[a], key_number=b, serial_number=a + 1, extensions=CA)
        for a, b in itertools.permutations(range(count), 2)
    ]


@pytest.mark.parametrize(
    "bag",
    [
        crossed(8)[:60],
        [encoded("CA 0", key_number=0, serial_number=n + 1, extensions=CA) for n in range(60)],
        [encoded("CA 0", key_number=n % 50, serial_number=n + 1, extensions=CA) for n in range(60)],
    ],
    ids=["crossed", "one key", "many keys"],
)
def test_a_hostile_bag_is_given_up_after_a_bounded_amount_of_work(
    bag: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: signatures are what costs, steps are what multiplies."""
    work = {"signatures": 0, "validations": 0, "links": 0}

    def counted(key: str, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            work[key] += 1
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(PathCertificate, "check_signed_by", counted("signatures", PathCertificate.check_signed_by))
    monkeypatch.setattr(building, "validate_path", counted("validations", validate_path))
    monkeypatch.setattr(building, "check_authority", counted("links", check_authority))
    target = encoded("Target", issuer=encoded("CA 0", key_number=0), key_number=9)
    with pytest.raises(PathError):
        build(target, *bag, roots=(ROOT, encoded("CA 1", key_number=11, extensions=CA)))
    assert work["signatures"] <= building.MAX_SIGNATURE_CHECKS
    assert work["validations"] + work["links"] <= building.MAX_STEPS


# --- policies ---


@pytest.mark.parametrize(
    ("extensions", "inputs", "good"),
    [
        # initial-explicit-policy and user-initial-policy-set
        (((policies(P1),), (policies(P1),)), {}, True),
        (((policies(P1),), (policies(P1),)), {"initial_explicit_policy": True}, True),
        (((policies(P1),), (policies(P2),)), {}, True),
        (((policies(P1),), (policies(P2),)), {"initial_explicit_policy": True}, False),
        (((), ()), {"initial_explicit_policy": True}, False),
        (((policies(P1),), (policies(P1),)), {"user_initial_policy_set": frozenset({P2})}, True),
        (
            ((policies(P1),), (policies(P1),)),
            {"user_initial_policy_set": frozenset({P2}), "initial_explicit_policy": True},
            False,
        ),
        # mapping
        (((policies(P1), mappings((P1, P2))), (policies(P2),)), {"initial_explicit_policy": True}, True),
        (((policies(P1), mappings((P1, P2))), (policies(P1),)), {"initial_explicit_policy": True}, False),
        (
            ((policies(P1), mappings((P1, P2))), (policies(P2),)),
            {"initial_explicit_policy": True, "user_initial_policy_set": frozenset({P1})},
            True,
        ),
        (
            ((policies(P1), mappings((P1, P2))), (policies(P2),)),
            {"initial_explicit_policy": True, "user_initial_policy_set": frozenset({P2})},
            False,
        ),
        (
            ((policies(P1), mappings((P1, P2))), (policies(P2),)),
            {"initial_explicit_policy": True, "initial_policy_mapping_inhibit": True},
            False,
        ),
        (
            ((policy_constraints(mapping=0), policies(P1)), (policies(P1), mappings((P1, P2))), (policies(P2),)),
            {"initial_explicit_policy": True},
            False,
        ),
        (
            ((policy_constraints(mapping=1), policies(P1)), (policies(P1), mappings((P1, P2))), (policies(P2),)),
            {"initial_explicit_policy": True},
            True,
        ),
        (((policies(ANY_POLICY), mappings((P1, P2))), (policies(P2),)), {"initial_explicit_policy": True}, True),
        (((policies(P1), mappings((ANY_POLICY, P2))), (policies(P2),)), {}, False),
        (((policies(P1), mappings((P1, ANY_POLICY))), (policies(P2),)), {}, False),
        # anyPolicy and inhibitAnyPolicy
        (((policies(ANY_POLICY),), (policies(P1),)), {"initial_explicit_policy": True}, True),
        (
            ((policies(ANY_POLICY),), (policies(P1),)),
            {"initial_explicit_policy": True, "initial_any_policy_inhibit": True},
            False,
        ),
        (
            ((inhibit_any_policy(0), policies(P1)), (policies(ANY_POLICY),)),
            {"initial_explicit_policy": True},
            False,
        ),
        (
            ((inhibit_any_policy(1), policies(P1)), (policies(ANY_POLICY),), (policies(P1),)),
            {"initial_explicit_policy": True},
            True,
        ),
        (
            ((inhibit_any_policy(1), policies(P1)), (policies(P1),), (policies(ANY_POLICY),)),
            {"initial_explicit_policy": True},
            False,
        ),
        # requireExplicitPolicy
        (((policy_constraints(explicit=0),), (policies(P1),)), {}, False),
        (((policies(P1), policy_constraints(explicit=0)), (policies(P2),)), {}, False),
        (((policies(P1), policy_constraints(explicit=2)), (), (policies(P1),)), {}, False),
        (((policies(P1), policy_constraints(explicit=3)), (), (policies(P1),)), {}, True),
        (((policies(P1),), (policies(P2), policy_constraints(explicit=0))), {}, False),
    ],
)
def test_policies_are_mapped_constrained_and_required(
    extensions: tuple[tuple[Extension, ...], ...], inputs: dict[str, Any], good: bool
) -> None:
    path = chain(*extensions)
    if good:
        assert validate(*path, **inputs)
    else:
        with pytest.raises(PathError, match=r"explicit policy|maps anyPolicy"):
            validate(*path, **inputs)


def test_the_outputs_are_the_policies_in_the_terms_of_the_anchor() -> None:
    path = chain((policies(P1, P3), mappings((P1, P2))), (policies(P2, P3),))
    assert validate(*path) == Outputs(frozenset({P1, P3}), frozenset({P1, P3}))
    only_one = validate(*path, user_initial_policy_set=frozenset({P1}))
    assert only_one == Outputs(frozenset({P1, P3}), frozenset({P1}))
    anything = chain((policies(ANY_POLICY),), (policies(ANY_POLICY),))
    assert validate(*anything, user_initial_policy_set=frozenset({P2})).user_constrained_policy_set == {P2}


def test_mappings_that_multiply_do_not_multiply_the_work() -> None:
    """With the tree of RFC 5280, these seven CAs would make 12 to the power of 7 nodes (CVE-2023-0464)."""
    own = [f"1.2.3.{number}" for number in range(12)]
    every = mappings(*itertools.product(own, own))
    path = chain(*[(policies(*own), every)] * 7, (policies(*own),))
    assert validate(*path, initial_explicit_policy=True).authority_constrained_policy_set == set(own)
