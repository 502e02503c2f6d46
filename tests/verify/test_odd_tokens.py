"""Whole tokens over paths and keys that are odd: what must verify, with which notes, and what must not."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.paths.encoded_certificates import (
    BASIC_CONSTRAINTS,
    CA,
    EXTENDED_KEY_USAGE,
    SUBJECT_KEY_IDENTIFIER,
    Encoded,
    Extension,
    encoded,
    key,
)
from tsa_core.client import build_request
from tsa_core.paths.certificate import load_certificate
from tsa_core.protocol import der, oids
from tsa_core.protocol.hashes import SHA256, SHA384
from tsa_core.protocol.signatures import SignatureAlgorithm
from tsa_core.testing import forge, shared_key
from tsa_core.testing.forged_pki import Issued, ca_extensions, issue, make_chain, signer_extensions
from tsa_core.verify import (
    PathError,
    SignedDataError,
    TrustStore,
    UnsupportedAlgorithm,
    VerificationError,
    VerifiedTimestamp,
    check_answer,
    verify_response,
)

ROOT = encoded("Root", extensions=CA)
TIMESTAMPING = Extension(EXTENDED_KEY_USAGE, der.sequence(der.oid("1.3.6.1.5.5.7.3.8")), True)


def loaded(certificate: Encoded) -> x509.Certificate:
    return load_certificate(certificate.der)


def verify(token: bytes, root: Encoded | Issued = ROOT) -> VerifiedTimestamp:
    trusted = loaded(root) if isinstance(root, Encoded) else root.certificate
    return verify_response(forge.reply(token), artifact=b"hello", trust=TrustStore(roots=(trusted,)))


def issued(certificate: Encoded) -> Issued:
    return Issued(key=key(certificate.key), certificate=loaded(certificate))


# --- paths ---


def test_a_self_issued_certificate_of_version_1_is_no_intermediate() -> None:
    old = encoded("Root", issuer=ROOT, key_number=1, version=None)
    signer = encoded("Signer", issuer=old, key_number=2, extensions=(TIMESTAMPING,))
    with pytest.raises(PathError, match="is not a CA"):
        verify(forge.token(issued(signer), certificates=[signer.der, old.der]))


@pytest.mark.parametrize("curve", [ec.BrainpoolP256R1(), ec.BrainpoolP384R1()], ids=lambda curve: str(curve.name))
def test_brainpool_signs_path_and_token(curve: ec.EllipticCurve) -> None:
    root = issue("Root", key=ec.generate_private_key(curve), extensions=ca_extensions())
    signer = issue("Signer", issuer=root, key=ec.generate_private_key(curve), extensions=signer_extensions())
    algorithm = SignatureAlgorithm(
        name="ecdsa", digest=SHA384, scheme="ecdsa", identifier=der.sequence(der.oid(oids.ECDSA_WITH_SHA384))
    )
    token = forge.token(signer, certificates=[signer.der], algorithm=algorithm)
    assert verify(token, root).signer_certificate == signer.certificate


def test_odd_extensions_of_the_signer_are_noted() -> None:
    extensions = (
        TIMESTAMPING,
        Extension(BASIC_CONSTRAINTS, der.sequence(der.boolean(False))),
        Extension(SUBJECT_KEY_IDENTIFIER, b"\xff"),
    )
    signer = encoded("Signer", issuer=ROOT, key_number=1, extensions=extensions, serial_number=-5)
    notes = verify(forge.token(issued(signer), certificates=[signer.der])).notes
    assert [note.code for note in notes] == ["serial-not-positive", "extension-unreadable"]
    assert "'CN=Signer,O=tsa-core tests'" in notes[0].text


# --- versions ---


def test_a_signed_data_of_version_1_is_noted() -> None:
    chain = make_chain()
    bag = [chain.signer.der, chain.intermediate.der]
    result = verify(forge.token(chain.signer, certificates=bag, version=1), chain.root)
    assert [note.code for note in result.notes] == ["signed-data-version"]
    with pytest.raises(SignedDataError, match="version 2"):
        verify(forge.token(chain.signer, certificates=bag, version=2), chain.root)


def test_a_signer_info_of_version_3_with_issuer_and_serial_number_is_noted() -> None:
    chain = make_chain()
    bag = [chain.signer.der, chain.intermediate.der]
    result = verify(forge.token(chain.signer, certificates=bag, signer_version=3), chain.root)
    assert [note.code for note in result.notes] == ["signer-info-version"]
    with pytest.raises(SignedDataError, match="version 2"):
        verify(forge.token(chain.signer, certificates=bag, signer_version=2), chain.root)


def test_an_ordinary_token_has_no_notes() -> None:
    chain = make_chain()
    assert (
        verify(forge.token(chain.signer, certificates=[chain.signer.der, chain.intermediate.der]), chain.root).notes
        == ()
    )


# --- keys for RSASSA-PSS ---


def rsa_key() -> rsa.RSAPrivateKey:
    key = shared_key("rsa-2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def pss_parameters(name: str = oids.SHA256, *, mask: str | None = None, salt: int = 32) -> bytes:
    hash_identifier = der.sequence(der.oid(name), der.null())
    mask_identifier = der.sequence(der.oid(mask or name), der.null())
    return der.sequence(
        der.explicit(0, hash_identifier),
        der.explicit(1, der.sequence(der.oid(oids.ID_MGF1), mask_identifier)),
        der.explicit(2, der.integer(salt)),
    )


def pss_signer(parameters: bytes) -> Encoded:
    """Return a signer whose key is certified as id-RSASSA-PSS with these parameters."""
    plain = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    algorithm = der.sequence(der.oid(oids.ID_RSASSA_PSS), parameters)
    info = der.sequence(algorithm, der.tlv(der.BIT_STRING, b"\x00" + plain))
    return encoded("Signer", issuer=ROOT, key_number=1, extensions=(TIMESTAMPING,), public_key=info)


def pss_token(certified: bytes, signed_with: bytes | None, *, hash_name: str = "sha256", salt: int = 32) -> bytes:
    """Return a token by an id-RSASSA-PSS key; `signed_with` None signs with PKCS#1 v1.5."""
    signer = pss_signer(certified)
    certificate = Issued(key=rsa_key(), certificate=loaded(signer))
    identifier = der.sequence(der.oid(oids.RSA_ENCRYPTION), der.null())
    if signed_with is not None:
        identifier = der.sequence(der.oid(oids.ID_RSASSA_PSS), signed_with)
    algorithm = _Signing(hash_name, salt, pss=signed_with is not None).algorithm(identifier)
    return forge.token(certificate, certificates=[signer.der], algorithm=algorithm)


class _Signing:
    """An algorithm with a salt and hashes of one's own, which the authority does not offer."""

    def __init__(self, hash_name: str, salt: int, *, pss: bool) -> None:
        self._hash = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}[hash_name]
        self._padding = padding.PSS(padding.MGF1(self._hash), salt) if pss else padding.PKCS1v15()

    def algorithm(self, identifier: bytes) -> SignatureAlgorithm:
        signing = self

        class Signing(SignatureAlgorithm):
            def signing_function(self, private_key: object) -> object:  # type: ignore[override]  # for one key only
                return lambda message: rsa_key().sign(message, signing._padding, signing._hash)

        return Signing(name="own", digest=SHA256, scheme="rsa-pss", identifier=identifier)


def test_a_key_for_pss_signs_with_pss_only() -> None:
    assert verify(pss_token(b"", pss_parameters())).status == 0
    assert verify(pss_token(pss_parameters(), pss_parameters())).status == 0
    for certified in (b"", pss_parameters()):
        with pytest.raises(UnsupportedAlgorithm, match="is for RSASSA-PSS only"):
            verify(pss_token(certified, None))


def test_without_a_path_too_a_key_for_pss_signs_with_pss_only() -> None:
    request = build_request(digest=SHA256.digest(b"hello"), nonce=False)
    with pytest.raises(VerificationError, match="is for RSASSA-PSS only"):
        check_answer(forge.reply(pss_token(b"", None)), request)


def test_a_key_with_pss_parameters_signs_as_they_say() -> None:
    """The same hash and mask, and a salt that is no shorter (RFC 4055 3.3)."""
    assert verify(pss_token(pss_parameters(salt=24), pss_parameters(salt=32))).status == 0
    for certified in (
        pss_parameters(salt=33),
        pss_parameters(oids.SHA384),
        pss_parameters(mask=oids.SHA384),
    ):
        with pytest.raises(UnsupportedAlgorithm, match="is for RSASSA-PSS with"):
            verify(pss_token(certified, pss_parameters()))
