"""Faults in the CMS around a token."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from cryptography import x509

from tests.probe.fault import add, fault
from tests.probe.faulty_authority import (
    CHAIN,
    NOW,
    FaultyAuthority,
    make_signer,
    revocation,
)
from tsa_core.protocol import der, oids
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.hashes import SHA1, SHA384
from tsa_core.protocol.request import TimeStampReq
from tsa_core.protocol.signatures import signature_algorithm
from tsa_core.protocol.tstinfo import encode_signing_time
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, key_usage, make_key, timestamping

Parts = dict[str, Any]
NULL: Final = der.null()
_DAY: Final = timedelta(days=1)


# --- Signatures


def _signing(fails: str, name: str, **parts: Any) -> None:
    def put(authority: FaultyAuthority) -> None:
        def change(_request: TimeStampReq, found: Parts) -> None:
            found["attributes"] |= parts.get("attributes", {})
            found.update({key: value for key, value in parts.items() if key != "attributes"})

        authority.token = change

    add(fails, name, put)


def _named_by_key(authority: FaultyAuthority) -> None:
    key = x509.SubjectKeyIdentifier.from_public_key(authority.signer.certificate.public_key())
    authority.signer = make_signer(extensions=(timestamping(), key_usage(sign=True), revocation(), (key, False)))
    found = authority.signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest

    def change(_request: TimeStampReq, parts: Parts) -> None:
        parts.update(sid=der.tlv(0x80, found), signer_version=3)

    authority.token = change


_signing("verifies path", "broken_signature", signature=b"\x30\x06\x02\x01\x01\x02\x01\x01")
_signing("one-signer verifies path", "two_signers", signers=2)
_signing("signed-data-version", "signed_data_version_1", version=1)
add("signer-identifier", "named_by_key", _named_by_key)
_signing("signer-identifier", "signer_version_3", signer_version=3)
_signing(
    "signed-attributes verifies path", "no_signing_certificate", attributes={oids.ID_AA_SIGNING_CERTIFICATE_V2: None}
)
_signing(
    "signed-attributes verifies path", "wrong_content_type", attributes={oids.ID_CONTENT_TYPE: [der.oid(oids.ID_DATA)]}
)
_signing("attributes-order", "attributes_out_of_order", reverse_attributes=True)
_signing("digest-algorithms verifies path", "no_digest_algorithms", digest_algorithms=[])
_signing("signing-time", "old_signing_time", attributes={oids.ID_SIGNING_TIME: [encode_signing_time(NOW - _DAY)]})
_signing(
    "one-digest",
    "digest_of_its_own",
    digest=SHA384,
)
_signing(
    "digest-strength digest-of-key one-digest path verifies",
    "sha1_in_the_signature",
    digest=SHA1,
)


@fault("reply-der")
def long_length_in_the_reply(authority: FaultyAuthority) -> None:
    authority.reply = lambda body: b"\x30\x83\x00" + body[2:]  # the length is in two octets: 30 82 xx xx


@fault("certificates-order")
def certificates_out_of_order(authority: FaultyAuthority) -> None:
    authority.certificates = sorted([authority.signer.der, CHAIN.intermediate.der], reverse=True)


@fault("digest-parameters")
def null_parameters(authority: FaultyAuthority) -> None:
    plain, null = der.sequence(der.oid(oids.SHA256)), der.sequence(der.oid(oids.SHA256), NULL)

    class WithNull:
        identifier = null
        digest = staticmethod(signature_algorithm(authority.signer.certificate.public_key()).digest.digest)

    def change(_request: TimeStampReq, parts: Parts) -> None:
        parts["digest"] = WithNull
        assert plain != null

    authority.token = change


def _ids(fails: str, name: str, make: Callable[[Issued], bytes]) -> None:
    def put(authority: FaultyAuthority) -> None:
        def change(_request: TimeStampReq, parts: Parts) -> None:
            value = forge.signing_certificate(make(authority.signer))
            parts["attributes"] |= {oids.ID_AA_SIGNING_CERTIFICATE_V2: [value]}

        authority.token = change

    add(fails, name, put)


_ids("certificate-id verifies path", "id_of_another", lambda _: forge.ess_cert_id_v2(CHAIN.intermediate.der))
_ids(
    "certificate-id verifies path",
    "id_with_anothers_number",
    lambda signer: forge.ess_cert_id_v2(
        signer.der,
        issuer_serial=der.sequence(
            der.sequence(der.explicit(4, certificate_fields(signer.der).issuer)), der.integer(99)
        ),
    ),
)
_ids(
    "certificate-id-version path verifies",
    "id_by_sha1",
    lambda signer: forge.ess_cert_id_v2(signer.der, algorithm=SHA1.identifier, digest=SHA1.digest(signer.der)),
)
_ids("certificate-id-form", "id_without_a_number", lambda signer: forge.ess_cert_id_v2(signer.der, issuer_serial=b""))
_ids(
    "certificate-id-form",
    "id_with_the_default_hash",
    lambda signer: forge.ess_cert_id_v2(signer.der, algorithm=der.sequence(der.oid(oids.SHA256))),
)


@fault("certificate-id-version")
def first_version_of_the_id(authority: FaultyAuthority) -> None:
    def change(_request: TimeStampReq, parts: Parts) -> None:
        parts["attributes"] |= {
            oids.ID_AA_SIGNING_CERTIFICATE_V2: None,
            oids.ID_AA_SIGNING_CERTIFICATE: [forge.signing_certificate(forge.ess_cert_id(authority.signer.der))],
        }

    authority.token = change


@fault("digest-of-key")
def sha_256_with_p_384(authority: FaultyAuthority) -> None:
    authority.signer = make_signer("p384")
    sha_256 = signature_algorithm(make_key("p256").public_key())
    authority.token = lambda _request, parts: parts.update(algorithm=sha_256)


@fault("verifies")
def broken_signature_without_certificates(authority: FaultyAuthority) -> None:
    def change(request: TimeStampReq, parts: Parts) -> None:
        if not request.cert_req:
            parts["signature"] = b"\x30\x06\x02\x01\x01\x02\x01\x01"

    authority.token = change


@fault("certificates-unasked")
def empty_field_for_no_certificates(authority: FaultyAuthority) -> None:
    def change(request: TimeStampReq, parts: Parts) -> None:
        if not request.cert_req:
            parts["certificates"] = [b""]

    authority.token = change


@fault("certificates-asked verifies")
def certificates_for_sha_256_alone(authority: FaultyAuthority) -> None:
    def change(request: TimeStampReq, parts: Parts) -> None:
        if len(request.digest) != 32:
            parts["certificates"] = []

    authority.token = change


@fault("certificates-unasked")
def certificates_always(authority: FaultyAuthority) -> None:
    authority.token = lambda _request, parts: parts.update(certificates=authority.chain())


@fault("certificates-asked verifies")
def certificates_never(authority: FaultyAuthority) -> None:
    authority.token = lambda _request, parts: parts.update(certificates=[])
