"""Replies that others published, and the outcome that each must have; skipped where they are not.

What makes each of them odd is proved without them too, by test_foreign_tokens.py.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from tsa_backends.vectors import vectors
from tsa_core.protocol.hashes import SHA512
from tsa_core.protocol.reply import read_reply, read_signer_info, read_token
from tsa_core.protocol.signatures import PublicKey
from tsa_core.protocol.tstinfo_reader import read_tst_info
from tsa_core.verify import (
    ImprintMismatch,
    MalformedTimestamp,
    PathError,
    SignatureInvalid,
    SignerCertificateMissing,
    TrustStore,
    VerificationError,
    Verifier,
    verify_request,
)
from tsa_core.verify.algorithms import digest_algorithm, signature_scheme


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A reply, what is trusted, what it is about, and how it must end; paths are inside the vectors' folder."""

    reply: PurePath
    chain: PurePath | None
    """None: the self-signed certificate in the token, or else the signer's own certificate, is trusted."""
    artifact: bytes | PurePath | None
    """None: the digest in the token is taken as given."""
    outcome: type[VerificationError] | str
    """The error, or the common name of the signer."""


def chain(folder: str) -> PurePath:
    return PurePath("rfc3161-client", folder, "ts_chain.pem")


PAYLOAD = PurePath("rfc3161-client", "sigstore.mock", "payload")
TEST_TSA, SIGSTAGE, IDENTRUST, MOCK = map(chain, ("test_tsa", "sigstage", "identrust", "sigstore.mock"))


def vector(
    reply: str, chain: PurePath | None, artifact: bytes | PurePath | None, outcome: type[VerificationError] | str
) -> Vector:
    return Vector(reply=PurePath(reply), chain=chain, artifact=artifact, outcome=outcome)


def published(path: PurePath) -> bytes:
    """Return a file of the vectors' folder."""
    return vectors(path.parts[0]).joinpath(*path.parts[1:]).read_bytes()


def name_of(data: Vector) -> str:
    trusted = data.chain.parent.name if data.chain else "itself"
    return f"{data.reply.parent.name}/{data.reply.stem} trusting {trusted}"


TABLE = [
    vector("rfc3161-client/test_tsa/response.tsr", TEST_TSA, b"hello", "Test TSA Timestamping"),
    vector("rfc3161-client/test_tsa/response.tsr", TEST_TSA, b"hell0", ImprintMismatch),
    vector("rfc3161-client/test_tsa/response.tsr", SIGSTAGE, b"hello", PathError),
    vector("rfc3161-client/test_tsa/other_response.tsr", TEST_TSA, b"hello", PathError),
    vector("rfc3161-client/test_tsa/response-injected-certs.tsr", TEST_TSA, b"hello", "Test TSA Timestamping"),
    vector("rfc3161-client/sigstage/response-sha256.tsr", SIGSTAGE, b"hello", "sigstore-tsa"),
    vector("rfc3161-client/sigstage/response-sha384.tsr", SIGSTAGE, b"hello", "sigstore-tsa"),
    vector("rfc3161-client/sigstage/response-sha512.tsr", SIGSTAGE, b"hello", "sigstore-tsa"),
    vector("rfc3161-client/sigstage/response-no-embedded-cert.tsr", SIGSTAGE, b"hello", "sigstore-tsa"),
    vector("rfc3161-client/sigstage/response-no-embedded-cert.tsr", TEST_TSA, b"hello", SignerCertificateMissing),
    vector("rfc3161-client/sigstage/response-invalid-signature.tsr", SIGSTAGE, b"hello", SignatureInvalid),
    vector("rfc3161-client/sigstore.mock/response-expired.tsr", MOCK, PAYLOAD, "tsa signing"),
    vector("rfc3161-client/identrust/issue-104.tsr", IDENTRUST, b"hello", "TrustID Timestamp Authority"),
    vector("sigstore-java/valid/freetsa_response.tsr", None, None, "www.freetsa.org"),
    vector("sigstore-java/valid/sigstage_tsa_response_with_embedded_certs.tsr", SIGSTAGE, None, "sigstore-tsa"),
    vector("sigstore-java/valid/sigstage_tsa_response_without_embedded_certs.tsr", SIGSTAGE, None, "sigstore-tsa"),
    # Good in every other way, but its imprint is the 64 hexadecimal digits of a digest, under the name SHA-256.
    vector("sigstore-java/valid/sigstore_tsa_response_with_embedded_certs.tsr", None, None, ImprintMismatch),
    vector("sigstore-java/valid/sigstore_tsa_response_with_embedded_certs.tsr", SIGSTAGE, None, PathError),
    vector(
        "sigstore-java/valid/sigstore_tsa_response_without_embedded_certs.tsr",
        SIGSTAGE,
        None,
        SignerCertificateMissing,
    ),
    vector("sigstore-java/invalid/sigstore_tsa_response_invalid.tsr", SIGSTAGE, b"hello", MalformedTimestamp),
]


def trust_of(data: Vector, reply: bytes) -> TrustStore:
    if data.chain is not None:
        return TrustStore.from_chain(published(data.chain))
    token = read_reply(reply).token
    assert token is not None
    certificates = [x509.load_der_x509_certificate(c) for c in token.certificates]
    roots = [c for c in certificates if c.issuer == c.subject] or certificates
    return TrustStore(roots=tuple(roots))


@pytest.mark.parametrize("data", TABLE, ids=name_of)
def test_vector(data: Vector) -> None:
    reply = published(data.reply)
    artifact = published(data.artifact) if isinstance(data.artifact, PurePath) else data.artifact
    digest = None
    if artifact is None:
        token = read_reply(reply).token
        assert token is not None
        digest = read_tst_info(token.content).hashed_message
    verifier = Verifier(trust_of(data, reply))
    if isinstance(data.outcome, str):
        result = verifier.verify_response(reply, artifact=artifact, digest=digest)
        name = x509.oid.NameOID.COMMON_NAME
        assert [a.value for a in result.signer_certificate.subject.get_attributes_for_oid(name)] == [data.outcome]
    else:
        with pytest.raises(VerificationError) as caught:
            verifier.verify_response(reply, artifact=artifact, digest=digest)
        assert type(caught.value) is data.outcome


def test_every_reply_of_the_vectors_is_in_the_table() -> None:
    folders = {data.reply.parts[0] for data in TABLE}
    found = {Path(name) / path.relative_to(vectors(name)) for name in folders for path in vectors(name).rglob("*.tsr")}
    assert found == {data.reply for data in TABLE}


def test_requests_and_their_replies() -> None:
    folder = vectors("rfc3161-client") / "test_tsa"
    request = (folder / "request.der").read_bytes()
    assert verify_request(request).digest == SHA512.digest(b"hello")
    verifier = Verifier(TrustStore.from_chain(published(TEST_TSA)))
    reply = (folder / "response.tsr").read_bytes()
    assert verifier.verify_response(reply, request=request).tst_info.nonce == verify_request(request).nonce
    with pytest.raises(VerificationError, match="nonce"):
        verifier.verify_response(reply, request=(folder / "other_request.der").read_bytes())


ML_DSA: dict[int, type[mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey]] = {
    44: mldsa.MLDSA44PrivateKey,
    65: mldsa.MLDSA65PrivateKey,
    87: mldsa.MLDSA87PrivateKey,
}


@pytest.mark.parametrize("size", ML_DSA)
def test_ml_dsa_signed_attributes(size: int) -> None:
    # RFC 9882's examples use the keys of RFC 9881, which come from the seed 00 01 .. 1f.
    pem = (vectors("cms-ml-dsa") / f"mldsa{size}-signed-attrs.pem").read_text()
    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    token = read_token(base64.b64decode(body))
    info = read_signer_info(token.signers[0])
    digest = digest_algorithm(info.digest_algorithm_der, "the message digest")
    scheme = signature_scheme(info.signature_algorithm_der, digest)
    key: PublicKey = ML_DSA[size].from_seed_bytes(bytes(range(32))).public_key()
    scheme.verify(key, info.signature, info.signed_attributes_der)
    with pytest.raises(InvalidSignature):
        scheme.verify(key, info.signature, info.signed_attributes_der + b"\x00")
