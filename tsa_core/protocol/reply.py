"""Reading TimeStampResp and TimeStampToken: structure only, nothing is believed yet.

    TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken ContentInfo OPTIONAL }  (RFC 3161 2.4.2)

The order of SETs is not checked, because authorities that people rely on send them unsorted, and lengths
may be BER, because CMS permits it (RFC 5652 2). What a signature or a comparison needs is kept as its exact
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeVar

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from tsa_core.protocol import ber, der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.status import PKIFailureInfo, PKIStatus

MAX_REPLY_OCTETS = 1 << 20
"""Larger than any reply with a whole ML-DSA chain and revocation data; smaller than what hurts."""


@asn1.sequence
class _PKIStatusInfo:
    status: int
    status_string: list[asn1.TLV] | None
    fail_info: asn1.BitString | None


@asn1.sequence
class _EncapsulatedContentInfo:
    content_type: ObjectIdentifier
    content: Annotated[bytes | None, asn1.Explicit(0)]


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.TLV
    content: _EncapsulatedContentInfo
    # [0] and [1] IMPLICIT hide whether a SET or a SEQUENCE is meant: a list does not mind the order.
    certificates: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    crls: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    signer_infos: asn1.TLV


@asn1.sequence
class _ContentInfo:
    content_type: ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


@asn1.sequence
class _TimeStampResp:
    status: _PKIStatusInfo
    token: _ContentInfo | None


_T = TypeVar("_T")
_ID_SIGNED_DATA = ObjectIdentifier(oids.ID_SIGNED_DATA)


class SignerInfo(NamedTuple):
    """The one signer of a token; values ending in `_der` are whole encoded values as they were sent."""

    version: int
    sid_der: bytes
    digest_algorithm_der: bytes
    signed_attributes_der: bytes
    """The attributes under the tag SET OF, as the signature covers them, in the order in which they came."""
    attributes: dict[bytes, tuple[bytes, ...]]
    """Encoded values by encoded attribute type."""
    signature_algorithm_der: bytes
    signature: bytes


class Token(NamedTuple):
    """The parts of a TimeStampToken's SignedData that its verification needs."""

    version: int
    digest_algorithms: tuple[bytes, ...]
    content_type: str
    content: bytes
    """The eContent octets: the DER of TSTInfo, if the token is in order."""
    certificates: tuple[bytes, ...]
    """Every CertificateChoices value, in the order in which it was sent."""
    signers: tuple[bytes, ...]
    """Every SignerInfo, encoded."""


@dataclass(frozen=True, kw_only=True)
class ReplyStatus:
    """PKIStatusInfo: `status` is any INTEGER, `failures` the set bits of failInfo, known or not."""

    status: int
    texts: tuple[str, ...] = ()
    failures: tuple[int, ...] = ()

    @property
    def granted(self) -> bool:
        """Whether a token must be present."""
        return self.status in {PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS}

    @property
    def name(self) -> str:
        """The status in RFC 3161's words, `rejection` for example."""
        try:
            first, *rest = PKIStatus(self.status).name.lower().split("_")
        except ValueError:
            return f"unknown status {self.status}"
        return first + "".join(word.capitalize() for word in rest)

    @property
    def failure_names(self) -> tuple[str, ...]:
        """The failInfo bits in RFC 3161's words; an unknown one as `bit 3`."""
        known = {int(failure): failure.text for failure in PKIFailureInfo}
        return tuple(known.get(bit, f"bit {bit}") for bit in self.failures)


class Reply(NamedTuple):
    """A TimeStampResp taken apart."""

    status: ReplyStatus
    token: Token | None


def read_reply(data: bytes) -> Reply:
    """Read one TimeStampResp that fills `data`; raises EncodingError for anything else."""
    response = _decode(_TimeStampResp, data, "TimeStampResp")
    info = response.status
    failures: tuple[int, ...] = ()
    if info.fail_info is not None:
        octets = info.fail_info.as_bytes()[:64]
        failures = tuple(i for i in range(8 * len(octets)) if octets[i // 8] & 0x80 >> i % 8)
    status = ReplyStatus(
        status=info.status,
        texts=tuple(bytes(text.data).decode("utf-8", "replace") for text in info.status_string or ()),
        failures=failures,
    )
    return Reply(status, _token(response.token) if response.token is not None else None)


def read_token(data: bytes) -> Token:
    """Read one bare TimeStampToken, a ContentInfo, that fills `data`; EncodingError for anything else."""
    return _token(_decode(_ContentInfo, data, "TimeStampToken"))


def is_token(data: bytes) -> bool:
    """Say whether `data` begins as a ContentInfo does, with an identifier, and not as a TimeStampResp."""
    try:
        return data[_after_header(data)] == der.OBJECT_IDENTIFIER
    except IndexError:
        return False


def read_signer_info(data: bytes) -> SignerInfo:
    """Read one SignerInfo with signed attributes, as a token's must be (RFC 5652 5.3).

    Walked by hand because what the signature covers and what is compared are its exact bytes.
    """
    tag, start, end = der.read(data, 0, len(data))
    if tag != der.SEQUENCE or end != len(data):
        raise EncodingError("the SignerInfo is not a SEQUENCE")
    parts = values_of(data[start:end])
    if len(parts) not in {6, 7} or parts[3][0] != 0xA0:
        raise EncodingError("the SignerInfo has no signed attributes, or not the parts that it must have")
    version, sid, digest_algorithm, attributes, signature_algorithm, signature, *unsigned = parts
    tags = (version[0], digest_algorithm[0], signature_algorithm[0], signature[0])
    if tags != (der.INTEGER, der.SEQUENCE, der.SEQUENCE, der.OCTET_STRING):
        raise EncodingError("the parts of the SignerInfo are not what they must be")
    if unsigned and unsigned[0][0] != 0xA1:
        raise EncodingError("something else than unsigned attributes follows the signature")
    if len(version) != 3:
        raise EncodingError("the version of the SignerInfo is out of range")
    return SignerInfo(
        version[2],
        sid,
        digest_algorithm,
        b"\x31" + attributes[1:],
        _attributes(attributes),
        signature_algorithm,
        signature[der.read(signature, 0, len(signature))[1] :],
    )


def _attributes(encoded: bytes) -> dict[bytes, tuple[bytes, ...]]:
    attributes: dict[bytes, tuple[bytes, ...]] = {}
    _, offset, end = der.read(encoded, 0, len(encoded))
    while offset < end:
        tag, start, offset = der.read(encoded, offset, end)
        type_tag, _, type_end = der.read(encoded, start, offset)
        set_tag, values, set_end = der.read(encoded, type_end, offset)
        if (tag, type_tag, set_tag, set_end) != (der.SEQUENCE, der.OBJECT_IDENTIFIER, der.SET, offset):
            raise EncodingError("a signed attribute is not a type with a SET of values")
        name = encoded[start:type_end]
        if name in attributes:
            # RFC 5652 5.3: one instance of each; two would let two readers see two different things.
            raise EncodingError("a signed attribute appears twice")
        attributes[name] = values_of(encoded[values:set_end])
    return attributes


def values_of(content: bytes) -> tuple[bytes, ...]:
    """Return the encoded values that stand one after the other in `content`."""
    values = []
    offset, end = 0, len(content)
    while offset < end:
        _, _, stop = der.read(content, offset, end)
        values.append(content[offset:stop])
        offset = stop
    return tuple(values)


def whole(value: asn1.TLV) -> bytes:
    """Return the exact bytes of a decoded value, header included; lengths were checked to be minimal."""
    data = value.data
    return value.tag_bytes + der.length(len(data)) + data


def _token(content_info: _ContentInfo) -> Token:
    if content_info.content_type != _ID_SIGNED_DATA:
        raise EncodingError(f"the token is a CMS {content_info.content_type.dotted_string}, not SignedData")
    signed_data = content_info.content
    if signed_data.digest_algorithms.tag_bytes != b"\x31" or signed_data.signer_infos.tag_bytes != b"\x31":
        raise EncodingError("the SignedData lacks digestAlgorithms or signerInfos")
    if signed_data.content.content is None:
        raise EncodingError("the token holds no content: a detached signature is not a timestamp")
    return Token(
        signed_data.version,
        values_of(bytes(signed_data.digest_algorithms.data)),
        signed_data.content.content_type.dotted_string,
        signed_data.content.content,
        tuple(map(whole, signed_data.certificates or ())),
        values_of(bytes(signed_data.signer_infos.data)),
    )


def _decode(kind: type[_T], data: bytes, name: str) -> _T:
    if len(data) > MAX_REPLY_OCTETS:
        raise EncodingError(f"it has {len(data)} bytes; no {name} needs more than {MAX_REPLY_OCTETS}")
    try:
        return asn1.decode_der(kind, data)
    except ValueError as error:
        strict = error
    try:
        rewritten = ber.definite(data)
        if rewritten != data:
            return asn1.decode_der(kind, rewritten)
    except (ValueError, EncodingError) as error:
        raise EncodingError(f"it is not a {name}: {_reason(error)}") from None
    raise EncodingError(f"it is not a {name}: {_reason(strict)}")


def _after_header(data: bytes) -> int:
    size = data[1]
    return 2 if size <= 0x80 else 2 + (size & 0x7F)


def _reason(error: Exception) -> str:
    """Say what the decoder found, without its Rust punctuation."""
    text = str(error)
    found = text.partition("kind: ")[2].partition("location")[0].strip(" ,}{")
    return found or text
