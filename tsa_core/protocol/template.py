"""The token of one profile, with everything constant encoded once.

Tokens differ only in imprint, serial number, genTime, nonce, message digest, signature and the lengths around them. So
a token is made by joining a few byte strings. docs/reference/token.md states what the bytes must be. The tests compare
them with those of a plain encoder, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from tsa_core.protocol import der, oids
from tsa_core.protocol.certificate import CertificateFields, certificate_fields
from tsa_core.protocol.response import GRANTED_STATUS_INFO
from tsa_core.protocol.signatures import SignatureAlgorithm
from tsa_core.protocol.tstinfo import Accuracy

_MAX_FRAMINGS = 1024
_TST_INFO_VERSION = der.integer(1)
_SHORT_HEADERS = tuple(bytes((der.SEQUENCE,)) + der.length(size) for size in range(1024))


class _Framing(NamedTuple):
    """The constant bytes of a reply whose variable parts have certain lengths."""

    before_tst_info: bytes
    before_signed_attributes: bytes
    before_signature: bytes


class TokenTemplate:
    """Encodes the tokens of one signer certificate, algorithm and set of options.

    Immutable after construction but for a bounded cache of framings, and safe to use from many threads.

    `certificates` are the DER certificates that a token carries when certReq is true, the signer's among them.
    `extensions` are encoded Extension values of every token.
    """

    def __init__(
        self,
        *,
        signer_certificate: bytes,
        certificates: Sequence[bytes],
        algorithm: SignatureAlgorithm,
        accuracy: Accuracy | None = None,
        ordering: bool = False,
        tsa_name: bool = True,
        algorithm_protection: bool = False,
        extensions: Sequence[bytes] = (),
    ) -> None:
        names = certificate_fields(signer_certificate)
        self.algorithm = algorithm
        self._digest = algorithm.digest.new
        self._ordering = der.boolean(True) if ordering else b""
        self._after_gen_time = (accuracy.encoded if accuracy else b"") + self._ordering
        # A certificate without a subject has no name that the field could correspond to (RFC 3161 2.4.2).
        named = tsa_name and names.subject != der.sequence()
        self._tsa = der.explicit(0, der.explicit(4, names.subject)) if named else b""
        self.extensions = b"".join(extensions)
        self._after_nonce = self._tsa + (der.tlv(0xA1, self.extensions) if self.extensions else b"")

        signing_certificate = self._signing_certificate_v2(signer_certificate, names)
        constant = [
            _attribute(oids.ID_CONTENT_TYPE, der.oid(oids.ID_CT_TST_INFO)),
            _attribute(oids.ID_AA_SIGNING_CERTIFICATE_V2, signing_certificate),
        ]
        if algorithm_protection:
            constant.append(_attribute(oids.ID_AA_CMS_ALGORITHM_PROTECT, self._algorithm_protection()))
        # The order of the SET depends on lengths and identifiers only, so it is computed with placeholders for the
        # values. UTCTime and GeneralizedTime differ in length, hence two layouts.
        digest_size = algorithm.digest.digest_size
        self._layouts = {size: _attribute_layout(constant, size, digest_size) for size in (15, 17)}

        self._certificates = der.tlv(0xA0, b"".join(sorted(certificates))) if certificates else b""
        self._signer_head = (
            der.integer(1) + der.sequence(names.issuer, names.serial_number) + algorithm.digest.identifier
        )
        self._signed_data_head = der.integer(3) + der.set_of(algorithm.digest.identifier)
        self._framings: dict[tuple[int, int, int, bool], _Framing] = {}

    @staticmethod
    def _signing_certificate_v2(certificate: bytes, names: CertificateFields) -> bytes:
        # SHA-256 is the default of hashAlgorithm and so not written (RFC 5035 4).
        issuer_serial = der.sequence(der.sequence(der.explicit(4, names.issuer)), names.serial_number)
        ess_cert_id = der.sequence(der.octet_string(hashlib.sha256(certificate).digest()), issuer_serial)
        return der.sequence(der.sequence(ess_cert_id))

    def _algorithm_protection(self) -> bytes:
        # RFC 6211: the signatureAlgorithm is [1] IMPLICIT.
        return der.sequence(self.algorithm.digest.identifier, b"\xa1" + self.algorithm.identifier[1:])

    def tst_info(
        self,
        *,
        policy_der: bytes,
        imprint_der: bytes,
        serial_der: bytes,
        gen_time_der: bytes,
        nonce_der: bytes = b"",
        extensions: bytes = b"",
        accuracy: Accuracy | None = None,
    ) -> bytes:
        """Return the DER of TSTInfo; `extensions` are encoded Extension values beyond the template's own.

        `accuracy` replaces the template's, for a token whose time is less certain.
        """
        after_gen_time = self._after_gen_time if accuracy is None else accuracy.encoded + self._ordering
        after_nonce = self._after_nonce
        if extensions:
            after_nonce = self._tsa + der.tlv(0xA1, self.extensions + extensions)
        content = b"".join(
            (
                _TST_INFO_VERSION,
                policy_der,
                imprint_der,
                serial_der,
                gen_time_der,
                after_gen_time,
                nonce_der,
                after_nonce,
            )
        )
        size = len(content)
        return (_SHORT_HEADERS[size] if size < 1024 else b"\x30" + der.length(size)) + content

    def signed_attributes(self, tst_info: bytes, signing_time_der: bytes) -> bytes:
        """Return the signed attributes as the SET OF over which the signature is made (RFC 5652 5.4)."""
        start, middle, end = self._layouts[len(signing_time_der)]
        return b"".join((start, signing_time_der, middle, self._digest(tst_info).digest(), end))

    def response(self, *, tst_info: bytes, signed_attributes: bytes, signature: bytes, certificates: bool) -> bytes:
        """Return the DER of the whole granted TimeStampResp."""
        key = (len(tst_info), len(signed_attributes), len(signature), certificates)
        framing = self._framings.get(key)
        if framing is None:
            framing = self._make_framing(*key)
            if len(self._framings) >= _MAX_FRAMINGS:
                self._framings.clear()
            self._framings[key] = framing
        before_tst_info, before_signed_attributes, before_signature = framing
        return b"".join(
            (
                before_tst_info,
                tst_info,
                before_signed_attributes,
                signed_attributes[1:],  # [0] IMPLICIT in place of SET
                before_signature,
                signature,
            )
        )

    def _make_framing(
        self,
        tst_info_size: int,
        attributes_size: int,
        signature_size: int,
        certificates: bool,
    ) -> _Framing:
        """Return the bytes around the variable parts, by encoding the structure from the inside out."""
        before_signature = self.algorithm.identifier + _header(der.OCTET_STRING, signature_size)
        signer_size = len(self._signer_head) + attributes_size + len(before_signature) + signature_size
        signer = _header(der.SEQUENCE, signer_size) + self._signer_head + b"\xa0"
        # From here on, `signer` lacks the attributes without their tag, and all that follows them.
        missing = attributes_size - 1 + len(before_signature) + signature_size
        after_content = (self._certificates if certificates else b"") + _header(der.SET, len(signer) + missing) + signer
        octets = _header(der.OCTET_STRING, tst_info_size)
        explicit = _header(0xA0, len(octets) + tst_info_size)
        content_type = der.oid(oids.ID_CT_TST_INFO)
        content = (
            _header(der.SEQUENCE, len(content_type) + len(explicit) + len(octets) + tst_info_size)
            + content_type
            + explicit
            + octets
        )
        before = self._signed_data_head + content
        after = tst_info_size + len(after_content) + missing
        before = _header(der.SEQUENCE, len(before) + after) + before
        before = der.oid(oids.ID_SIGNED_DATA) + _header(0xA0, len(before) + after) + before
        before = GRANTED_STATUS_INFO + _header(der.SEQUENCE, len(before) + after) + before
        before = _header(der.SEQUENCE, len(before) + after) + before
        return _Framing(before, after_content, before_signature)


def _header(tag: int, size: int) -> bytes:
    return bytes((tag,)) + der.length(size)


def _attribute(oid: str, value: bytes) -> bytes:
    return der.sequence(der.oid(oid), der.tlv(der.SET, value))


def _attribute_layout(constant: Sequence[bytes], time_size: int, digest_size: int) -> tuple[bytes, bytes, bytes]:
    """Return the bytes before, between and after the signing time and the message digest.

    `time_size` counts the encoded Time with its header, `digest_size` the digest alone.
    """
    signing_time = _attribute(oids.ID_SIGNING_TIME, bytes(time_size))
    message_digest = _attribute(oids.ID_MESSAGE_DIGEST, der.octet_string(bytes(digest_size)))
    ordered = sorted((*constant, signing_time, message_digest))
    encoded = der.tlv(der.SET, b"".join(ordered))
    start = len(encoded) - sum(map(len, ordered))

    def end_of(attribute: bytes) -> int:
        return start + sum(map(len, ordered[: ordered.index(attribute) + 1]))

    time_end, digest_end = end_of(signing_time), end_of(message_digest)
    # Each value is at the end of its attribute; the shorter attribute, the time, sorts first.
    return (
        encoded[: time_end - time_size],
        encoded[time_end : digest_end - digest_size],
        encoded[digest_end:],
    )
