"""Random sets of CRLs about one certificate, judged by this verifier and by pyhanko-certvalidator.

    python -m tests.paths.mutated_crls [--crls 100000] [--seed 1]

prints how many sets both judge alike, how many differ for each reason of EXPLAINED, and each set that differs for none.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyhanko_certvalidator as certvalidator
from asn1crypto import x509 as asn1
from cryptography import x509
from pyhanko_certvalidator.errors import PathError, RevokedError, ValidationError

from tests.paths.revocation_material import CHAIN, DAY, NOW, path_of, prepared
from tsa_core.paths.errors import CertificateRevoked, VerificationError
from tsa_core.paths.revocation import Revocation, RevocationScope
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Extension, Issued, issue, key_usage, signer_extensions
from tsa_core.testing.forged_revocation import crl, entry, scope

CA, ROOT = CHAIN.intermediate, CHAIN.root
LISTER = issue("Lister", issuer=ROOT, extensions=(key_usage(crls=True),))
URLS = [x509.UniformResourceIdentifier(f"http://crl.example/{number}") for number in range(2)]
REASONS = [flag for flag in x509.ReasonFlags if flag.name not in {"unspecified", "remove_from_crl"}]


def _signer(*points: x509.DistributionPoint) -> Issued:
    extensions: list[Extension] = list(signer_extensions())
    if points:
        extensions.append((x509.CRLDistributionPoints(points), False))
    return issue("Signer", issuer=CA, extensions=extensions)


SIGNERS = [
    _signer(),
    _signer(x509.DistributionPoint([URLS[0]], None, None, None)),
    _signer(x509.DistributionPoint([URLS[0]], None, None, None), x509.DistributionPoint([URLS[1]], None, None, None)),
    _signer(x509.DistributionPoint(None, None, None, [x509.DirectoryName(LISTER.certificate.subject)])),
]


def random_scope(choose: random.Random) -> list[bytes]:
    kind = choose.randrange(8)
    if kind < 3:
        return []
    settings: dict[str, Any] = {}
    if kind == 3:
        settings[choose.choice(["only_contains_user_certs", "only_contains_ca_certs"])] = True
    elif kind == 4:
        settings["full_name"] = choose.choice(URLS)
    elif kind == 5:
        half = REASONS[:4] if choose.random() < 0.5 else REASONS[4:]
        settings["reasons"] = half
    else:
        settings["indirect_crl"] = True
        if choose.random() < 0.3:
            settings["full_name"] = choose.choice(URLS)
    return [scope(**settings)]


def random_crl(choose: random.Random, signer: Issued) -> bytes:
    issuer = choose.choice([CA, CA, CA, CA, ROOT, LISTER])
    entries = []
    if choose.random() < 0.3:
        named = CA.certificate.subject if issuer is LISTER and choose.random() < 0.7 else None
        reason = choose.choice([1, 3, 4, 5, 9])
        entries.append(entry(signer, NOW - 20 * DAY, reason, issuer=named))
    if choose.random() < 0.3:
        entries.insert(0, entry(4711, NOW - 20 * DAY, 1))
    extensions = random_scope(choose)
    if choose.random() < 0.1:
        extensions.append(forge.extension("1.2.3.4", critical=choose.random() < 0.5))
    this_update = NOW - choose.choice([1, 1, 1, 5]) * DAY
    settings: dict[str, Any] = {"next_update": this_update + choose.choice([3, 7, 7, 7]) * DAY}
    if choose.random() < 0.15:
        settings.update(number=9, base_number=choose.choice([1, 3, 8]))
    else:
        settings["number"] = choose.choice([1, 3, 8])
    data = crl(issuer, *entries, this_update=this_update, extensions=extensions, **settings)
    if choose.random() < 0.05:
        data = data[:-1] + bytes((data[-1] ^ 1,))
    return data


@dataclass(frozen=True, kw_only=True)
class Case:
    """A signer's certificate, and the CRLs at hand; the first one is the root's, about the CA."""

    signer: Issued
    crls: tuple[bytes, ...]


def cases(seed: int, count: int) -> Iterator[Case]:
    """Yield random sets of CRLs, the same for the same seed but for keys and serial numbers."""
    choose = random.Random(seed)
    for _ in range(count):
        signer = choose.choice(SIGNERS)
        random_ones = [random_crl(choose, signer) for _ in range(choose.choice([1, 1, 2, 3]))]
        yield Case(signer=signer, crls=(crl(ROOT, this_update=NOW - DAY), *random_ones))


def ours(case: Case) -> str:
    try:
        revocation = Revocation.from_files(case.crls, scope=RevocationScope.PATH)
        revocation.check(path_of(case.signer), NOW, at=NOW, certificates=[prepared(LISTER)])
    except CertificateRevoked:
        return "revoked"
    except VerificationError:
        return "unknown"
    return "good"


def theirs(case: Case) -> str:
    def loaded(issued: Issued) -> Any:
        return asn1.Certificate.load(issued.der)

    context = certvalidator.ValidationContext(
        trust_roots=[loaded(ROOT)],
        other_certs=[loaded(CA), loaded(LISTER)],
        crls=case.crls,
        moment=NOW,
        best_signature_time=NOW,
        revocation_mode="require",
        allow_fetching=False,
    )
    validator = certvalidator.CertificateValidator(
        loaded(case.signer), intermediate_certs=[loaded(CA), loaded(LISTER)], validation_context=context
    )
    try:
        asyncio.run(validator.async_validate_path())
    except RevokedError:
        return "revoked"
    except (ValidationError, PathError, ValueError):
        return "unknown"
    return "good"


class _List:
    """What the reasons below ask of one CRL; read by `cryptography`, as none of the two judges does."""

    def __init__(self, data: bytes) -> None:
        read = x509.load_der_x509_crl(data)
        issuers = {issued.certificate.subject: issued for issued in (CA, ROOT, LISTER)}
        self.issuer = issuers[read.issuer]
        self.genuine = read.is_signature_valid(self.issuer.certificate.public_key())  # type: ignore[arg-type] # P-256
        self.stale = read.next_update_utc is not None and read.next_update_utc < NOW
        self.serial_numbers = {entry.serial_number for entry in read}
        values = [extension.value for extension in read.extensions]
        self.number = next(value.crl_number for value in values if isinstance(value, x509.CRLNumber))
        self.base = next((value.crl_number for value in values if isinstance(value, x509.DeltaCRLIndicator)), None)
        points = [value for value in values if isinstance(value, x509.IssuingDistributionPoint)]
        self.point = points[0] if points else None
        self.unclear = any(
            each.critical and isinstance(each.value, x509.UnrecognizedExtension) for each in read.extensions
        )

    @property
    def partial(self) -> bool:
        return self.base is not None or (self.point is not None and self.point.only_some_reasons is not None)

    def continues(self, base: _List) -> bool:
        """Say whether this is a delta CRL to that base (RFC 5280 5.2.4)."""
        same_scope = self.issuer is base.issuer and self.point == base.point
        return same_scope and base.base is None and self.base is not None and self.base <= base.number < self.number


def _revoked_by_a_lesser_list(case: Case) -> bool:
    serial_number = case.signer.certificate.serial_number
    lists = [each for each in map(_List, case.crls) if serial_number in each.serial_numbers]
    return any(each.genuine and (each.stale or each.partial or each.unclear) for each in lists)


def _named_another_issuer(case: Case) -> bool:
    return case.signer is SIGNERS[3]


def _has_a_forged_indirect_list(case: Case) -> bool:
    lists = [each for each in map(_List, case.crls) if not each.genuine]
    return any(each.point is not None and each.point.indirect_crl for each in lists)


def _agrees_without_forged_lists(case: Case) -> bool:
    """Whether theirs says what ours does as soon as the lists with a wrong signature are taken away."""
    genuine = tuple(data for data in case.crls if _List(data).genuine)
    return len(genuine) < len(case.crls) and theirs(Case(signer=case.signer, crls=genuine)) == ours(case)


def _has_a_current_delta_to_a_stale_base(case: Case) -> bool:
    lists = [each for each in map(_List, case.crls) if each.genuine]
    return any(delta.continues(base) and base.stale and not delta.stale for delta in lists for base in lists)


Verdicts = tuple[str, str]
"""Ours and theirs: good, revoked or unknown."""

EXPLAINED: Final[dict[str, tuple[set[Verdicts], Callable[[Case], bool]]]] = {
    "they do not notice a wrong signature on an indirect CRL (validate_crl.py)": (
        {("unknown", "good"), ("unknown", "revoked"), ("good", "revoked"), ("good", "unknown"), ("revoked", "good")},
        _has_a_forged_indirect_list,
    ),
    "they let a direct CRL with a wrong signature count, in six of 100,000 sets": (
        {("unknown", "good"), ("unknown", "revoked"), ("good", "revoked")},
        _agrees_without_forged_lists,
    ),
    "here an entry revokes also in a list that is stale, partial or unclear, and in a delta CRL (decision 144)": (
        {("revoked", "good"), ("revoked", "unknown")},
        _revoked_by_a_lesser_list,
    ),
    "RFC 5280 6.3.3 ends with the issuer's own list, also where a distribution point names another issuer": (
        {("good", "unknown"), ("revoked", "unknown"), ("revoked", "good")},
        _named_another_issuer,
    ),
    "RFC 5280 5.2.4 (a) combines a current delta CRL with any list that was issued, though it has ended": (
        {("good", "unknown")},
        _has_a_current_delta_to_a_stale_base,
    ),
}
"""Why the two may say different things about a set, and which."""


@dataclass(kw_only=True)
class Comparison:
    """What came of a run: sets judged alike by verdict, sets judged otherwise by reason, and the rest."""

    alike: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    disputed: list[str] = field(default_factory=list)


def compare(seed: int, count: int) -> Comparison:
    """Judge random sets of CRLs by both."""
    result = Comparison()
    for number, case in enumerate(cases(seed, count)):
        verdicts = ours(case), theirs(case)
        reasons = (why for why, (known, applies) in EXPLAINED.items() if verdicts in known and applies(case))
        if verdicts[0] == verdicts[1]:
            result.alike[verdicts[0]] += 1
        elif why := next(reasons, None):
            result.explained[why] += 1
        else:
            result.disputed.append(f"set {number} of seed {seed}: ours {verdicts[0]}, theirs {verdicts[1]}")
    return result


def main() -> int:
    """Compare as the command line says; 1 when there is a dispute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crls", type=int, default=1000, help="how many sets of CRLs, of two to four each")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable()
    result = compare(arguments.seed, arguments.crls)
    for verdict, count in sorted(result.alike.items()):
        sys.stdout.write(f"{verdict} for both: {count}\n")
    for why, count in result.explained.items():
        sys.stdout.write(f"{count}: {why}\n")
    sys.stdout.writelines(f"{line}\n" for line in result.disputed)
    return 1 if result.disputed else 0


if __name__ == "__main__":
    raise SystemExit(main())
