"""CRL validation by RFC 5280 6.3: what a list is about, who may sign it, and with what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.paths.revocation_material import (
    AFTER,
    BEFORE,
    CA,
    CHAIN,
    COMPROMISED,
    DAY,
    GEN_TIME,
    KEY_COMPROMISE,
    NOW,
    RECENTLY,
    SIGNER,
    URL,
    check,
    good,
    path_of,
    pointed,
    revoking,
)
from tsa_core.paths.algorithms import AlgorithmRules
from tsa_core.paths.building import Path, PathBuilder
from tsa_core.paths.errors import CertificateRevoked, RevocationUnknown
from tsa_core.paths.findings import RevocationStatus
from tsa_core.paths.revocation import Revocation, RevocationScope
from tsa_core.protocol import der
from tsa_core.testing.forged_pki import (
    Issued,
    ca_extensions,
    issue,
    key_usage,
    make_key,
    signer_extensions,
)
from tsa_core.testing.forged_revocation import crl, entry, scope

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
