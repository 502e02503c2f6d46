"""Random certificate paths, valid and not, judged by this verifier and by pyhanko-certvalidator.

    python -m tests.paths.mutated_paths [--paths 100000] [--seed 1]

prints how many paths both accept and both refuse, and each one on which they disagree for no reason of EXPLAINED.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from asn1crypto import x509 as asn1
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.authority import CertTrustAnchor
from pyhanko_certvalidator.errors import PathValidationError
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    AcceptAllAlgorithms,
    CertRevTrustPolicy,
    PKIXValidationParams,
)
from pyhanko_certvalidator.validate import async_validate_path

from tests.paths.encoded_certificates import (
    ANY_POLICY,
    CA,
    COMMON_NAME,
    EMAIL_ADDRESS,
    ORGANIZATION,
    TIME,
    Encoded,
    Extension,
    alternative_names,
    basic_constraints,
    encoded,
    general_name,
    inhibit_any_policy,
    key_usage,
    mappings,
    name,
    name_constraints,
    policies,
    policy_constraints,
)
from tsa_core.paths import names
from tsa_core.paths.errors import VerificationError
from tsa_core.paths.validation import Inputs, validate_path
from tsa_core.protocol import der

POLICIES: Final = ("1.2.3.1", "1.2.3.2", "1.2.3.3", ANY_POLICY)
HOSTS: Final = ("example.org", "www.example.org", "a.www.example.org", "example.com", "Example.ORG", "badexample.org")
ANCHOR: Final = encoded(name((ORGANIZATION, "Tests"), (COMMON_NAME, "Root")), extensions=CA)
_STRING_TYPES: Final = (0x0C, 0x13, 0x1E)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A path from the target to the anchor, with the inputs of RFC 5280 6.1.1."""

    path: tuple[Encoded, ...]
    policy_set: frozenset[str]
    explicit: bool
    no_mapping: bool
    no_any_policy: bool


def cases(seed: int, count: int) -> Iterator[Case]:
    """Yield random paths, the same for the same seed but for the keys."""
    source = random.Random(seed)
    for _ in range(count):
        yield _case(source)


def _case(source: random.Random) -> Case:
    path = [ANCHOR]
    depth = source.choice((0, 1, 1, 2, 2, 3, 4))
    # Faults are rare, so that most paths have none or one; what is constrained is common.
    for position in range(1, depth + 2):
        path.insert(0, _certificate(source, path[0], position, last=position == depth + 1))
    everything = frozenset({ANY_POLICY})
    some = frozenset(source.sample(POLICIES[:3], source.randint(1, 2)))
    return Case(
        path=tuple(path),
        policy_set=some if source.random() < 0.3 else everything,
        explicit=source.random() < 0.3,
        no_mapping=source.random() < 0.1,
        no_any_policy=source.random() < 0.1,
    )


def _certificate(source: random.Random, issuer: Encoded, position: int, *, last: bool) -> Encoded:
    def happens(chance: float) -> bool:
        return source.random() < chance

    subject = _subject(source, position)
    if happens(0.08) and position > 1:
        subject = issuer.subject if happens(0.5) else _respelt(source, issuer.subject)
    extensions: list[Extension] = []
    if not last or happens(0.3):
        extensions += _authority(source)
    extensions += _policy_extensions(source, last=last)
    if happens(0.3):
        extensions.append(_constraints(source))
    if happens(0.4):
        extensions.append(alternative_names(*(_alternative(source) for _ in range(source.randint(1, 2)))))
    if happens(0.04):
        extensions.append(Extension("1.2.3.4.5", der.null(), happens(0.5)))
    fault = source.random()
    return encoded(
        subject,
        issuer=issuer,
        key_number=position,
        extensions=extensions if fault > 0.01 else (),
        version=3 if fault > 0.01 else None,
        issuer_name=_odd_issuer(source, issuer),
        signing_key=issuer.key + 7 if 0.01 < fault < 0.02 else None,
        begin=b"260101000000Z" if 0.02 < fault < 0.03 else b"200101000000Z",
        end=b"240101000000Z" if 0.03 < fault < 0.04 else b"400101000000Z",
    )


def _subject(source: random.Random, position: int) -> bytes:
    attributes: list[tuple[str, str] | tuple[str, str, int]] = [
        (ORGANIZATION, source.choice(("Tests", "tests ", "Other")))
    ]
    attributes.append((COMMON_NAME, f"Number {position}"))
    if source.random() < 0.1:
        attributes.append((EMAIL_ADDRESS, f"tsa@{source.choice(HOSTS)}", 0x16))
    return name(*attributes, tag=source.choice(_STRING_TYPES))


def _respelt(source: random.Random, encoded_name: bytes) -> bytes:
    """Return an equal name, mostly in other letters; one of BMPStrings stays."""
    swapped = encoded_name.replace(b"Number", b"NUMBER").replace(b"Tests", b"tESTS")
    return swapped if source.random() < 0.9 else encoded_name


def _odd_issuer(source: random.Random, issuer: Encoded) -> bytes | None:
    chance = source.random()
    if chance < 0.05:
        return _respelt(source, issuer.subject)
    return name((COMMON_NAME, "Somebody else")) if chance < 0.06 else None


def _authority(source: random.Random) -> list[Extension]:
    chance = source.random()
    if chance < 0.02:
        return [] if chance < 0.01 else [basic_constraints(ca=False)]
    length = source.choice((0, 1, 2, 3)) if source.random() < 0.2 else None
    usage = [] if source.random() < 0.2 else [key_usage(0) if source.random() < 0.02 else key_usage(5, 6)]
    return [basic_constraints(path_length=length), *usage]


def _policy_extensions(source: random.Random, *, last: bool) -> list[Extension]:
    found = []
    if source.random() < 0.8:
        found.append(policies(*source.sample(POLICIES, source.randint(1, 3))))
    if source.random() < (0.05 if last else 0.3):
        pairs = [(source.choice(POLICIES[:3]), source.choice(POLICIES[:3])) for _ in range(source.randint(1, 3))]
        if source.random() < 0.03:
            pairs.append((source.choice(POLICIES), source.choice(POLICIES)))
        found.append(mappings(*pairs))
    if source.random() < 0.15:
        limits = {key: source.randint(0, 3) for key in ("explicit", "mapping") if source.random() < 0.6}
        found.append(policy_constraints(**limits) if limits else policy_constraints(explicit=0))
    if source.random() < 0.15:
        found.append(inhibit_any_policy(source.randint(0, 3)))
    return found


def _constraints(source: random.Random) -> Extension:
    def trees() -> list[bytes]:
        return [_tree(source) for _ in range(source.randint(1, 2))]

    if source.random() < 0.6:
        broad = [general_name(names.DIRECTORY_NAME, name((ORGANIZATION, "TESTS")))] if source.random() < 0.5 else []
        return name_constraints(permitted=[*trees(), *broad])
    return name_constraints(excluded=trees())


def _tree(source: random.Random) -> bytes:
    host = source.choice(HOSTS)
    dotted = source.choice(("", "."))
    match source.randint(0, 3):
        case 0:
            return general_name(names.DNS_NAME, host)
        case 1:
            return general_name(names.RFC822_NAME, source.choice((f"tsa@{host}", dotted + host)))
        case 2:
            return general_name(names.URI, dotted + host)
    tag = source.choice(_STRING_TYPES)
    return general_name(names.DIRECTORY_NAME, name((ORGANIZATION, source.choice(("tests", "Tests", "Other"))), tag=tag))


def _alternative(source: random.Random) -> bytes:
    host = source.choice(HOSTS)
    match source.randint(0, 4):
        case 0:
            return general_name(names.DNS_NAME, host)
        case 1:
            return general_name(names.RFC822_NAME, f"{source.choice(('tsa', 'TSA'))}@{host}")
        case 2:
            return general_name(names.URI, source.choice((f"https://{host}/tsa", "urn:isbn:1", "https://192.0.2.1/")))
        case 3:
            return general_name(names.REGISTERED_ID, der.oid("1.2.3.4")[2:])
    return general_name(names.DIRECTORY_NAME, _subject(source, 9))


def ours(case: Case) -> str | None:
    """Return why this verifier refuses a path; None when it accepts it."""
    inputs = Inputs(
        time=TIME,
        user_initial_policy_set=case.policy_set,
        initial_explicit_policy=case.explicit,
        initial_policy_mapping_inhibit=case.no_mapping,
        initial_any_policy_inhibit=case.no_any_policy,
    )
    try:
        validate_path([certificate.path for certificate in case.path], inputs)
    except VerificationError as error:
        return str(error)
    return None


async def theirs(case: Case) -> str | None:
    """Return why pyhanko-certvalidator refuses a path; None when it accepts it."""
    target, *middle, anchor = [asn1.Certificate.load(certificate.der) for certificate in case.path]
    trusted = CertTrustAnchor(anchor)
    context = ValidationContext(
        trust_roots=[anchor],
        moment=TIME,
        allow_fetching=False,
        revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
        algorithm_usage_policy=AcceptAllAlgorithms(),
    )
    parameters = PKIXValidationParams(
        user_initial_policy_set=frozenset("any_policy" if p == ANY_POLICY else p for p in case.policy_set),
        initial_explicit_policy=case.explicit,
        initial_policy_mapping_inhibit=case.no_mapping,
        initial_any_policy_inhibit=case.no_any_policy,
    )
    path = ValidationPath(trusted, middle[::-1], target)
    try:
        await async_validate_path(context, path, parameters)
    except PathValidationError as error:
        return str(error)
    return None


def _is_encoded_anew(case: Case) -> bool:
    """Say whether a tbsCertificate has a header that ends in the octet 0x80."""
    for certificate in case.path:
        data = certificate.der
        _, start, end = der.read(data, 0, len(data))
        _, content, _ = der.read(data, start, end)
        if data[content - 1] == 0x80:
            return True
    return False


EXPLAINED: Final[dict[str, Callable[[Case], bool]]] = {
    "asn1crypto takes a length that ends in the octet 0x80 for an indefinite one, encodes what was signed anew, and "
    "sometimes otherwise (core.py, dump), so that the signature no longer verifies for them": _is_encoded_anew,
}
"""Why the two may disagree on a path."""


@dataclass(kw_only=True)
class Comparison:
    """What came of a run: how many paths both accept or both refuse, and those on which they disagree."""

    valid: int = 0
    refused: int = 0
    explained: int = 0
    disputed: list[str] = field(default_factory=list)


async def compare(seed: int, count: int) -> Comparison:
    """Judge random paths by both."""
    result = Comparison()
    for number, case in enumerate(cases(seed, count)):
        our_reason, their_reason = ours(case), await theirs(case)
        if our_reason is None and their_reason is None:
            result.valid += 1
        elif our_reason is not None and their_reason is not None:
            result.refused += 1
        elif any(applies(case) for applies in EXPLAINED.values()):
            result.explained += 1
        else:
            result.disputed.append(f"path {number} of seed {seed}: ours {our_reason!r}, theirs {their_reason!r}")
    return result


def main() -> int:
    """Compare as the command line says; 1 when there is a dispute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paths", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable()
    result = asyncio.run(compare(arguments.seed, arguments.paths))
    sys.stdout.write(f"valid for both: {result.valid}, for neither: {result.refused}, explained: {result.explained}\n")
    sys.stdout.writelines(f"{line}\n" for line in result.disputed)
    return 1 if result.disputed else 0


if __name__ == "__main__":
    raise SystemExit(main())
