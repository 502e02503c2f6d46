"""Every byte of a good reply is changed, one at a time; no change may pass as the same statement."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.verify import foreign_tokens as foreign
from tsa_backends.vectors import vectors
from tsa_core.protocol import der, oids
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.reply import read_reply
from tsa_core.protocol.request import encode_request
from tsa_core.protocol.tstinfo_reader import read_tst_info
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.verify import TrustStore, VerificationError, VerifiedTimestamp, Verifier
from tsa_core.verify.trust import is_self_signed

BITS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF)

Verify = Callable[[bytes], VerifiedTimestamp]


def unprotected(reply: bytes, signer: bytes, unneeded: list[bytes]) -> dict[int, str]:
    """Return the positions that may change, each with the reason.

    Four kinds, and no others. The PKIStatus is outside of the token and nobody signs it (RFC 3161 2.4.2): granted
    may become grantedWithMods, which the result shows; the token is the same. And a certificate that the path
    does not need, because the caller has it too, is only a hint: the bag is not signed (RFC 5652 5.1). Where
    that goes for the whole bag, its tag may say that it is a bag of something else. The versions of SignedData and
    SignerInfo are not signed either, and one wrong version of each is read with a note.
    """
    places = {reply.index(b"\x30\x03\x02\x01\x00") + 4: "PKIStatus"}
    places[reply.index(b"\x02\x01", reply.index(der.oid(oids.ID_SIGNED_DATA))) + 2] = "signed-data-version"
    names = certificate_fields(signer)
    sid = der.sequence(names.issuer, names.serial_number)
    places[reply.rindex(b"\x02\x01\x01" + sid) + 2] = "signer-info-version"
    for certificate in unneeded:
        start = reply.index(certificate)
        places.update(dict.fromkeys(range(start, start + len(certificate)), "unneeded certificate"))
    return places


def accepted(
    reply: bytes, verify: Verify, masks: tuple[int, ...], places: dict[int, str]
) -> dict[int, VerifiedTimestamp]:
    """Return the positions at which a change was accepted.

    In a certificate that is not needed, one bit of each byte changes, another one from byte to byte: nearly every
    change is accepted there, and costs a search for a path. Everywhere else all masks are tried.
    """
    found = {}
    for position in range(len(reply)):
        hint = places.get(position) == "unneeded certificate"
        for mask in (1 << position % 8,) if hint else masks:
            changed = bytearray(reply)
            changed[position] ^= mask
            try:
                found[position] = verify(bytes(changed))
            except VerificationError:
                continue
    return found


def check(reply: bytes, verify: Verify, unneeded: list[bytes], masks: tuple[int, ...], bag: int | None = None) -> None:
    verify(reply)
    original = verify(reply)  # from now on the verifier knows the shape
    places = unprotected(reply, original.signer_certificate.public_bytes(Encoding.DER), unneeded)
    if bag is not None:
        places[bag] = "bag"
    for position, result in accepted(reply, verify, masks, places).items():
        assert position in places, f"a change of byte {position} was accepted"
        assert result.tst_info == original.tst_info
        assert result.path == original.path
        assert (result.status != original.status) == (places[position] == "PKIStatus")
        if places[position].endswith("-version"):
            assert {note.code for note in result.notes} - {note.code for note in original.notes} == {places[position]}


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_every_bit_of_a_reply_of_ours(kind: str) -> None:
    chain = make_chain(kind)
    reply = forge.reply(
        forge.token(
            chain.signer,
            forge.tst_info(nonce=99, extensions=[forge.extension("1.2.3.4")]),
            certificates=[chain.signer.der, chain.intermediate.der],
        )
    )
    request = encode_request(algorithm=SHA256, digest=SHA256.digest(b"hello"), nonce=99, cert_req=True)
    verifier = Verifier(TrustStore.from_chain(chain.pem))
    # The caller has the signer's certificate too, so that even the signer's own copy in the bag is a hint.
    unneeded = [chain.signer.der, chain.intermediate.der]
    bag = der.tlv(0xA0, b"".join(unneeded))
    check(
        reply,
        lambda data: verifier.verify_response(data, request=request),
        unneeded,
        BITS,
        bag=reply.index(bag),
    )


def test_every_byte_when_the_certificates_come_from_the_token_alone() -> None:
    chain = make_chain()
    reply = forge.reply(forge.token(chain.signer, certificates=[chain.signer.der, chain.intermediate.der]))
    verifier = Verifier(TrustStore(roots=(chain.root.certificate,)))
    check(reply, lambda data: verifier.verify_response(data, artifact=b"hello"), [], BITS)


def check_embedded_root(reply: bytes, root: bytes, digest: bytes) -> None:
    """Check a reply whose root is also in the token, where it is but a hint."""
    verifier = Verifier(TrustStore(roots=(x509.load_der_x509_certificate(root),)))
    check(reply, lambda data: verifier.verify_response(data, digest=digest), [root], (0x01, 0x80))


def test_every_byte_of_an_rsa_authoritys_reply() -> None:
    root, _ = foreign.free_of_charge()
    check_embedded_root(foreign.reply_of_the_free(), root.der, SHA256.digest(b"hello"))


def test_every_byte_of_a_public_authoritys_reply() -> None:
    reply = (vectors("sigstore-java") / "valid" / "freetsa_response.tsr").read_bytes()
    token = read_reply(reply).token
    assert token is not None
    (root,) = (data for data in token.certificates if is_self_signed(x509.load_der_x509_certificate(data)))
    check_embedded_root(reply, root, read_tst_info(token.content).hashed_message)
