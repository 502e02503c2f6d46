"""Rules V1 to V15: what a verifier must refuse and must accept, each test named by its rule."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.protocol import der, oids
from tsa_core.protocol.hashes import IMPRINT_HASHES, MD5, SHA1, SHA256, SHA384, SHA512, hash_by_name
from tsa_core.protocol.request import encode_request
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    KEY_KINDS,
    Chain,
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
    AmbiguousSigner,
    CertificateRevoked,
    ImprintMismatch,
    MalformedTimestamp,
    NonceMismatch,
    NotAccepted,
    NotGranted,
    PathError,
    PolicyMismatch,
    Revocation,
    RevocationScope,
    RevocationUnknown,
    SignatureInvalid,
    SignedDataError,
    SignerCertificateError,
    SignerCertificateMissing,
    SigningCertificateError,
    TrustStore,
    UnknownCriticalExtension,
    UnsupportedAlgorithm,
    VerificationError,
    VerifiedTimestamp,
    WeakAlgorithm,
    verify_request,
    verify_response,
    verify_token,
)

CHAIN = make_chain()
TRUST = TrustStore(roots=(CHAIN.root.certificate,), certificates=(CHAIN.intermediate.certificate,))


def granted(content: bytes | None = None, *, chain: Chain = CHAIN, **parts: Any) -> bytes:
    parts.setdefault("certificates", [chain.signer.der])
    return forge.reply(forge.token(chain.signer, content, **parts))


def verify(reply: bytes, **arguments: Any) -> VerifiedTimestamp:
    arguments.setdefault("artifact", b"hello")
    arguments.setdefault("trust", TRUST)
    return verify_response(reply, **arguments)


def refused(kind: type[VerificationError], rule: str, call: Callable[[], object]) -> VerificationError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.rule == rule
    assert "\n" not in str(caught.value)
    return caught.value


def signed_by(signer: Issued, trust: TrustStore, **parts: Any) -> VerifiedTimestamp:
    reply = forge.reply(forge.token(signer, certificates=[signer.der], **parts))
    return verify_response(reply, artifact=b"hello", trust=trust)


# --- V1: status ---


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (2, "rejection"),
        (3, "waiting"),
        (4, "revocationWarning"),
        (5, "revocationNotification"),
        (6, "unknown status 6"),
        (-1, "unknown status -1"),
    ],
)
def test_v1_other_status_is_an_error_even_with_a_good_token(status: int, name: str) -> None:
    reply = forge.reply(forge.token(CHAIN.signer, certificates=[CHAIN.signer.der]), status=status)
    error = refused(NotGranted, "V1", lambda: verify(reply))
    assert isinstance(error, NotGranted)
    assert (error.status, error.status_name) == (status, name)


def test_v1_error_has_text_and_failure_names() -> None:
    reply = forge.reply(status=2, texts=["use SHA-256\n\x1b[31mnow", "second"], failures=[0, 3, 25])
    error = refused(NotGranted, "V1", lambda: verify(reply))
    assert isinstance(error, NotGranted)
    assert error.failures == ("badAlg", "bit 3", "systemFailure")
    assert error.texts == ("use SHA-256\n\x1b[31mnow", "second")
    assert "badAlg" in str(error)
    assert "\x1b" not in str(error)


@pytest.mark.parametrize("status", [0, 1])
def test_v1_granted_and_granted_with_mods_are_accepted(status: int) -> None:
    reply = forge.reply(forge.token(CHAIN.signer, certificates=[CHAIN.signer.der]), status=status)
    assert verify(reply).status == status


def test_v1_granted_with_fail_info_or_without_token_is_malformed() -> None:
    refused(MalformedTimestamp, "V14", lambda: verify(forge.reply(status=0)))
    token = forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
    refused(MalformedTimestamp, "V14", lambda: verify(forge.reply(token, failures=[0])))


# --- V2: the token answers what was asked ---

REQUEST = encode_request(algorithm=SHA256, digest=SHA256.digest(b"hello"), policy=forge.POLICY, nonce=77, cert_req=True)


def test_v2_matching_request() -> None:
    assert verify(granted(forge.tst_info(nonce=77)), request=REQUEST, nonce=77).tst_info.nonce == 77


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (forge.tst_info(nonce=78), NonceMismatch),
        (forge.tst_info(), NonceMismatch),
        (forge.tst_info(nonce=77, policy="1.2.3.5"), PolicyMismatch),
        (forge.tst_info(b"other", nonce=77), ImprintMismatch),
        (forge.tst_info(nonce=77, hash_algorithm=SHA512), ImprintMismatch),
        (forge.tst_info(nonce=77, hash_algorithm=hash_by_name("sha3-256")), ImprintMismatch),
    ],
)
def test_v2_each_mismatch_with_the_request(content: bytes, error: type[VerificationError]) -> None:
    reply = granted(content)
    refused(error, "V2", lambda: verify_response(reply, trust=TRUST, request=REQUEST))


def test_v2_same_digest_bytes_under_another_algorithm() -> None:
    content = forge.tst_info(hash_algorithm=hash_by_name("sha3-256"), digest=SHA256.digest(b"hello"))
    refused(ImprintMismatch, "V2", lambda: verify(granted(content)))
    refused(
        ImprintMismatch,
        "V2",
        lambda: verify_response(
            granted(content), trust=TRUST, digest=SHA256.digest(b"hello"), digest_algorithm="sha256"
        ),
    )


def test_v2_nonce_where_none_was_asked() -> None:
    plain = encode_request(algorithm=SHA256, digest=SHA256.digest(b"hello"))
    reply = granted(forge.tst_info(nonce=77))
    refused(NonceMismatch, "V2", lambda: verify(reply, request=plain))
    assert verify(granted(), request=plain).tst_info.nonce is None


@pytest.mark.parametrize("nonce", [0, -1, 2**63, 2**255, -(2**159)])
def test_v2_nonces_of_any_sign_and_size(nonce: int) -> None:
    reply = granted(forge.tst_info(nonce=nonce))
    assert verify(reply, nonce=nonce).tst_info.nonce == nonce
    refused(NonceMismatch, "V2", lambda: verify(reply, nonce=nonce + 1))


def test_v2_other_artifact() -> None:
    refused(ImprintMismatch, "V2", lambda: verify(granted(), artifact=b"hell0"))
    refused(ImprintMismatch, "V2", lambda: verify(granted(), artifact=None, digest=SHA256.digest(b"hell0")))
    refused(ImprintMismatch, "V2", lambda: verify(granted(), artifact=None, digest=b"short"))


@pytest.mark.parametrize("version", [0, 2, 3])
def test_v2_tst_info_version(version: int) -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(forge.tst_info(version=version))))


def test_v2_nothing_to_compare_with_is_the_callers_mistake() -> None:
    with pytest.raises(TypeError, match="artifact"):
        verify_response(granted(), trust=TRUST)


# --- V3: the signature and what it covers ---


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]


def test_v3_a_bit_in_every_signed_part() -> None:
    reply = granted()
    signed = forge.tst_info()
    for part in (signed, SHA256.digest(signed), hashlib.sha256(CHAIN.signer.der).digest()):
        start = reply.index(part)
        for position in range(start, start + len(part), 3):
            changed = flipped(reply, position)
            with pytest.raises(VerificationError):
                verify(changed)


def test_v3_signature_itself() -> None:
    signature = CHAIN.signer.key.sign(b"something else", ec.ECDSA(hashes.SHA256()))  # type: ignore[call-arg,arg-type]
    refused(SignatureInvalid, "V3", lambda: verify(granted(signature=signature)))


def test_v3_signature_over_the_content_instead_of_the_attributes() -> None:
    content = forge.tst_info()
    signature = signature_algorithm(CHAIN.signer.certificate.public_key()).signing_function(CHAIN.signer.key)(content)
    refused(SignatureInvalid, "V3", lambda: verify(granted(content, signature=signature)))


def test_v3_attributes_must_be_there() -> None:
    left_out = {
        oids.ID_CONTENT_TYPE: None,
        oids.ID_SIGNING_TIME: None,
        oids.ID_MESSAGE_DIGEST: None,
        oids.ID_AA_SIGNING_CERTIFICATE_V2: None,
    }
    refused(MalformedTimestamp, "V14", lambda: verify(granted(attributes=left_out)))


@pytest.mark.parametrize(
    "attributes",
    [
        {oids.ID_CONTENT_TYPE: None},
        {oids.ID_CONTENT_TYPE: [der.oid(oids.ID_DATA)]},
        {oids.ID_CONTENT_TYPE: [der.oid(oids.ID_CT_TST_INFO), der.oid(oids.ID_DATA)]},
        {oids.ID_MESSAGE_DIGEST: None},
        {oids.ID_MESSAGE_DIGEST: [der.octet_string(bytes(32))]},
        {oids.ID_MESSAGE_DIGEST: []},
    ],
)
def test_v3_content_type_and_message_digest(attributes: dict[str, Any]) -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(attributes=attributes)))


def test_v3_content_of_another_type() -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(content_type=oids.ID_DATA)))


def test_v3_attributes_out_of_order_count_if_what_was_signed_is_known() -> None:
    assert verify(granted(reverse_attributes=True)).tst_info.serial_number == 0x1234
    assert verify(granted(reverse_attributes=True, sign_as_sent=True)).tst_info.serial_number == 0x1234


def test_v3_digest_algorithms_lists_the_signers() -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(digest_algorithms=[SHA512.identifier])))
    refused(SignedDataError, "V3", lambda: verify(granted(digest_algorithms=[])))
    more = [SHA512.identifier, der.sequence(SHA256.oid_der, der.null())]
    assert verify(granted(digest_algorithms=more)).status == 0


def test_v3_algorithm_protection() -> None:
    algorithm = signature_algorithm(CHAIN.signer.certificate.public_key())
    good = der.sequence(algorithm.digest.identifier, b"\xa1" + algorithm.identifier[1:])
    bad = der.sequence(SHA512.identifier, b"\xa1" + algorithm.identifier[1:])
    assert verify(granted(attributes={oids.ID_AA_CMS_ALGORITHM_PROTECT: [good]})).status == 0
    reply = granted(attributes={oids.ID_AA_CMS_ALGORITHM_PROTECT: [bad]})
    refused(SignedDataError, "V3", lambda: verify(reply))


@pytest.mark.parametrize("parts", [{"version": 2}, {"version": 0}, {"signer_version": 3}, {"signer_version": 0}])
def test_v3_cms_versions(parts: dict[str, Any]) -> None:
    refused(SignedDataError, "V3", lambda: verify(granted(**parts)))


# --- V4 and V5: ESSCertID and ESSCertIDv2 ---


def with_ess(*, v1: bytes | None = None, v2: bytes | None = None) -> bytes:
    attributes = {
        oids.ID_AA_SIGNING_CERTIFICATE: [v1] if v1 is not None else None,
        oids.ID_AA_SIGNING_CERTIFICATE_V2: [v2] if v2 is not None else None,
    }
    return granted(attributes=attributes, certificates=[CHAIN.signer.der, CHAIN.intermediate.der])


RIGHT_V1 = forge.signing_certificate(forge.ess_cert_id(CHAIN.signer.der))
RIGHT_V2 = forge.signing_certificate(forge.ess_cert_id_v2(CHAIN.signer.der))
WRONG_V1 = forge.signing_certificate(forge.ess_cert_id(CHAIN.intermediate.der))
WRONG_V2 = forge.signing_certificate(forge.ess_cert_id_v2(CHAIN.signer.der, digest=bytes(32)))
OTHERS_V2 = forge.signing_certificate(forge.ess_cert_id_v2(CHAIN.intermediate.der))


@pytest.mark.parametrize(
    "ess",
    [
        {},
        {"v2": WRONG_V2},
        {"v2": OTHERS_V2},
        {"v1": WRONG_V1},
        {"v1": RIGHT_V1, "v2": WRONG_V2},
        {"v1": WRONG_V1, "v2": RIGHT_V2},
        {"v2": forge.signing_certificate()},
        {"v2": der.null()},
    ],
    ids=["absent", "wrong", "another's", "v1 wrong", "v1 right v2 wrong", "v1 wrong v2 right", "empty", "noise"],
)
def test_v4_the_id_must_be_the_signers(ess: dict[str, bytes]) -> None:
    refused(SigningCertificateError, "V4", lambda: verify(with_ess(**ess)))


@pytest.mark.parametrize("ess", [{"v1": RIGHT_V1}, {"v2": RIGHT_V2}, {"v1": RIGHT_V1, "v2": RIGHT_V2}])
def test_v4_either_version_or_both(ess: dict[str, bytes]) -> None:
    assert verify(with_ess(**ess)).signer_certificate == CHAIN.signer.certificate


def test_v4_several_ids_are_legal_and_the_first_is_the_signers() -> None:
    own, other = forge.ess_cert_id_v2(CHAIN.signer.der), forge.ess_cert_id_v2(CHAIN.intermediate.der)
    assert verify(with_ess(v2=forge.signing_certificate(own, other))).status == 0
    reply = with_ess(v2=forge.signing_certificate(other, own))
    refused(SigningCertificateError, "V4", lambda: verify(reply))


def test_v4_issuer_serial_matches_if_present() -> None:
    without = forge.ess_cert_id_v2(CHAIN.signer.der, issuer_serial=b"")
    assert verify(with_ess(v2=forge.signing_certificate(without))).status == 0
    names = der.sequence(der.explicit(4, CHAIN.intermediate.certificate.issuer.public_bytes()))
    wrong = forge.ess_cert_id_v2(CHAIN.signer.der, issuer_serial=der.sequence(names, der.integer(1)))
    refused(SigningCertificateError, "V4", lambda: verify(with_ess(v2=forge.signing_certificate(wrong))))


def test_v5_hash_algorithm_explicit_or_defaulted() -> None:
    for identifier in (SHA256.identifier, der.sequence(SHA256.oid_der, der.null())):
        explicit = forge.ess_cert_id_v2(CHAIN.signer.der, algorithm=identifier)
        assert verify(with_ess(v2=forge.signing_certificate(explicit))).status == 0
    longer = forge.ess_cert_id_v2(CHAIN.signer.der, algorithm=SHA512.identifier, digest=SHA512.digest(CHAIN.signer.der))
    assert verify(with_ess(v2=forge.signing_certificate(longer))).status == 0
    weak = forge.ess_cert_id_v2(CHAIN.signer.der, algorithm=SHA1.identifier, digest=SHA1.digest(CHAIN.signer.der))
    refused(WeakAlgorithm, "V15", lambda: verify(with_ess(v2=forge.signing_certificate(weak))))


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
    assert verify(granted(), time=datetime(2021, 1, 1, tzinfo=UTC)).gen_time == forge.GEN_TIME
    refused(PathError, "V8", lambda: verify(granted(), time=datetime(2050, 1, 1, tzinfo=UTC)))
    with pytest.raises(TypeError, match="aware"):
        verify(granted(), time=datetime(2021, 1, 1))  # noqa: DTZ001 - the point of the test


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
    refused(CertificateRevoked, "V9", lambda: verify(granted(), revocation=before))
    if reason in HARMLESS:
        assert verify(granted(), revocation=after).gen_time < AFTER
    else:
        refused(CertificateRevoked, "V9", lambda: verify(granted(), revocation=after))


def test_v9_a_crl_that_lists_somebody_else() -> None:
    other = issue("Other", issuer=CHAIN.intermediate, extensions=signer_extensions())
    assert verify(granted(), revocation=Revocation(crls=(crl((other, BEFORE, None)),))).status == 0


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
    refused(RevocationUnknown, "V9", lambda: verify(granted(), revocation=Revocation(crls=useless)))


def test_v9_intermediates_are_heeded_and_demanded_when_asked() -> None:
    good = crl()
    bad = crl((CHAIN.intermediate, AFTER, "ca_compromise"), issuer=CHAIN.root)
    refused(CertificateRevoked, "V9", lambda: verify(granted(), revocation=Revocation(crls=(good, bad))))
    strict = Revocation(crls=(good,), scope=RevocationScope.PATH)
    refused(RevocationUnknown, "V9", lambda: verify(granted(), revocation=strict))
    both = Revocation(crls=(good, crl(issuer=CHAIN.root)), scope=RevocationScope.PATH)
    assert verify(granted(), revocation=both).status == 0


# --- V10: whom the caller accepts ---


def test_v10_policies() -> None:
    assert verify(granted(), policies=["1.2.3", forge.POLICY]).tst_info.policy == forge.POLICY
    refused(NotAccepted, "V10", lambda: verify(granted(), policies=["1.2.3"]))


def test_v10_common_name() -> None:
    assert verify(granted(), common_name="Signer").status == 0
    for wrong in ("signer", "Root", "", "CN=Signer"):
        refused(NotAccepted, "V10", lambda name=wrong: verify(granted(), common_name=name))  # type: ignore[misc]


def test_v10_exact_certificate() -> None:
    assert verify(granted(), tsa_certificate=CHAIN.signer.certificate).status == 0
    assert verify(granted(certificates=[]), tsa_certificate=CHAIN.signer.certificate).status == 0
    twin = issue(
        "Signer", issuer=CHAIN.intermediate, key=CHAIN.signer.key, extensions=signer_extensions(), serial_number=5
    )
    refused(NotAccepted, "V10", lambda: verify(granted(), tsa_certificate=twin.certificate))


# --- V11: TSTInfo's optional parts ---


def test_v11_unknown_critical_extension() -> None:
    critical = forge.tst_info(extensions=[forge.extension("1.2.3.4", critical=True)])
    harmless = forge.tst_info(extensions=[forge.extension("1.2.3.4")])
    refused(UnknownCriticalExtension, "V11", lambda: verify(granted(critical)))
    assert verify(granted(harmless)).tst_info.extensions[0].oid == "1.2.3.4"


@pytest.mark.parametrize("serial", [0, 1, 2**159, 2**160 - 1, 2**400])
def test_v11_serial_numbers_of_any_size(serial: int) -> None:
    assert verify(granted(forge.tst_info(serial_number=serial))).tst_info.serial_number == serial


def test_v11_all_optional_fields() -> None:
    content = forge.tst_info(
        accuracy=Accuracy(microseconds=1_500_250), ordering=True, nonce=9, extensions=[forge.extension("1.2.3.4")]
    )
    info = verify(granted(content)).tst_info
    assert (info.ordering, info.nonce, info.accuracy) == (True, 9, Accuracy(microseconds=1_500_250))
    assert verify(granted(forge.tst_info(ordering=False))).tst_info.ordering is False


# --- V12: an interval, not a point ---


def test_v12_accuracy_gives_an_interval() -> None:
    result = verify(granted(forge.tst_info(accuracy=Accuracy(microseconds=1_500_000))))
    assert result.earliest == forge.GEN_TIME - timedelta(seconds=1.5)
    assert result.latest == forge.GEN_TIME + timedelta(seconds=1.5)


def test_v12_missing_accuracy_is_unknown() -> None:
    result = verify(granted())
    assert (result.earliest, result.latest) == (None, None)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (b"20250601120000Z", datetime(2025, 6, 1, 12, tzinfo=UTC)),
        (b"20250601120000.5Z", datetime(2025, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        (b"20250601120000.500Z", datetime(2025, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        (b"20250601120000.123456789Z", datetime(2025, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_v12_gen_time_with_fractions(text: bytes, time: datetime) -> None:
    assert verify(granted(forge.tst_info(gen_time=text))).gen_time == time


@pytest.mark.parametrize(
    "text",
    [b"20250601120000", b"202506011200Z", b"20250601120000+0100", b"20251301120000Z", b"20250601120000.Z", b"Z", b""],
)
def test_v12_gen_time_in_another_form(text: bytes) -> None:
    refused(MalformedTimestamp, "V14", lambda: verify(granted(forge.tst_info(gen_time=text))))


# --- V13: more signers and certificates than there should be ---


@pytest.mark.parametrize("count", [0, 2, 3])
def test_v13_not_one_signer(count: int) -> None:
    refused(AmbiguousSigner, "V13", lambda: verify(granted(signers=count)))


def test_v13_injected_certificates_change_nothing() -> None:
    spoofed = issue("Signer", issuer=CHAIN.intermediate, extensions=signer_extensions())
    stranger = make_chain()
    bag = [spoofed.der, stranger.root.der, stranger.signer.der, CHAIN.signer.der, CHAIN.intermediate.der]
    result = verify(granted(certificates=bag), common_name="Signer")
    assert result.signer_certificate == CHAIN.signer.certificate


def test_v13_injected_certificate_with_the_signers_name_and_number() -> None:
    twin = issue(
        "Signer",
        issuer=CHAIN.intermediate,
        extensions=signer_extensions(),
        serial_number=CHAIN.signer.certificate.serial_number,
    )
    result = verify(granted(certificates=[twin.der, CHAIN.signer.der]))
    assert result.signer_certificate == CHAIN.signer.certificate
    refused(SigningCertificateError, "V4", lambda: verify(granted(certificates=[twin.der])))


def test_v13_checks_are_made_on_the_certificate_that_signed() -> None:
    # CVE-2026-39984: a rogue signs, and a good certificate is put first into the bag.
    rogue_chain = make_chain()
    reply = forge.reply(forge.token(rogue_chain.signer, certificates=[CHAIN.signer.der, rogue_chain.signer.der]))
    refused(PathError, "V8", lambda: verify(reply))
    rogue = issue("Rogue", issuer=CHAIN.intermediate, extensions=(key_usage(sign=True),))
    reply = forge.reply(forge.token(rogue, certificates=[CHAIN.signer.der, rogue.der]))
    refused(SignerCertificateError, "V7", lambda: verify(reply, common_name="Signer"))


def test_v13_subject_key_identifier_names_a_signer_too() -> None:
    identifier = x509.SubjectKeyIdentifier(b"\x01\x02\x03\x04")
    signer = issue("Keyed", issuer=CHAIN.intermediate, extensions=(*signer_extensions(), (identifier, False)))
    sid = der.tlv(0x80, identifier.digest)
    assert signed_by(signer, TRUST, sid=sid, signer_version=3).signer_certificate == signer.certificate
    refused(SignedDataError, "V3", lambda: signed_by(signer, TRUST, sid=sid, signer_version=1))


# --- V14: forms of input ---


def test_v14_reply_and_bare_token_artifact_and_digest_bytes_and_streams() -> None:
    reply, token = granted(), forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
    digest = SHA256.digest(b"hello")
    for artifact in (b"hello", bytearray(b"hello"), memoryview(b"hello"), io.BytesIO(b"hello")):
        assert verify(reply, artifact=artifact).status == 0
    assert verify(io.BytesIO(reply)).status == 0  # type: ignore[arg-type]
    assert verify(reply, artifact=None, digest=digest, digest_algorithm="SHA-256").status == 0
    bare = verify_token(token, trust=TRUST, digest=digest)
    assert (bare.status, bare.gen_time) == (None, forge.GEN_TIME)


def test_v14_streams_are_read_in_chunks() -> None:
    class Endless(io.RawIOBase):
        left = 5 << 20
        asked: list[int]

        def __init__(self) -> None:
            self.asked = []

        def read(self, size: int = -1) -> bytes:
            self.asked.append(size)
            given = min(size, self.left)
            self.left -= given
            return bytes(given)

    stream = Endless()
    content = forge.tst_info(bytes(5 << 20))
    assert verify(granted(content), artifact=stream).status == 0
    assert max(stream.asked) <= 1 << 20
    assert min(stream.asked) > 0


@pytest.mark.parametrize("extra", [b"\x00", b"\x05\x00", bytes(100)])
def test_v14_trailing_bytes(extra: bytes) -> None:
    token = forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
    refused(MalformedTimestamp, "V14", lambda: verify(granted() + extra))
    refused(MalformedTimestamp, "V14", lambda: verify_token(token + extra, trust=TRUST, artifact=b"hello"))
    refused(MalformedTimestamp, "V14", lambda: verify(granted(forge.tst_info() + extra)))


def test_v14_truncated_anywhere() -> None:
    reply = granted()
    for size in range(0, len(reply), 7):
        refused(MalformedTimestamp, "V14", lambda cut=reply[:size]: verify(cut))  # type: ignore[misc]


def test_v14_token_for_reply_and_reply_for_token() -> None:
    token = forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
    refused(MalformedTimestamp, "V14", lambda: verify(token))
    refused(MalformedTimestamp, "V14", lambda: verify_token(granted(), trust=TRUST, artifact=b"hello"))


def test_v14_too_large() -> None:
    refused(MalformedTimestamp, "V14", lambda: verify(granted() + bytes(1 << 20)))
    refused(MalformedTimestamp, "V14", lambda: verify(io.BytesIO(bytes(2 << 20))))  # type: ignore[arg-type]


# --- V15: algorithms ---


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_v15_every_kind_of_key(kind: str) -> None:
    chain = make_chain(kind)
    result = verify(granted(chain=chain), trust=TrustStore.from_chain(chain.pem))
    assert result.path[0] == chain.signer.certificate
    changed = granted(chain=chain)
    refused(
        SignatureInvalid,
        "V3",
        lambda: verify(flipped(changed, len(changed) - 1), trust=TrustStore.from_chain(chain.pem)),
    )


@pytest.fixture(scope="module")
def rsa_chain() -> Chain:
    return make_chain("rsa2048")


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("pss", [False, True])
def test_v15_rsa_with_both_paddings(rsa_chain: Chain, digest: str, pss: bool) -> None:
    algorithm = signature_algorithm(rsa_chain.signer.certificate.public_key(), digest=digest, pss=pss)
    trust = TrustStore.from_chain(rsa_chain.pem)
    assert verify(granted(chain=rsa_chain, algorithm=algorithm), trust=trust).status == 0
    other = der.sequence(der.oid(oids.SHA512_WITH_RSA), der.null())
    wrong = granted(chain=rsa_chain, algorithm=algorithm, signature_identifier=other)
    if (digest, pss) == ("sha512", False):
        assert verify(wrong, trust=trust).status == 0
    else:
        refused(SignatureInvalid, "V3", lambda: verify(wrong, trust=trust))


def test_v15_certificates_signed_with_pss() -> None:
    root = issue("Root", key=make_key("rsa2048"), extensions=ca_extensions(), pss=True)
    signer = issue("Signer", issuer=root, extensions=signer_extensions(), pss=True)
    assert signed_by(signer, TrustStore(roots=(root.certificate,))).path[1] == root.certificate


@pytest.mark.parametrize("name", [name for name, h in IMPRINT_HASHES.items() if not h.weak])
def test_v15_imprint_hashes(name: str) -> None:
    content = forge.tst_info(hash_algorithm=IMPRINT_HASHES[name])
    assert verify(granted(content)).tst_info.hash_algorithm is IMPRINT_HASHES[name]


@pytest.mark.parametrize("weak", [SHA1, MD5])
def test_v15_weak_hashes_are_refused_everywhere(weak: Any, rsa_chain: Chain) -> None:
    trust = TrustStore.from_chain(rsa_chain.pem)
    imprint = forge.tst_info(hash_algorithm=weak)
    refused(WeakAlgorithm, "V15", lambda: verify(granted(imprint)))
    refused(WeakAlgorithm, "V15", lambda: verify(granted(chain=rsa_chain, digest=weak), trust=trust))
    with_rsa = "1.2.840.113549.1.1.5" if weak is SHA1 else "1.2.840.113549.1.1.4"
    identifier = der.sequence(der.oid(with_rsa), der.null())
    reply = granted(chain=rsa_chain, signature_identifier=identifier)
    refused(WeakAlgorithm, "V15", lambda: verify(reply, trust=trust))


def test_v15_sha1_in_ecdsa_and_in_the_defaults_of_pss(rsa_chain: Chain) -> None:
    ecdsa = der.sequence(der.oid("1.2.840.10045.4.1"))
    refused(WeakAlgorithm, "V15", lambda: verify(granted(signature_identifier=ecdsa)))
    pss = der.sequence(der.oid(oids.ID_RSASSA_PSS), der.sequence())
    reply = granted(chain=rsa_chain, signature_identifier=pss)
    refused(WeakAlgorithm, "V15", lambda: verify(reply, trust=TrustStore.from_chain(rsa_chain.pem)))


def test_v15_unknown_hashes_and_signatures() -> None:
    unknown = replace(SHA384, oid="1.2.3.4", name="unknown")
    refused(UnsupportedAlgorithm, "V15", lambda: verify(granted(forge.tst_info(hash_algorithm=unknown))))
    identifier = der.sequence(der.oid("1.2.3.4"))
    refused(UnsupportedAlgorithm, "V15", lambda: verify(granted(signature_identifier=identifier)))


def test_v15_algorithm_of_another_kind_of_key() -> None:
    identifier = der.sequence(der.oid(oids.ID_ED25519))
    refused(UnsupportedAlgorithm, "V15", lambda: verify(granted(signature_identifier=identifier)))


def test_v15_short_rsa_keys_and_long_exponents() -> None:
    short = rsa.generate_private_key(65537, 1024)
    signer = issue("Short", issuer=CHAIN.intermediate, key=short, extensions=signer_extensions())
    algorithm = signature_algorithm(make_chain("rsa2048").signer.certificate.public_key())
    refused(WeakAlgorithm, "V15", lambda: signed_by(signer, TRUST, algorithm=algorithm))


def test_v15_certificates_signed_with_sha1_are_refused() -> None:
    # cryptography no longer makes them, so the algorithm is renamed in a good one, in both of its places.
    good = der.sequence(der.oid(oids.ECDSA_WITH_SHA256))
    sha1 = der.sequence(der.oid("1.2.840.10045.4.1"))
    original = CHAIN.signer.der
    _, start, end = der.read(original, 0, len(original))
    _, content, content_end = der.read(original, start, end)
    signed = der.sequence(original[content:content_end].replace(good, sha1, 1))
    forged = der.sequence(signed, original[content_end:end].replace(good, sha1, 1))
    signer = Issued(key=CHAIN.signer.key, certificate=x509.load_der_x509_certificate(forged))
    refused(WeakAlgorithm, "V15", lambda: signed_by(signer, TRUST))


# --- requests ---


def test_requests_are_checked_too() -> None:
    assert verify_request(REQUEST).nonce == 77
    weak = der.sequence(
        der.integer(1),
        der.sequence(der.sequence(SHA1.oid_der, der.null()), der.octet_string(bytes(20))),
    )
    short = der.sequence(
        der.integer(1),
        der.sequence(der.sequence(SHA256.oid_der, der.null()), der.octet_string(bytes(20))),
    )
    unknown = der.sequence(
        der.integer(1),
        der.sequence(der.sequence(der.oid("1.2.3.4"), der.null()), der.octet_string(bytes(20))),
    )
    for request, kind in (
        (weak, "WeakRequestHash"),
        (short, "InconsistentDigestLength"),
        (unknown, "UnsupportedRequestHash"),
        (b"", "RequestInvalid"),
    ):
        with pytest.raises(VerificationError) as caught:
            verify_request(request)
        assert (type(caught.value).__name__, caught.value.rule) == (kind, "S5")
