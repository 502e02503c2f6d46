"""Reads TimeStampResp and TimeStampToken: the structure only, without verification.

    TimeStampResp ::= SEQUENCE { status PKIStatusInfo, timeStampToken ContentInfo OPTIONAL }  (RFC 3161 2.4.2)

The order of SETs is not checked, because authorities in wide use send them unsorted. Lengths may be BER, because CMS
permits it (RFC 5652 2). What a signature or a comparison needs is kept as its exact bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeVar

from tsa_core.protocol import ber, der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.status import PKIFailureInfo, PKIStatus
from tsa_core.values import Value

MAX_REPLY_OCTETS = 1 << 20
"""Larger than any reply with a whole ML-DSA chain and revocation data, and harmless to a verifier's memory."""

_T = TypeVar("_T")
_ID_SIGNED_DATA = der.oid(oids.ID_SIGNED_DATA)


class SignerInfo(NamedTuple):
    """The one signer of a token; values ending in `_der` are whole encoded values as they were sent."""

    version: int
    sid_der: bytes
    digest_algorithm_der: bytes
    signed_attributes_der: bytes
    """The attributes under the tag SET OF, as the signature covers them, in the order in which they were sent."""
    attributes: dict[bytes, tuple[bytes, ...]]
    """Encoded values by encoded attribute type."""
    signature_algorithm_der: bytes
    signature: bytes
    unsigned_attributes: bytes = b""
    """The content of unsignedAttrs as it was sent. No signature covers it, and this module does not read it."""


class Token(NamedTuple):
    """The parts of a TimeStampToken's SignedData that its verification needs."""

    version: int
    digest_algorithms: tuple[bytes, ...]
    content_type: bytes
    """eContentType, encoded."""
    content: bytes
    """The eContent octets: the DER of TSTInfo, if the token is valid."""
    certificates: tuple[bytes, ...]
    """Every CertificateChoices value, in the order in which it was sent."""
    signers: tuple[bytes, ...]
    """Every SignerInfo, encoded."""
    crls: bytes = b""
    """The content of the crls field as it was sent: RevocationInfoChoice values, if the token is valid."""


class ReplyStatus(Value):
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
        """The status's name in RFC 3161, `rejection` for example."""
        try:
            first, *rest = PKIStatus(self.status).name.lower().split("_")
        except ValueError:
            return f"unknown status {self.status}"
        return first + "".join(word.capitalize() for word in rest)

    @property
    def failure_names(self) -> tuple[str, ...]:
        """The names of the failInfo bits in RFC 3161; `bit 3` for an unknown one."""
        known = {int(failure): failure.text for failure in PKIFailureInfo}
        return tuple(known.get(bit, f"bit {bit}") for bit in self.failures)


class Reply(NamedTuple):
    """The parts of a TimeStampResp."""

    status: ReplyStatus
    token: Token | None


def read_reply(data: bytes) -> Reply:
    """Read one TimeStampResp that fills `data`; raises EncodingError for anything else."""
    return _read(_reply, data, "TimeStampResp")


def read_token(data: bytes) -> Token:
    """Read one bare TimeStampToken, a ContentInfo, that fills `data`; EncodingError for anything else."""
    return _read(_token, data, "TimeStampToken")


def is_token(data: bytes) -> bool:
    """Say whether `data` begins as a ContentInfo, with an OBJECT IDENTIFIER, and not as a TimeStampResp."""
    try:
        return data[_after_header(data)] == der.OBJECT_IDENTIFIER
    except IndexError:
        return False


def read_signer_info(data: bytes) -> SignerInfo:
    """Read one SignerInfo with signed attributes, which a token's must have (RFC 5652 5.3).

    Read without an ASN.1 library, because the signature covers its exact bytes, and comparisons need them too.
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
        unsigned[0][der.read(unsigned[0], 0, len(unsigned[0]))[1] :] if unsigned else b"",
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
        _check_identifier(name)
        if name in attributes:
            # RFC 5652 5.3: one instance of each; with two, two readers could see different values.
            raise EncodingError("a signed attribute appears twice")
        attributes[name] = values_of(encoded[values:set_end])
    return attributes


@lru_cache(maxsize=64)
def _check_identifier(encoded: bytes) -> None:
    """Raise EncodingError for a type that is another one to whoever reads it leniently: it may be there already."""
    der.check_oid(encoded[der.read(encoded, 0, len(encoded))[1] :])


def values_of(content: bytes) -> tuple[bytes, ...]:
    """Return the encoded values in `content`, in their order."""
    values = []
    offset, end = 0, len(content)
    while offset < end:
        _, _, stop = der.read(content, offset, end)
        values.append(content[offset:stop])
        offset = stop
    return tuple(values)


def _read(walk: Callable[[bytes, int, int], _T], data: bytes, name: str) -> _T:
    """Read `data` as it is, or else after conversion to definite lengths."""
    if len(data) > MAX_REPLY_OCTETS:
        raise EncodingError(f"it has {len(data)} bytes; no {name} needs more than {MAX_REPLY_OCTETS}")
    try:
        return walk(data, 0, len(data))
    except EncodingError as error:
        strict = error
    try:
        rewritten = ber.definite(data)
        if rewritten != data:
            return walk(rewritten, 0, len(rewritten))
    except EncodingError as error:
        strict = error
    raise EncodingError(f"it is not a {name}: {strict}")


def _enter(data: bytes, offset: int, end: int, tag: int, what: str) -> tuple[int, int]:
    """Return start and end of the content of the value at `offset`, which must have this tag."""
    found, start, stop = der.read(data, offset, end)
    if found != tag:
        raise EncodingError(f"{what} has the tag {found:#04x} instead of {tag:#04x}")
    return start, stop


def _all(data: bytes, offset: int, end: int, tag: int, what: str) -> int:
    """Return the start of the content of the value at `offset`, which must end at `end` and have this tag."""
    start, stop = _enter(data, offset, end, tag, what)
    if stop != end:
        raise EncodingError(f"{end - stop} bytes follow {what}")
    return start


def _reply(data: bytes, offset: int, end: int) -> Reply:
    offset = _all(data, offset, end, der.SEQUENCE, "the reply")
    _, status_end = _enter(data, offset, end, der.SEQUENCE, "PKIStatusInfo")
    status = _status(data[offset:status_end])
    return Reply(status, _token(data, status_end, end) if status_end != end else None)


@lru_cache(maxsize=64)
def _status(encoded: bytes) -> ReplyStatus:
    """Read PKIStatusInfo; nearly every one has the five bytes of granted."""
    offset, end = _enter(encoded, 0, len(encoded), der.SEQUENCE, "PKIStatusInfo")
    start, offset = _enter(encoded, offset, end, der.INTEGER, "the status")
    if not 1 <= offset - start <= 8:
        raise EncodingError("the status is out of range")
    if offset - start > 1 and encoded[start] in {0x00, 0xFF} and (encoded[start] ^ encoded[start + 1]) < 0x80:
        raise EncodingError("the status is not in its shortest form")
    status = int.from_bytes(encoded[start:offset], "big", signed=True)
    texts: tuple[str, ...] = ()
    if offset < end and encoded[offset] == der.SEQUENCE:
        start, offset = _enter(encoded, offset, end, der.SEQUENCE, "the status text")
        texts = tuple(
            text[der.read(text, 0, len(text))[1] :].decode("utf-8", "replace")
            for text in values_of(encoded[start:offset])
        )
    failures: tuple[int, ...] = ()
    if offset < end:
        start = _all(encoded, offset, end, der.BIT_STRING, "failInfo")
        failures = _named_bits(encoded[start:end])
    return ReplyStatus(status=status, texts=texts, failures=failures)


def _named_bits(content: bytes) -> tuple[int, ...]:
    if not content or content[0] > 7 or (len(content) == 1 and content[0]) or len(content) > 64:
        raise EncodingError("failInfo is not a BIT STRING of a sensible length")
    octets = content[1:]
    bits = tuple(i for i in range(8 * len(octets)) if octets[i // 8] & 0x80 >> i % 8)
    if bits and bits[-1] >= 8 * len(octets) - content[0]:
        raise EncodingError("failInfo has a bit in the part that is not used")
    return bits


def _token(data: bytes, offset: int, end: int) -> Token:
    offset = _all(data, offset, end, der.SEQUENCE, "the token")
    _, stop = _enter(data, offset, end, der.OBJECT_IDENTIFIER, "the token's type")
    if data[offset:stop] != _ID_SIGNED_DATA:
        raise EncodingError("the token is not CMS SignedData")
    offset = _all(data, stop, end, 0xA0, "the token's content")
    offset = _all(data, offset, end, der.SEQUENCE, "SignedData")

    start, stop = _enter(data, offset, end, der.INTEGER, "the version of SignedData")
    if stop - start != 1:
        raise EncodingError("the version of SignedData is out of range")
    version = data[start]
    start, stop = _enter(data, stop, end, der.SET, "digestAlgorithms")
    digest_algorithms = values_of(data[start:stop])
    start, after = _enter(data, stop, end, der.SEQUENCE, "encapContentInfo")
    content_type, content = _content(data, start, after)
    certificates: tuple[bytes, ...] = ()
    if after < end and data[after] == 0xA0:
        start, after = _enter(data, after, end, 0xA0, "the certificates")
        certificates = values_of(data[start:after])
    crls = b""
    if after < end and data[after] == 0xA1:
        start, after = _enter(data, after, end, 0xA1, "the CRLs")
        crls = data[start:after]
    start = _all(data, after, end, der.SET, "signerInfos")
    return Token(version, digest_algorithms, content_type, content, certificates, values_of(data[start:end]), crls)


def _content(data: bytes, offset: int, end: int) -> tuple[bytes, bytes]:
    """Return eContentType, encoded, and the eContent octets."""
    _, stop = _enter(data, offset, end, der.OBJECT_IDENTIFIER, "eContentType")
    if stop == end:
        raise EncodingError("the token holds no content: a detached signature is not a timestamp")
    start = _all(data, stop, end, 0xA0, "eContent")
    start = _all(data, start, end, der.OCTET_STRING, "the content")
    return data[offset:stop], data[start:end]


def _after_header(data: bytes) -> int:
    size = data[1]
    return 2 if size <= 0x80 else 2 + (size & 0x7F)
