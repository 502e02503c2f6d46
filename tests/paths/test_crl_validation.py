"""CRL validation by RFC 5280 6.3: which lists count, and what they say of a certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.paths.revocation_material import CHAIN, DAY, GEN_TIME, NOW, RECENTLY, check, path_of, prepared
from tsa_core.paths.algorithms import AlgorithmRules
from tsa_core.paths.building import Path, PathBuilder
from tsa_core.paths.errors import CertificateRevoked, RevocationUnknown
from tsa_core.paths.findings import RevocationStatus
from tsa_core.paths.revocation import Revocation, RevocationScope
from tsa_core.protocol import der
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    Extension,
    Issued,
    ca_extensions,
    issue,
    key_usage,
    make_key,
    name,
    signer_extensions,
)
from tsa_core.testing.forged_revocation import NO_END, crl, entry, keeps_expired, pem, scope

CA, SIGNER = CHAIN.intermediate, CHAIN.signer
KEY_COMPROMISE, SUPERSEDED, HOLD, REMOVE = 1, 4, 6, 8
BEFORE, AFTER = GEN_TIME - DAY, GEN_TIME + DAY
COMPROMISED = entry(SIGNER, AFTER, KEY_COMPROMISE)
URL = x509.UniformResourceIdentifier("http://crl.example/1")


def good(**settings: Any) -> bytes:
    settings.setdefault("this_update", RECENTLY)
    return crl(CA, **settings)


def revoking(*entries: bytes, **settings: Any) -> bytes:
    settings.setdefault("this_update", RECENTLY)
    return crl(CA, *(entries or (COMPROMISED,)), **settings)


def pointed(*points: x509.DistributionPoint, **arguments: Any) -> Issued:
    """Return a signer with these distribution points."""
    extensions: tuple[Extension, ...] = (*signer_extensions(), (x509.CRLDistributionPoints(points), False))
    return issue("Pointed", issuer=CA, extensions=extensions, **arguments)


def test_a_current_crl_covers_and_says_where_it_came_from() -> None:
    signer, intermediate = check(("a.crl", good()))
    assert signer.status is RevocationStatus.GOOD
    (evidence,) = signer.evidence
    assert (evidence.kind, evidence.source, evidence.this_update) == ("CRL", "a.crl", RECENTLY)
    assert intermediate.status is RevocationStatus.NOT_CHECKED
    assert "is by another issuer" in intermediate.detail


# --- the moment of verification ---


def test_a_crl_that_ended_before_the_moment_of_verification_is_stale() -> None:
    ended = good(this_update=GEN_TIME, next_update=GEN_TIME + 7 * DAY)
    with pytest.raises(RevocationUnknown, match=r"the CRL old\.crl is stale"):
        check(("old.crl", ended))
    assert check(ended, at=GEN_TIME + 7 * DAY)[0].status is RevocationStatus.GOOD


def test_a_crl_of_the_future_proves_nothing() -> None:
    with pytest.raises(RevocationUnknown, match="after"):
        check(good(this_update=NOW + DAY))
    assert check(good(this_update=NOW + timedelta(minutes=4)))[0].evidence  # clocks differ


def test_a_stale_crl_still_revokes() -> None:
    with pytest.raises(CertificateRevoked):
        check(revoking(this_update=GEN_TIME, next_update=GEN_TIME + DAY), good())


def test_a_crl_without_an_end_has_an_age_limit() -> None:
    without_end = good(this_update=NOW - 8 * DAY, next_update=NO_END)
    with pytest.raises(RevocationUnknown, match="older than 7 days"):
        check(without_end)
    assert check(without_end, max_age=timedelta(days=9))[0].evidence
    assert check(good(this_update=NOW - 6 * DAY, next_update=NO_END))[0].evidence
    with pytest.raises(ValueError, match="age"):
        Revocation(max_age=timedelta(0))


def test_the_moment_must_be_aware() -> None:
    with pytest.raises(TypeError, match="aware"):
        check(good(), at=datetime(2025, 1, 1))  # noqa: DTZ001 - the point of the test


def test_without_a_moment_it_is_now() -> None:
    now = datetime.now(UTC)
    path = path_of(SIGNER)
    assert Revocation.from_files([good(this_update=now - DAY)]).check(path, GEN_TIME)[0].evidence
    with pytest.raises(RevocationUnknown, match="stale"):
        Revocation.from_files([good(this_update=now - 8 * DAY)]).check(path, GEN_TIME)


def test_a_crl_made_after_the_certificates_end_proves_nothing() -> None:
    short = issue("Short", issuer=CA, extensions=signer_extensions(), not_after=GEN_TIME + 10 * DAY)
    path = path_of(short)
    with pytest.raises(RevocationUnknown, match="does not say that it keeps"):
        check(good(), path=path)
    assert check(good(this_update=GEN_TIME + 9 * DAY, next_update=NOW), path=path)[0].evidence
    assert check(good(extensions=[keeps_expired(GEN_TIME)]), path=path)[0].evidence
    with pytest.raises(RevocationUnknown, match="keeps"):
        check(good(extensions=[keeps_expired(GEN_TIME + 11 * DAY)]), path=path)
    with pytest.raises(CertificateRevoked):
        check(revoking(entry(short, AFTER, KEY_COMPROMISE)), path=path)
    assert check(revoking(entry(short, AFTER, SUPERSEDED)), path=path)[0].status is RevocationStatus.REVOKED_LATER


# --- entries ---


@pytest.mark.parametrize("reversed_order", [False, True])
def test_every_crl_of_a_pem_file_is_read(reversed_order: bool) -> None:
    lists = [good(), revoking()]
    with pytest.raises(CertificateRevoked, match=r"both\.pem"):
        check(("both.pem", pem(*(lists[::-1] if reversed_order else lists))))


def test_every_entry_of_a_serial_number_is_judged() -> None:
    later, earlier = entry(SIGNER, AFTER, SUPERSEDED), entry(SIGNER, BEFORE, KEY_COMPROMISE)
    for order in ((later, earlier), (earlier, later)):
        with pytest.raises(CertificateRevoked, match="keyCompromise"):
            check(revoking(*order))
    assert check(revoking(later))[0].status is RevocationStatus.REVOKED_LATER


def test_a_padded_serial_number_is_found() -> None:
    number = der.integer(SIGNER.certificate.serial_number)
    padded = der.sequence(der.tlv(der.INTEGER, b"\x00" + number[2:]), COMPROMISED[2 + len(number) :])
    assert padded != COMPROMISED
    with pytest.raises(CertificateRevoked):
        check(revoking(padded))


def test_an_invalidity_date_before_gen_time_revokes() -> None:
    with pytest.raises(CertificateRevoked, match="invalid since"):
        check(revoking(entry(SIGNER, AFTER, SUPERSEDED, invalid_since=BEFORE)))
    assert check(revoking(entry(SIGNER, AFTER + DAY, SUPERSEDED, invalid_since=AFTER)))[0].detail


def test_the_accuracy_counts_against_the_revocation_date() -> None:
    revoked = revoking(entry(SIGNER, GEN_TIME + timedelta(seconds=2), SUPERSEDED))
    assert check(revoked, latest=GEN_TIME + timedelta(seconds=1))[0].detail
    with pytest.raises(CertificateRevoked):
        check(revoked, latest=GEN_TIME + timedelta(seconds=2))


UNKNOWN_CRITICAL = forge.extension("1.2.3.4", critical=True)


def test_an_unknown_critical_entry_extension_spoils_the_list() -> None:
    other = entry(4711, BEFORE, extensions=[UNKNOWN_CRITICAL])
    with pytest.raises(RevocationUnknown, match=r"entry with an unknown critical extension, 1\.2\.3\.4"):
        check(revoking(other))
    with pytest.raises(CertificateRevoked):
        check(revoking(entry(SIGNER, AFTER, SUPERSEDED, extensions=[UNKNOWN_CRITICAL])))
    with pytest.raises(CertificateRevoked):
        check(revoking(other, COMPROMISED))


def test_an_entry_that_cannot_be_read_revokes() -> None:
    unreadable = forge.extension("2.5.29.21", b"\x0a\x02\x00\x04")
    with pytest.raises(CertificateRevoked):
        check(revoking(entry(SIGNER, AFTER, extensions=[unreadable])))


def test_an_unknown_critical_extension_of_the_list() -> None:
    with pytest.raises(RevocationUnknown, match=r"unknown critical extension, 1\.2\.3\.4"):
        check(good(extensions=[UNKNOWN_CRITICAL]))
    with pytest.raises(CertificateRevoked):
        check(revoking(extensions=[UNKNOWN_CRITICAL]))
    assert check(good(extensions=[forge.extension("1.2.3.4")]))[0].evidence


# --- holds and delta CRLs ---


def test_a_hold_ends_when_a_newer_list_has_no_entry() -> None:
    held = revoking(entry(SIGNER, BEFORE, HOLD), this_update=RECENTLY - DAY)
    with pytest.raises(CertificateRevoked, match="certificateHold"):
        check(held)
    assert check(held, good())[0].status is RevocationStatus.GOOD
    with pytest.raises(CertificateRevoked):
        check(held, good(this_update=RECENTLY - 2 * DAY))


def test_only_a_hold_ends() -> None:
    with pytest.raises(CertificateRevoked):
        check(revoking(this_update=RECENTLY - DAY), good())


BASE: dict[str, Any] = {"number": 5, "this_update": RECENTLY - 5 * DAY}
DELTA: dict[str, Any] = {"number": 7, "base_number": 4}


def test_a_delta_crl_revokes_what_its_base_does_not() -> None:
    with pytest.raises(CertificateRevoked):
        check(good(**BASE), revoking(**DELTA))
    signer, _ = check(good(**BASE), good(**DELTA))
    assert [evidence.kind for evidence in signer.evidence] == ["delta CRL"]


def test_a_delta_crl_carries_its_base_on() -> None:
    ended: dict[str, Any] = {**BASE, "next_update": RECENTLY - DAY}
    with pytest.raises(RevocationUnknown, match="stale"):
        check(good(**ended))
    assert check(good(**ended), good(**DELTA))[0].evidence


@pytest.mark.parametrize(
    "delta",
    [
        {"number": 7, "base_number": 6},
        {"number": 5, "base_number": 4},
        {"number": None, "base_number": 4},
        {"number": 7, "base_number": 4, "extensions": [scope(only_contains_user_certs=True)]},
        {"number": 7, "base_number": 4, "this_update": GEN_TIME},
    ],
    ids=["for a later base", "not newer", "without a number", "of another scope", "stale"],
)
def test_a_delta_crl_that_does_not_continue_the_base(delta: dict[str, Any]) -> None:
    with pytest.raises(RevocationUnknown):
        check(good(**BASE, next_update=RECENTLY - DAY), good(**delta))


def test_a_delta_crl_alone_proves_nothing_but_a_revocation() -> None:
    with pytest.raises(RevocationUnknown, match="without the base"):
        check(good(**DELTA))
    with pytest.raises(CertificateRevoked):
        check(revoking(**DELTA))


def test_remove_from_crl_ends_a_hold_and_nothing_else() -> None:
    removed = revoking(entry(SIGNER, BEFORE, REMOVE), **DELTA)
    assert check(revoking(entry(SIGNER, BEFORE, HOLD), **BASE), removed)[0].status is RevocationStatus.GOOD
    with pytest.raises(CertificateRevoked):
        check(revoking(**BASE), removed)


# --- scope ---


def test_a_crl_by_the_full_name_of_a_distribution_point() -> None:
    signer = pointed(x509.DistributionPoint([URL], None, None, None))
    path = path_of(signer)
    assert check(good(extensions=[scope(full_name=URL)]), path=path)[0].evidence
    other = x509.UniformResourceIdentifier("http://crl.example/2")
    with pytest.raises(RevocationUnknown, match="another distribution point"):
        check(good(extensions=[scope(full_name=other)]), path=path)


def test_a_crl_by_the_relative_name_of_a_distribution_point() -> None:
    relative = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "CRL 1")])
    signer = pointed(x509.DistributionPoint(None, relative, None, None))
    path = path_of(signer)
    assert check(good(extensions=[scope(relative_name=relative)]), path=path)[0].evidence
    whole = x509.DirectoryName(x509.Name([*CA.certificate.subject.rdns, relative]))
    assert check(good(extensions=[scope(full_name=whole)]), path=path)[0].evidence
    other = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "CRL 2")])
    with pytest.raises(RevocationUnknown, match="another distribution point"):
        check(good(extensions=[scope(relative_name=other)]), path=path)


SOME = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})
OTHERS = frozenset(x509.ReasonFlags) - SOME - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl}


def test_lists_for_some_reasons_must_cover_all_together() -> None:
    first, second = (good(extensions=[scope(reasons=reasons)]) for reasons in (SOME, OTHERS))
    for alone in (first, second):
        with pytest.raises(RevocationUnknown, match="some reasons"):
            check(alone)
    assert len(check(first, second)[0].evidence) == 2
    with pytest.raises(CertificateRevoked):
        check(first, revoking(extensions=[scope(reasons=OTHERS)]))


def test_a_distribution_point_for_some_reasons() -> None:
    signer = pointed(x509.DistributionPoint([URL], None, SOME, None))
    with pytest.raises(RevocationUnknown, match="some reasons"):
        check(good(extensions=[scope(full_name=URL)]), path=path_of(signer))


# --- who signs ---


def test_an_indirect_crl_by_the_crl_issuer_that_the_certificate_names() -> None:
    lister = issue("Lister", issuer=CHAIN.root, extensions=(key_usage(crls=True),))
    directory = [x509.DirectoryName(lister.certificate.subject)]
    signer = pointed(x509.DistributionPoint(None, None, None, directory))
    path = path_of(signer)
    by_ca: dict[str, Any] = {"issuer": CA.certificate.subject}

    def listing(*entries: bytes, indirect: bool = True) -> bytes:
        return crl(lister, *entries, this_update=RECENTLY, extensions=[scope(indirect_crl=True)] if indirect else [])

    assert check(listing(), path=path, pool=[lister])[0].evidence
    with pytest.raises(RevocationUnknown, match="not at hand"):
        check(listing(), path=path)
    with pytest.raises(RevocationUnknown):
        check(listing(indirect=False), path=path, pool=[lister])
    with pytest.raises(CertificateRevoked):
        check(listing(entry(signer, AFTER, KEY_COMPROMISE, **by_ca)), path=path, pool=[lister])
    same_serial_of_the_lister = entry(signer, AFTER, KEY_COMPROMISE)
    assert check(listing(same_serial_of_the_lister), path=path, pool=[lister])[0].evidence
    # certificateIssuer holds for the entries after it, too (RFC 5280 5.3.3).
    following = (entry(4711, AFTER, **by_ca), entry(signer, AFTER, KEY_COMPROMISE))
    with pytest.raises(CertificateRevoked):
        check(listing(*following), path=path, pool=[lister])


def test_a_crl_issuer_of_another_root_is_a_stranger() -> None:
    stranger = issue("Lister", extensions=ca_extensions())
    directory = [x509.DirectoryName(stranger.certificate.subject)]
    signer = pointed(x509.DistributionPoint(None, None, None, directory))
    listing = crl(stranger, this_update=RECENTLY, extensions=[scope(indirect_crl=True)])
    with pytest.raises(RevocationUnknown):
        check(listing, path=path_of(signer), pool=[stranger])


def separate_key(**arguments: Any) -> Issued:
    """Return another key of the CA's name, for its CRLs."""
    return issue(CA.certificate.subject, issuer=CHAIN.root, extensions=(key_usage(crls=True),), **arguments)


def test_a_key_for_crls_beside_the_key_for_certificates() -> None:
    lister = separate_key()
    assert check(crl(lister, this_update=RECENTLY), pool=[lister])[0].evidence
    with pytest.raises(CertificateRevoked):
        check(crl(lister, COMPROMISED, this_update=RECENTLY), pool=[lister])
    with pytest.raises(RevocationUnknown, match="not signed by"):
        check(crl(lister, this_update=RECENTLY))


def test_a_revoked_signer_of_crls_proves_nothing() -> None:
    lister = separate_key()
    revoked = crl(CHAIN.root, entry(lister, BEFORE, KEY_COMPROMISE), this_update=RECENTLY)
    with pytest.raises(RevocationUnknown, match="was revoked"):
        check(crl(lister, this_update=RECENTLY), revoked, pool=[lister])


def test_with_the_whole_path_a_signer_of_crls_must_be_covered_too() -> None:
    lister = separate_key()
    arguments: dict[str, Any] = {"pool": [lister], "scope": RevocationScope.PATH}
    of_the_root = crl(CHAIN.root, this_update=RECENTLY)
    assert check(crl(lister, this_update=RECENTLY), of_the_root, **arguments)[0].evidence
    with pytest.raises(RevocationUnknown):
        check(crl(lister, this_update=RECENTLY), **arguments)


def test_a_signer_of_crls_that_ended_before() -> None:
    lister = separate_key(not_after=RECENTLY - DAY)
    with pytest.raises(RevocationUnknown, match="ended"):
        check(crl(lister, this_update=RECENTLY), pool=[lister])


def test_many_signers_of_one_name_cost_a_bounded_number_of_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    build = PathBuilder.build

    def counted(builder: PathBuilder, *arguments: Any) -> Path:
        built.append(builder)
        return build(builder, *arguments)

    monkeypatch.setattr(PathBuilder, "build", counted)
    path = path_of(SIGNER)
    built.clear()
    stranger = issue("Stranger", extensions=ca_extensions())
    names = CA.certificate.subject
    listers = [issue(names, issuer=stranger, key=stranger.key, extensions=ca_extensions()) for _ in range(20)]
    lists = [crl(listers[0], this_update=RECENTLY, number=number) for number in range(40)]
    lists += [crl(listers[0], this_update=RECENTLY - number * timedelta(hours=1)) for number in range(40)]
    with pytest.raises(RevocationUnknown):
        check(*lists, path=path, pool=listers)
    assert 0 < len(built) <= 16


def test_a_self_signed_stranger_with_the_cas_name_is_not_the_ca() -> None:
    impostor = issue(CA.certificate.subject, extensions=ca_extensions())
    with pytest.raises(RevocationUnknown):
        check(crl(impostor, this_update=RECENTLY), pool=[impostor])


# --- the trusted signer ---


def test_a_pinned_signer_is_checked_against_its_issuer() -> None:
    pinned = path_of(SIGNER, SIGNER)
    assert len(pinned.certificates) == 1
    with pytest.raises(RevocationUnknown, match="issuer is not at hand"):
        check(good(), path=pinned)
    with pytest.raises(CertificateRevoked):
        check(revoking(), path=pinned, pool=[CA])
    assert check(good(), path=pinned, pool=[CA])[0].status is RevocationStatus.GOOD


def test_a_word_against_an_intermediate_that_is_trusted_is_heard() -> None:
    anchored = path_of(SIGNER, CA)
    revoked = crl(CHAIN.root, entry(CA, AFTER, 2), this_update=RECENTLY)
    with pytest.raises(CertificateRevoked, match="cACompromise"):
        check(good(), revoked, path=anchored, pool=[CHAIN.root])
    assert len(check(good(), path=anchored, pool=[CHAIN.root])) == 1


def test_evidence_at_hand_is_heeded_where_nothing_must_be_covered() -> None:
    at_hand: dict[str, Any] = {"scope": RevocationScope.AT_HAND}
    assert check(**at_hand)[0].status is RevocationStatus.NOT_CHECKED
    with pytest.raises(CertificateRevoked):
        check(revoking(), **at_hand)


# --- algorithms (rule V15) ---


def test_a_crl_signed_with_sha1_counts_only_where_the_rules_allow_it() -> None:
    ca = issue("RSA CA", key=make_key("rsa2048"), extensions=ca_extensions())
    signer = issue("Signer", issuer=ca, extensions=signer_extensions())
    assert isinstance(ca.key, rsa.RSAPrivateKey)
    key = ca.key

    def sign(data: bytes) -> bytes:
        return key.sign(data, padding.PKCS1v15(), hashes.SHA1())

    sha1_with_rsa = der.sequence(der.oid("1.2.840.113549.1.1.5"), der.null())
    path = path_of(signer, ca)
    revocation = Revocation.from_files([crl(ca, this_update=RECENTLY, signing=(sha1_with_rsa, sign))])
    with pytest.raises(RevocationUnknown, match="too weak"):
        revocation.check(path, GEN_TIME, at=NOW)
    allowed = AlgorithmRules(weak_hashes=frozenset({"sha1"}))
    assert revocation.check(path, GEN_TIME, at=NOW, algorithms=allowed)[0].evidence
    with pytest.raises(RevocationUnknown, match="too weak"):  # what was verified before is not remembered as strong
        revocation.check(path, GEN_TIME, at=NOW)


# --- reading ---


def test_names_of_the_issuer_that_differ_in_case_and_spaces_only() -> None:
    written = name("  INTERMEDIATE ")
    assert prepared(CA).subject != written.public_bytes()
    assert check(good(name=written.public_bytes()))[0].evidence


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (good(version=b"\x02\x01\x02"), "version"),
        (good(extensions=[forge.extension("2.5.29.20", der.integer(1))]), "appears twice"),
        (good() + b"\x00", "follow"),
        (good()[:-1], ""),
        (b"", ""),
        (b"-----BEGIN X509 CRL-----\nAAA", "without an end"),
        (b"-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n", "base64"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no X509 CRL"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, why: str) -> None:
    with pytest.raises(RevocationUnknown, match=r"the CRL bad\.crl cannot be read: .*" + why):
        check(("bad.crl", data))


def test_a_crl_of_the_first_version() -> None:
    assert check(good(version=b"", number=None))[0].evidence
