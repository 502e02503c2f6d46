"""Rules V1, V2, V10 to V12 and V14: what a reply says, whether that was asked for, and in which form it comes."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.conformance.verification import CHAIN, TRUST, granted, refused, verify
from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA1, SHA256, SHA512, hash_by_name
from tsa_core.protocol.request import encode_request
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    issue,
    signer_extensions,
)
from tsa_core.verify import (
    ImprintMismatch,
    MalformedTimestamp,
    NonceMismatch,
    NotAccepted,
    NotGranted,
    PolicyMismatch,
    SignedDataError,
    UnknownCriticalExtension,
    VerificationError,
    verify_request,
    verify_response,
    verify_token,
)

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


# --- V10: whom the caller accepts ---


def test_v10_policies() -> None:
    assert verify(granted(), policies=["1.2.3", forge.POLICY]).tst_info.policy == forge.POLICY
    refused(NotAccepted, "V10", lambda: verify(granted(), policies=["1.2.3"]))
    assert verify(granted(), policies=None).tst_info.policy == forge.POLICY
    refused(NotAccepted, "V10", lambda: verify(granted(), policies=[]))  # none is accepted, and not any


def test_v10_common_name() -> None:
    assert verify(granted(), common_name="Signer").status == 0
    for wrong in ("signer", "Root", "", "CN=Signer"):
        refused(NotAccepted, "V10", partial(verify, granted(), common_name=wrong))


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


# --- V14: forms of input ---


def test_v14_reply_and_bare_token_artifact_and_digest_bytes_and_streams() -> None:
    reply, token = granted(), forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
    digest = SHA256.digest(b"hello")
    for artifact in (b"hello", bytearray(b"hello"), memoryview(b"hello"), io.BytesIO(b"hello")):
        assert verify(reply, artifact=artifact).status == 0
    assert verify(io.BytesIO(reply)).status == 0
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
        refused(MalformedTimestamp, "V14", partial(verify, reply[:size]))


def test_v14_token_for_reply_and_reply_for_token() -> None:
    token = forge.token(CHAIN.signer, certificates=[CHAIN.signer.der])
    refused(MalformedTimestamp, "V14", lambda: verify(token))
    refused(MalformedTimestamp, "V14", lambda: verify_token(granted(), trust=TRUST, artifact=b"hello"))


def test_v14_too_large() -> None:
    refused(MalformedTimestamp, "V14", lambda: verify(granted() + bytes(1 << 20)))
    refused(MalformedTimestamp, "V14", lambda: verify(io.BytesIO(bytes(2 << 20))))


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
