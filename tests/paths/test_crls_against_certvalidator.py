"""Random sets of CRLs, judged by pyhanko-certvalidator too: both say the same, or the difference is one listed here."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from cryptography import x509

from tests.paths.revocation_material import CHAIN, DAY, NOW, path_of, prepared
from tsa_core.paths.errors import CertificateRevoked, VerificationError
from tsa_core.paths.revocation import Revocation, RevocationScope
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Extension, Issued, issue, key_usage, signer_extensions
from tsa_core.testing.forged_revocation import crl, entry, scope

pytestmark = pytest.mark.package("pyhanko_certvalidator", install="pyhanko-certvalidator")

CASES = 200
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


def ours(signer: Issued, crls: list[bytes]) -> str:
    try:
        revocation = Revocation.from_files(crls, scope=RevocationScope.PATH)
        revocation.check(path_of(signer), NOW, at=NOW, certificates=[prepared(LISTER)])
    except CertificateRevoked:
        return "revoked"
    except VerificationError:
        return "unknown"
    return "good"


def theirs(signer: Issued, crls: list[bytes]) -> str:
    import pyhanko_certvalidator as certvalidator
    from asn1crypto import x509 as asn1
    from pyhanko_certvalidator.errors import PathError, RevokedError, ValidationError

    def loaded(issued: Issued) -> Any:
        return asn1.Certificate.load(issued.der)

    context = certvalidator.ValidationContext(
        trust_roots=[loaded(ROOT)],
        other_certs=[loaded(CA), loaded(LISTER)],
        crls=crls,
        moment=NOW,
        best_signature_time=NOW,
        revocation_mode="require",
        allow_fetching=False,
    )
    validator = certvalidator.CertificateValidator(
        loaded(signer), intermediate_certs=[loaded(CA), loaded(LISTER)], validation_context=context
    )
    try:
        asyncio.run(validator.async_validate_path())
    except RevokedError:
        return "revoked"
    except (ValidationError, PathError, ValueError):
        return "unknown"
    return "good"


def known_difference(verdicts: tuple[str, str], signer: Issued, crls: list[bytes]) -> str | None:
    """Return why the two may differ, None when they must not."""
    if verdicts[0] == verdicts[1] or "good" not in verdicts:
        return "both refuse"
    if verdicts == ("revoked", "good"):
        return "here a stale, partial or unclear list, and a delta CRL without its base, still revokes"
    if verdicts == ("good", "unknown") and signer is SIGNERS[3]:
        return "RFC 5280 6.3.3 ends with the issuer's own list, also where a distribution point names another issuer"
    if any(map(_is_forged_indirect, crls)):
        return "certvalidator 0.33 does not notice a wrong signature on an indirect CRL"
    return None


def _is_forged_indirect(data: bytes) -> bool:
    listed = x509.load_der_x509_crl(data)
    issuers = {issued.certificate.subject: issued.certificate for issued in (CA, ROOT, LISTER)}
    indirect = [e for e in listed.extensions if isinstance(e.value, x509.IssuingDistributionPoint)]
    genuine = listed.is_signature_valid(issuers[listed.issuer].public_key())  # type: ignore[arg-type]  # P-256
    return not genuine and any(extension.value.indirect_crl for extension in indirect)


def test_both_judge_random_sets_of_crls_alike() -> None:
    choose = random.Random(6)
    seen = set()
    for number in range(CASES):
        signer = choose.choice(SIGNERS)
        crls = [crl(ROOT, this_update=NOW - DAY)]
        crls += [random_crl(choose, signer) for _ in range(choose.choice([1, 1, 2, 3]))]
        verdicts = ours(signer, crls), theirs(signer, crls)
        seen.add(verdicts)
        assert known_difference(verdicts, signer, crls) is not None, (number, verdicts)
    assert {("good", "good"), ("revoked", "revoked"), ("unknown", "unknown")} <= seen
