"""Countersignatures in PKCS #7 as Authenticode has them: a signature over the value of another signature.

ContentInfo { signedData, SignedData {
   version            1,
   digestAlgorithms   the digest of the signature,
   contentInfo        data, the octets of the other signature's value,
   certificates       [0] the signer's and its issuers',
   signerInfos        one, with contentType, signingTime and messageDigest as signed attributes } }

A client copies the SignerInfo into the attribute countersignature of the signature (RFC 2985 5.3.6, RFC 5652 11.4), and
the certificates beside those of the signature. RFC 5652 wants no contentType in it; Authenticode has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tsa_core.protocol import der, oids
from tsa_core.protocol.certificate import certificate_fields
from tsa_core.protocol.signatures import SignatureAlgorithm

_VERSION_1 = der.integer(1)
_DATA = der.oid(oids.ID_DATA)
_SIGNED_DATA = der.oid(oids.ID_SIGNED_DATA)
_CONTENT_TYPE = der.sequence(der.oid(oids.ID_CONTENT_TYPE), der.set_of(_DATA))
_SIGNING_TIME = der.oid(oids.ID_SIGNING_TIME)
_MESSAGE_DIGEST = der.oid(oids.ID_MESSAGE_DIGEST)


class EncodedCountersignature(NamedTuple):
    """The DER of the SignerInfo, and of the ContentInfo that holds it with content and certificates."""

    signer_info: bytes
    content_info: bytes


class CountersignatureTemplate:
    """Encodes the countersignatures of one certificate and algorithm. Immutable, safe to use from many threads.

    `certificates` are the DER certificates that clients get, the signer's among them.
    """

    def __init__(
        self, *, signer_certificate: bytes, certificates: Sequence[bytes], algorithm: SignatureAlgorithm
    ) -> None:
        names = certificate_fields(signer_certificate)
        digest = algorithm.digest
        self.digest = digest
        """The hash of the content in the signed attributes."""
        self._before_content = _VERSION_1 + der.set_of(digest.identifier)
        self._certificates = der.tlv(0xA0, b"".join(sorted(certificates)))
        self._signer_head = _VERSION_1 + der.sequence(names.issuer, names.serial_number) + digest.identifier
        self._algorithm = algorithm.identifier

    def signed_attributes(self, content_digest: bytes, signing_time_der: bytes) -> bytes:
        """Return the signed attributes as the SET OF over which the signature is made (RFC 5652 5.4)."""
        return der.set_of(
            _CONTENT_TYPE,
            der.sequence(_SIGNING_TIME, der.set_of(signing_time_der)),
            der.sequence(_MESSAGE_DIGEST, der.set_of(der.octet_string(content_digest))),
        )

    def encode(self, content: bytes, signed_attributes: bytes, signature: bytes) -> EncodedCountersignature:
        """Return the countersignature of `content`."""
        signer_info = der.sequence(
            self._signer_head,
            b"\xa0" + signed_attributes[1:],  # [0] IMPLICIT in place of SET
            self._algorithm,
            der.octet_string(signature),
        )
        signed_data = der.sequence(
            self._before_content,
            der.sequence(_DATA, der.explicit(0, der.octet_string(content))),
            self._certificates,
            der.set_of(signer_info),
        )
        return EncodedCountersignature(signer_info, der.sequence(_SIGNED_DATA, der.explicit(0, signed_data)))
