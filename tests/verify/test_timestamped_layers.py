"""TimeStampedData with layers (RFC 5544): thirty years of renewals hold, and every change of a layer is refused."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import SHA1, SHA3_512, SHA256, HashAlgorithm
from tsa_core.protocol.oids import SHA256_WITH_RSA
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.protocol.timestamped_data import (
    MAX_LAYERS,
    Layer,
    MetaData,
    TimeStampedData,
    is_timestamped_data,
    read_timestamped_data,
)
from tsa_core.protocol.token_material import with_material
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, ca_extensions, issue, make_chain, shared, signer_extensions
from tsa_core.testing.forged_revocation import basic_response, crl, entry, ocsp_response, single
from tsa_core.verify import (
    DEFAULT_PERIODS,
    CertificateRevoked,
    ImprintMismatch,
    MalformedTimestamp,
    PathError,
    ProofMissing,
    Revocation,
    RevocationScope,
    RevocationStatus,
    TrustStore,
    VerificationError,
    Verifier,
    verify_token,
)
from tsa_core.verify.layers import verify_timestamped_data

DATA = b"a contract of 2006"


def day(year: int, month: int = 6) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


class Authority:
    """A root and a signer whose certificate is for some years."""

    def __init__(self, kind: str, begin: int, end: int) -> None:
        self.root = issue(
            f"Root {begin}", key=shared(kind, 1), extensions=ca_extensions(), not_before=day(begin, 1),
            not_after=day(begin + 40),
        )  # fmt: skip
        self.signer = issue(
            f"TSA {begin}", issuer=self.root, key=shared(kind), extensions=signer_extensions(),
            not_before=day(begin, 1), not_after=day(end, 1),
        )  # fmt: skip

    def stamp(self, data: bytes, year: int, hash_algorithm: HashAlgorithm) -> bytes:
        content = forge.tst_info(data, hash_algorithm=hash_algorithm, gen_time=day(year))
        return forge.token(
            self.signer, content, certificates=[self.signer.der],
            attributes={"1.2.840.113549.1.9.5": None},
        )  # fmt: skip

    def crl(self, year: int, *entries: bytes) -> bytes:
        signing = None
        if isinstance(self.root.key, RSAPrivateKey):  # whose signatures are named otherwise in tokens than in CRLs
            sign = signature_algorithm(self.root.key.public_key()).signing_function(self.root.key)
            signing = (der.sequence(der.oid(SHA256_WITH_RSA), der.null()), sign)
        return crl(self.root, *entries, this_update=day(year), next_update=day(year, 8), signing=signing)


OLD = Authority("rsa2048", 2005, 2013)
MIDDLE = Authority("p256", 2010, 2024)
NEW = Authority("ml-dsa-65", 2020, 2040)
TRUST = TrustStore.from_files(b"".join(a.root.certificate.public_bytes(Encoding.PEM) for a in (OLD, MIDDLE, NEW)), b"")
NOW = day(2035)


def extended(layers: tuple[Layer, ...], authority: Authority, year: int, algorithm: HashAlgorithm) -> tuple[Layer, ...]:
    return (*layers, Layer(token=authority.stamp(layers[-1].encoded, year, algorithm)))


@pytest.fixture(scope="module")
def archive() -> TimeStampedData:
    """SHA-1 and RSA in 2006, SHA-256 and ECDSA in 2011, SHA-3 and ML-DSA in 2023; each with its CRL inside."""
    first = OLD.stamp(DATA, 2006, SHA1)
    layers: tuple[Layer, ...] = (Layer(token=with_material(first, certificates=[OLD.root.der], crls=[OLD.crl(2011)])),)
    layers = extended(layers, MIDDLE, 2011, SHA256)
    layers = (
        *layers[:-1],
        Layer(token=with_material(layers[-1].token, certificates=[MIDDLE.root.der], crls=[MIDDLE.crl(2023)])),
    )
    return TimeStampedData(layers=extended(layers, NEW, 2023, SHA3_512), content=DATA)


def check(archive: TimeStampedData, **expectations: object) -> object:
    return verify_timestamped_data(archive.encode(), trust=TRUST, **{"time": NOW, **expectations})  # type: ignore[arg-type]  # names vary


def test_three_layers_hold_each_at_the_time_that_the_next_one_proves(archive: TimeStampedData) -> None:
    verdict = verify_timestamped_data(archive.encode(), trust=TRUST, time=NOW)
    assert verdict.gen_time == day(2006)
    assert verdict.checked_at == day(2011)
    assert {note.code for note in verdict.notes} >= {"strong-by-date"}
    assert [f.status for f in verdict.revocation] == [RevocationStatus.GOOD]
    assert verdict.proof is not None
    assert verdict.proof.proof is not None
    assert verdict.proof.checked_at == day(2023)
    assert verdict.proof.proof.checked_at == NOW
    assert verdict.proof.proof.proof is None


def test_a_file_is_not_verified_for_a_moment_before_its_last_timestamp(archive: TimeStampedData) -> None:
    made = day(2023)
    assert check(archive, time=made - timedelta(minutes=5))
    with pytest.raises(PathError, match=r"timestamp 3 of 3: genTime is 2023-06-01 .* after 2022-06-01") as caught:
        check(archive, time=day(2022))
    assert caught.value.rule == "V8"


def test_the_data_may_be_elsewhere(archive: TimeStampedData) -> None:
    alone = replace(archive, content=None)
    assert check(alone, artifact=io.BytesIO(DATA))
    assert check(alone, digest=SHA1.digest(DATA), digest_algorithm="sha1")
    with pytest.raises(TypeError, match="give artifact or digest"):
        check(alone)
    with pytest.raises(ImprintMismatch, match="timestamp 1 of 3"):
        check(alone, artifact=b"another contract")
    with pytest.raises(ImprintMismatch):
        check(archive, artifact=b"another contract")
    with pytest.raises(ImprintMismatch, match="the content of the file"):
        check(replace(archive, content=b"another"), artifact=DATA)


@pytest.mark.parametrize(
    ("kept", "error", "reason"),
    [
        ((1, 2), ImprintMismatch, "timestamp 1 of 2"),
        ((0, 2), ImprintMismatch, "it is not over timestamp 1: one was removed, exchanged or changed"),
        ((0, 1), ProofMissing, "no later timestamp proves that it existed before"),
        ((0,), VerificationError, "timestamp 1 of 1"),
        ((0, 2, 1), VerificationError, "timestamp 3 of 3"),
        ((1, 0, 2), ImprintMismatch, "it is not over timestamp 2"),
        ((0, 1, 1, 2), ImprintMismatch, "it is not over"),
    ],
)
def test_a_layer_that_is_missing_or_moved(
    archive: TimeStampedData, kept: tuple[int, ...], error: type[VerificationError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        check(archive.with_layers(tuple(archive.layers[number] for number in kept)))


def test_a_layer_that_is_exchanged(archive: TimeStampedData) -> None:
    other = OLD.stamp(DATA, 2007, SHA1)
    with pytest.raises(ImprintMismatch, match="timestamp 2 of 3: it is not over timestamp 1"):
        check(archive.with_layers((Layer(token=other), *archive.layers[1:])))


def test_evidence_that_is_added_or_taken_out_of_a_covered_layer(archive: TimeStampedData) -> None:
    first = archive.layers[0]
    changed = Layer(token=with_material(first.token, crls=[OLD.crl(2012)]))
    with pytest.raises(ImprintMismatch, match="it is not over timestamp 1"):
        check(archive.with_layers((changed, *archive.layers[1:])))
    with pytest.raises(ImprintMismatch):
        check(archive.with_layers((Layer(token=first.token, crl=OLD.crl(2011)), *archive.layers[1:])))


def test_a_layer_that_came_too_late() -> None:
    layers = extended((Layer(token=OLD.stamp(DATA, 2006, SHA1)),), NEW, 2023, SHA256)
    with pytest.raises(ProofMissing, match="timestamp 1 of 2"):
        check(TimeStampedData(layers=layers, content=DATA))
    layers = extended((Layer(token=MIDDLE.stamp(DATA, 2012, SHA256)),), NEW, 2025, SHA256)
    with pytest.raises(ProofMissing, match="ended at 2024-01-01 00:00:00Z, before the next timestamp proves"):
        check(TimeStampedData(layers=layers, content=DATA))


def test_a_layer_older_than_the_one_it_is_over() -> None:
    layers = extended((Layer(token=MIDDLE.stamp(DATA, 2022, SHA256)),), NEW, 2021, SHA256)
    with pytest.raises(ProofMissing, match="older"):
        check(TimeStampedData(layers=layers, content=DATA))


@pytest.mark.parametrize("beside", [False, True])
def test_a_revocation_that_was_known_when_the_next_layer_was_made(beside: bool) -> None:
    revoked = MIDDLE.crl(2023, entry(MIDDLE.signer, day(2012, 1), 1))
    token = MIDDLE.stamp(DATA, 2013, SHA256)
    first = Layer(token=token, crl=revoked) if beside else Layer(token=with_material(token, crls=[revoked]))
    layers = extended((first,), NEW, 2023, SHA256)
    with pytest.raises(CertificateRevoked, match="timestamp 1 of 2"):
        check(TimeStampedData(layers=layers, content=DATA))


def test_evidence_must_speak_for_the_time_of_the_next_layer() -> None:
    token = with_material(MIDDLE.stamp(DATA, 2013, SHA256), crls=[MIDDLE.crl(2014)])
    layers = extended((Layer(token=token),), NEW, 2023, SHA256)
    last = with_material(layers[-1].token, crls=[NEW.crl(2035)])
    archive = TimeStampedData(layers=(layers[0], Layer(token=last)), content=DATA)
    assert check(archive)
    with pytest.raises(VerificationError, match=r"timestamp 1 of 2.*stale"):
        check(archive, revocation=Revocation(scope=RevocationScope.SIGNER))


def test_metadata_that_is_protected() -> None:
    encoded = der.sequence(der.boolean(True), der.tlv(0x0C, b"vertrag.txt"))
    metadata = MetaData(encoded=encoded, protected=True, file_name="vertrag.txt")
    token = NEW.stamp(encoded + DATA, 2023, SHA256)
    archive = TimeStampedData(layers=(Layer(token=token),), content=DATA, metadata=metadata)
    assert read_timestamped_data(archive.encode()) == archive
    assert check(archive)
    assert check(archive, artifact=io.BytesIO(DATA))
    changed = replace(metadata, encoded=der.sequence(der.boolean(True), der.tlv(0x0C, b"x")), file_name="x")
    with pytest.raises(ImprintMismatch):
        check(replace(archive, metadata=changed))
    with pytest.raises(MalformedTimestamp, match="a digest of the data is not enough"):
        check(archive, digest=SHA256.digest(DATA))


def test_a_token_with_more_material_is_the_same_token() -> None:
    token = NEW.stamp(DATA, 2023, SHA256)
    signer: Issued = NEW.signer
    response = ocsp_response(
        basic_response(NEW.root, single(signer, NEW.root, this_update=day(2023)), produced_at=day(2023))
    )
    lists = [NEW.crl(2023)]
    more = with_material(token, certificates=[NEW.root.der, signer.der], crls=lists, ocsp_responses=[response])
    assert more.count(signer.der) == 1
    assert with_material(more, certificates=[signer.der], crls=lists, ocsp_responses=[response]) == more
    verdict = verify_token(more, artifact=DATA, trust=TRUST, time=day(2023) + timedelta(days=1))
    assert {evidence.kind for evidence in verdict.revocation[0].evidence} == {"CRL", "OCSP response"}
    with pytest.raises(EncodingError, match="verifiers read at most"):
        with_material(token, crls=[der.sequence(der.octet_string(bytes(1 << 20)))])


HEAD = der.oid("1.2.840.113549.1.9.16.1.31")


def wrapped(*parts: bytes) -> bytes:
    return der.sequence(HEAD, der.explicit(0, der.sequence(*parts)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends at byte 0"),
        (b"\x30\x84\xff\xff\xff\xff" + HEAD, "longer than the data"),
        (wrapped(), "version 1"),
        (wrapped(der.integer(2), der.explicit(0, b"")), "version 1"),
        (wrapped(der.integer(1)), "one temporalEvidence"),
        (wrapped(der.integer(1), der.explicit(0, b"")), "holds no timestamp"),
        (wrapped(der.integer(1), der.explicit(1, b"")), "evidence records"),
        (wrapped(der.integer(1), der.explicit(0, der.sequence())), "is empty"),
        (wrapped(der.integer(1), der.explicit(0, der.sequence(der.integer(1)))), "does not begin with a timestamp"),
        (wrapped(der.integer(1), der.tlv(0x16, b"\xff"), der.explicit(0, b"")), "dataUri is not text"),
        (wrapped(der.integer(1), der.sequence(), der.explicit(0, b"")), "metaData"),
        (wrapped(*[der.integer(1)] * 6), "more than 5 parts"),
        (
            wrapped(der.integer(1), der.explicit(0, der.sequence(der.sequence(der.oid("1.2.3"))) * (MAX_LAYERS + 1))),
            "more than 64 timestamps",
        ),
        (b"\x30\x80" * 40, "nested more than 32 levels"),
        (b"\x30\x80" + b"\x05\x00" * (1 << 20), "more than 1048576 values"),
    ],
)  # fmt: skip
def test_hostile_files(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedTimestamp, match=reason):
        verify_timestamped_data(data, trust=TRUST, artifact=b"")


def test_what_a_file_begins_with(archive: TimeStampedData) -> None:
    assert is_timestamped_data(archive.encode()[:32])
    assert is_timestamped_data(b"\x30\x80" + HEAD)
    for other in (b"", b"\x30", archive.layers[0].token[:32], b"\x31\x80" + HEAD):
        assert not is_timestamped_data(other)


def test_ber_as_bouncycastle_writes_it(archive: TimeStampedData) -> None:
    pieces = b"\x24\x80" + der.octet_string(DATA[:5]) + der.octet_string(DATA[5:]) + b"\x00\x00"
    evidence = der.explicit(0, b"".join(layer.encoded for layer in archive.layers))
    body = b"\x30\x80" + der.integer(1) + pieces + evidence + b"\x00\x00"
    data = b"\x30\x80" + HEAD + b"\xa0\x80" + body + b"\x00\x00\x00\x00"
    assert read_timestamped_data(data) == archive


def test_a_moment_of_existence_before_the_timestamp_is_a_contradiction() -> None:
    """Else a SHA-1 timestamp that states a late time would count as one of the days when SHA-1 was strong."""
    chain = make_chain()
    certificates = [chain.signer.der, chain.intermediate.der]
    token = forge.token(chain.signer, forge.tst_info(hash_algorithm=SHA1), certificates=certificates)
    verifier = Verifier(TrustStore(roots=(chain.root.certificate,)), algorithm_periods=DEFAULT_PERIODS)
    with pytest.raises(ProofMissing, match="the moment at which it existed is older than the timestamp"):
        verifier.verify_token(token, artifact=b"hello", existed=datetime(2009, 1, 1, tzinfo=UTC))
