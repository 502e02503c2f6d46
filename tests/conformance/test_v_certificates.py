"""Rules V7 to V9: the signer's certificate, its path to a root at genTime, and revocation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.conformance.verification import CHAIN, TRUST, granted, refused, signed_by, verify
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    Extension,
    Issued,
    ca_extensions,
    issue,
    key_usage,
    make_chain,
    make_key,
    signer_extensions,
    timestamping,
)
from tsa_core.verify import (
    CertificateRevoked,
    PathError,
    Revocation,
    RevocationScope,
    RevocationUnknown,
    SignerCertificateError,
    SignerCertificateMissing,
    TrustedAuthority,
    TrustStore,
)

# --- V7: the signer's certificate ---


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (key_usage(sign=True),),
        (timestamping(critical=False),),
        (
            (
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING]),
                True,
            ),
        ),
        (
            (
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.TIME_STAMPING, x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")]
                ),
                True,
            ),
        ),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), True),),
        ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True),),
        (timestamping(), (x509.BasicConstraints(ca=True, path_length=None), True)),
        (timestamping(), key_usage(certificates=True)),
    ],
)
def test_v7_each_fault_of_the_signers_certificate(extensions: tuple[Extension, ...]) -> None:
    signer = issue("Faulty", issuer=CHAIN.intermediate, extensions=extensions)
    refused(SignerCertificateError, "V7", lambda: signed_by(signer, TRUST))


def test_v7_a_certificate_without_key_usage_is_legal() -> None:
    signer = issue("Plain", issuer=CHAIN.intermediate, extensions=(timestamping(),))
    assert signed_by(signer, TRUST).signer_certificate == signer.certificate


# --- V8: the path, at genTime ---


def test_v8_expired_since_is_good() -> None:
    signer = issue(
        "Short",
        issuer=CHAIN.intermediate,
        extensions=signer_extensions(),
        not_before=forge.GEN_TIME - timedelta(minutes=1),
        not_after=forge.GEN_TIME + timedelta(minutes=1),
    )
    result = signed_by(signer, TRUST)
    assert result.path == (signer.certificate, CHAIN.intermediate.certificate, CHAIN.root.certificate)


@pytest.mark.parametrize("shift", [timedelta(days=-1), timedelta(days=1)])
@pytest.mark.parametrize("who", ["signer", "intermediate", "root"])
def test_v8_gen_time_outside_the_validity_of_any_certificate(shift: timedelta, who: str) -> None:
    def window(name: str) -> dict[str, Any]:
        if name != who:
            return {}
        middle = forge.GEN_TIME + shift
        return {"not_before": middle - timedelta(hours=1), "not_after": middle + timedelta(hours=1)}

    root = issue("Root", extensions=ca_extensions(), **window("root"))
    intermediate = issue("Intermediate", issuer=root, extensions=ca_extensions(), **window("intermediate"))
    signer = issue("Signer", issuer=intermediate, extensions=signer_extensions(), **window("signer"))
    trust = TrustStore(roots=(root.certificate,), certificates=(intermediate.certificate,))
    refused(PathError, "V8", lambda: signed_by(signer, trust))


def test_v8_another_time_when_the_caller_says_so() -> None:
    assert verify(granted(), time=datetime(2031, 1, 1, tzinfo=UTC)).gen_time == forge.GEN_TIME
    refused(PathError, "V8", lambda: verify(granted(), time=datetime(2050, 1, 1, tzinfo=UTC)))
    with pytest.raises(TypeError, match="aware"):
        verify(granted(), time=datetime(2031, 1, 1))  # noqa: DTZ001 - the point of the test


@pytest.mark.parametrize("who", ["signer", "intermediate", "root"])
def test_v8_another_time_does_not_reach_back_before_the_path(who: str) -> None:
    def begins(name: str) -> datetime:
        return forge.GEN_TIME + timedelta(seconds=1 if name == who else -1)

    root = issue("Root", extensions=ca_extensions(), not_before=begins("root"))
    intermediate = issue("CA", issuer=root, extensions=ca_extensions(), not_before=begins("intermediate"))
    signer = issue("Signer", issuer=intermediate, extensions=signer_extensions(), not_before=begins("signer"))
    trust = TrustStore(roots=(root.certificate,), certificates=(intermediate.certificate,))
    reply = forge.reply(forge.token(signer, certificates=[signer.der]))
    later = forge.GEN_TIME + timedelta(days=1)
    refused(PathError, "V8", lambda: verify(reply, trust=trust, time=later))


def test_v8_another_time_does_not_save_what_was_made_after_the_path() -> None:
    ended = forge.GEN_TIME - timedelta(seconds=1)
    signer = issue("Signer", issuer=CHAIN.intermediate, extensions=signer_extensions(), not_after=ended)
    reply = forge.reply(forge.token(signer, certificates=[signer.der]))
    refused(PathError, "V8", lambda: verify(reply, time=ended))
    refused(PathError, "V8", lambda: verify(reply, time=ended - timedelta(days=1)))


def test_v8_another_time_is_not_before_gen_time_by_more_than_clocks_differ() -> None:
    near, far = timedelta(minutes=5), timedelta(minutes=5, seconds=1)
    assert verify(granted(), time=forge.GEN_TIME - near).gen_time == forge.GEN_TIME
    error = refused(PathError, "V8", lambda: verify(granted(), time=forge.GEN_TIME - far))
    assert "genTime" in str(error)
    accurate = granted(forge.tst_info(accuracy=Accuracy(microseconds=1_000_000)))
    assert verify(accurate, time=forge.GEN_TIME - far).gen_time == forge.GEN_TIME


def test_v8_another_time_changes_nothing_of_when_an_authority_was_trusted() -> None:
    until = forge.GEN_TIME - timedelta(days=1)
    authority = TrustedAuthority(
        root=CHAIN.root.certificate, intermediates=(CHAIN.intermediate.certificate,), trusted_from=until
    )
    assert verify(granted(), trust=TrustStore.from_authorities([authority]), time=forge.GEN_TIME).status == 0
    late = authority.replace(trusted_from=forge.GEN_TIME + timedelta(seconds=1))
    later = forge.GEN_TIME + timedelta(days=1)
    refused(PathError, "V8", lambda: verify(granted(), trust=TrustStore.from_authorities([late]), time=later))


def test_v8_intermediate_from_the_token_or_the_caller_or_nowhere() -> None:
    only_root = TrustStore(roots=(CHAIN.root.certificate,))
    assert verify(granted()).status == 0
    both = [CHAIN.signer.der, CHAIN.intermediate.der]
    assert verify(granted(certificates=both), trust=only_root).status == 0
    error = refused(PathError, "V8", lambda: verify(granted(), trust=only_root))
    assert "issuer" in str(error)


def test_v8_other_root_with_the_same_name() -> None:
    stranger = make_chain()
    trust = TrustStore(roots=(stranger.root.certificate,), certificates=(CHAIN.intermediate.certificate,))
    refused(PathError, "V8", lambda: verify(granted(), trust=trust))


@pytest.mark.parametrize(
    ("purposes", "good"),
    [
        ([ExtendedKeyUsageOID.TIME_STAMPING], True),
        ([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.TIME_STAMPING], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], False),
    ],
)
def test_v8_intermediate_with_an_extended_key_usage(purposes: list[Any], good: bool) -> None:
    extensions = (*ca_extensions(), (x509.ExtendedKeyUsage(purposes), False))
    intermediate = issue("Purposeful", issuer=CHAIN.root, extensions=extensions)
    signer = issue("Signer", issuer=intermediate, extensions=signer_extensions())
    trust = TrustStore(roots=(CHAIN.root.certificate,), certificates=(intermediate.certificate,))
    if good:
        assert len(signed_by(signer, trust).path) == 3
    else:
        refused(PathError, "V8", lambda: signed_by(signer, trust))


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        ((x509.BasicConstraints(ca=False, path_length=None), True),),
        ((x509.BasicConstraints(ca=True, path_length=None), True), key_usage(sign=True)),
        (*ca_extensions(), (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)),
    ],
    ids=["no extensions", "not a CA", "no keyCertSign", "unknown critical"],
)
def test_v8_intermediates_that_must_not_issue(extensions: tuple[Extension, ...]) -> None:
    intermediate = issue("Impostor", issuer=CHAIN.root, extensions=extensions)
    signer = issue("Signer", issuer=intermediate, extensions=signer_extensions())
    trust = TrustStore(roots=(CHAIN.root.certificate,), certificates=(intermediate.certificate,))
    refused(PathError, "V8", lambda: signed_by(signer, trust))


def test_v8_path_length() -> None:
    first = issue("First", issuer=CHAIN.root, extensions=ca_extensions(0))
    second = issue("Second", issuer=first, extensions=ca_extensions())
    signer = issue("Signer", issuer=second, extensions=signer_extensions())
    trust = TrustStore(roots=(CHAIN.root.certificate,), certificates=(first.certificate, second.certificate))
    refused(PathError, "V8", lambda: signed_by(signer, trust))


def test_v8_unknown_critical_extension_in_the_signer() -> None:
    unknown = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
    signer = issue("Odd", issuer=CHAIN.intermediate, extensions=(*signer_extensions(), unknown))
    refused(PathError, "V8", lambda: signed_by(signer, TRUST))


def test_v8_certificate_in_nobodys_hands() -> None:
    refused(SignerCertificateMissing, "V8", lambda: verify(granted(certificates=[])))
    chain = TrustStore.from_chain(CHAIN.pem)
    assert verify(granted(certificates=[]), trust=chain).signer_certificate == CHAIN.signer.certificate


def test_v8_a_chain_without_a_root_says_so() -> None:
    leafs = CHAIN.pem.split(b"-----END CERTIFICATE-----\n")
    without_root = b"-----END CERTIFICATE-----\n".join([*leafs[:2], b""])
    error = refused(PathError, "V8", lambda: TrustStore.from_chain(without_root))
    assert "self-signed" in str(error)


# --- V9: revocation ---

BEFORE, AFTER = forge.GEN_TIME - timedelta(days=1), forge.GEN_TIME + timedelta(days=1)
HARMLESS = {"unspecified", "affiliation_changed", "superseded", "cessation_of_operation"}


def crl(
    *revoked: tuple[Issued, datetime, str | None],
    issuer: Issued = CHAIN.intermediate,
    key: Any = None,
    next_update: datetime = AFTER + timedelta(days=30),
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(BEFORE - timedelta(days=30))
        .next_update(next_update)
    )
    for issued, when, reason in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(issued.certificate.serial_number).revocation_date(when)
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags[reason]), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key or issuer.key, hashes.SHA256())


@pytest.mark.parametrize("reason", [None, *(flag.name for flag in x509.ReasonFlags if flag.name != "remove_from_crl")])
def test_v9_a_crl_for_each_reason(reason: str | None) -> None:
    after = Revocation(crls=(crl((CHAIN.signer, AFTER, reason)),))
    before = Revocation(crls=(crl((CHAIN.signer, BEFORE, reason)),))
    refused(CertificateRevoked, "V9", lambda: verify(granted(), revocation=before, time=AFTER))
    if reason in HARMLESS:
        assert verify(granted(), revocation=after, time=AFTER).gen_time < AFTER
    else:
        refused(CertificateRevoked, "V9", lambda: verify(granted(), revocation=after, time=AFTER))


def test_v9_a_crl_that_lists_somebody_else() -> None:
    other = issue("Other", issuer=CHAIN.intermediate, extensions=signer_extensions())
    assert verify(granted(), revocation=Revocation(crls=(crl((other, BEFORE, None)),)), time=AFTER).status == 0


@pytest.mark.parametrize(
    "useless",
    [
        (),
        (crl(key=make_key()),),
        (crl(next_update=BEFORE),),
        (crl(issuer=CHAIN.root),),
    ],
    ids=["none", "forged", "ended before genTime", "of another CA"],
)
def test_v9_a_signer_that_nothing_covers(useless: tuple[x509.CertificateRevocationList, ...]) -> None:
    refused(RevocationUnknown, "V9", lambda: verify(granted(), revocation=Revocation(crls=useless), time=AFTER))


def test_v9_intermediates_are_heeded_and_demanded_when_asked() -> None:
    good = crl()
    bad = crl((CHAIN.intermediate, AFTER, "ca_compromise"), issuer=CHAIN.root)
    refused(CertificateRevoked, "V9", lambda: verify(granted(), revocation=Revocation(crls=(good, bad)), time=AFTER))
    strict = Revocation(crls=(good,), scope=RevocationScope.PATH)
    refused(RevocationUnknown, "V9", lambda: verify(granted(), revocation=strict, time=AFTER))
    both = Revocation(crls=(good, crl(issuer=CHAIN.root)), scope=RevocationScope.PATH)
    assert verify(granted(), revocation=both, time=AFTER).status == 0
