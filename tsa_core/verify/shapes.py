"""Tokens of one authority, read by their shape: what is the same in all of them is read once.

Two tokens of one authority and one length differ in seven fields: imprint, serial number, genTime, nonce, message
digest, signing-time and signature. Every tag and length, every identifier, version and certificate lies between
them. A token that has the very bytes of a known one outside of these fields is therefore structured as that one is,
and what was concluded from these bytes holds for it too. Only the fields are read anew, by the rules of the reader.

A shape refuses nothing: for whatever it does not fit, the reader decides, and tells what is wrong.
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from tsa_core.paths.der_fields import Fields
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.reply import SignerInfo, Token
from tsa_core.protocol.tstinfo_reader import TSTInfo, read_gen_time, read_integer
from tsa_core.verify.errors import SignedDataError
from tsa_core.verify.signed_data import SignedToken
from tsa_core.verify.signing_time import check_signing_time
from tsa_core.verify.statement import Reading, Statement

MAX_SHAPES: Final = 64
"""Shapes that are remembered; an authority has about ten, by the lengths of ECDSA signatures, nonces and serials."""
MAX_ALIKE: Final = 4
"""Shapes of one length, all of which may have to be tried: those of several authorities, or of odd tokens of one."""
MAX_OCTETS: Final = 1 << 14
"""The largest reply whose shape is remembered."""

_MESSAGE_DIGEST: Final = der.oid(oids.ID_MESSAGE_DIGEST)
_SIGNING_TIME: Final = der.oid(oids.ID_SIGNING_TIME)


class _Places(NamedTuple):
    """Where things lie in a reply or token; an optional field is None when absent."""

    imprint: slice
    serial_number: slice
    gen_time: slice
    nonce: slice | None
    message_digest: slice
    signing_time: slice | None
    signature: slice
    content: slice
    """The eContent octets, which hold the first four."""
    digest_value: slice
    """The message digest with its header, as the values below."""
    time_value: slice | None
    attributes: slice
    """The content of signedAttrs."""
    signer: slice
    """The SignerInfo."""

    @property
    def fields(self) -> list[slice]:
        """The seven fields in their order."""
        return sorted((place for place in self[:7] if place is not None), key=lambda place: place.start)


class Shape:
    """The shape of one reply or token: constant pieces, and the places of the fields between them."""

    __slots__ = ("_attributes_header", "_constant", "_places", "_reading")

    def __init__(self, data: bytes, reading: Reading) -> None:
        """Take the shape of `data`, which was read as `reading`; raises EncodingError where that is not possible."""
        self._reading = reading
        self._places = _find_places(data, is_reply=reading.status is not None)
        ends = [0, *(offset for place in self._places.fields for offset in (place.start, place.stop)), len(data)]
        content = self._places.attributes
        encoded = reading.statement.signed.info.signed_attributes_der
        self._attributes_header = encoded[: len(encoded) - (content.stop - content.start)]
        self._constant = tuple((start, data[start:stop]) for start, stop in zip(ends[::2], ends[1::2], strict=True))
        if self.read(data) != reading:
            raise EncodingError("the shape does not read its own token as the reader does")

    def read(self, data: bytes) -> Reading | None:
        """Return what the reader makes of `data`, which is as long as the shape's own; None when it must be asked."""
        for start, piece in self._constant:
            if not data.startswith(piece, start):
                return None
        places = self._places
        status, token, (signed, _, hash_algorithm) = self._reading
        content = data[places.content]
        if data[places.message_digest] != signed.digest.digest(content):
            return None
        try:
            info = self._tst_info(data)
            if places.time_value is not None:
                check_signing_time(data[places.time_value])
        except (EncodingError, SignedDataError):
            return None
        # Each tuple is built whole: _replace takes five times as long.
        return Reading(
            status,
            Token(
                token.version,
                token.digest_algorithms,
                token.content_type,
                content,
                token.certificates,
                (data[places.signer],),
                token.crls,
            ),
            Statement(
                SignedToken(self._signer_info(data), signed.digest, signed.scheme, signed.ess_values, signed.notes),
                info,
                hash_algorithm,
            ),
        )

    def _signer_info(self, data: bytes) -> SignerInfo:
        places, known = self._places, self._reading.statement.signed.info
        attributes = known.attributes.copy()
        attributes[_MESSAGE_DIGEST] = (data[places.digest_value],)
        if places.time_value is not None:
            attributes[_SIGNING_TIME] = (data[places.time_value],)
        return SignerInfo(
            known.version,
            known.sid_der,
            known.digest_algorithm_der,
            self._attributes_header + data[places.attributes],
            attributes,
            known.signature_algorithm_der,
            data[places.signature],
            known.unsigned_attributes,
        )

    def _tst_info(self, data: bytes) -> TSTInfo:
        places, known = self._places, self._reading.statement.info
        return TSTInfo(
            known.version,
            known.policy,
            known.hash_oid,
            data[places.imprint],
            read_integer(data, places.serial_number.start, places.serial_number.stop),
            read_gen_time(data[places.gen_time]),
            known.accuracy,
            known.ordering,
            read_integer(data, places.nonce.start, places.nonce.stop) if places.nonce is not None else None,
            known.tsa_der,
            known.extensions,
        )


class Shapes:
    """The shapes that one Verifier has met; safe to use from many threads."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, bool], tuple[Shape, ...]] = {}
        self._lock = threading.Lock()

    def read(self, data: bytes, *, is_reply: bool) -> Reading | None:
        """Return what the reader makes of a reply or token; None when no shape is known that fits it."""
        for shape in self._shapes.get((len(data), is_reply), ()):
            reading = shape.read(data)
            if reading is not None:
                return reading
        return None

    def learn(self, data: bytes, reading: Reading) -> None:
        """Remember the shape of a token that was verified; those that are met first are forgotten first."""
        if len(data) > MAX_OCTETS:
            return
        try:
            shape = Shape(data, reading)
        except EncodingError:  # BER, for example, which the reader converts before it reads
            return
        key = (len(data), reading.status is not None)
        with self._lock:
            # The latest is tried first, and becomes the last to go.
            self._shapes[key] = (shape, *self._shapes.pop(key, ())[: MAX_ALIKE - 1])
            while sum(map(len, self._shapes.values())) > MAX_SHAPES:
                del self._shapes[next(iter(self._shapes))]

    def forget(self) -> None:
        """Drop all shapes."""
        with self._lock:
            self._shapes.clear()


def _find_places(data: bytes, *, is_reply: bool) -> _Places:
    """Find the fields; raises EncodingError unless `data` is DER of a reply or token with one signer."""
    outer = Fields.of_sequence(data, "the reply or token")
    if is_reply:
        outer.any_whole()  # status
        outer = outer.enter(der.SEQUENCE, "the token")
    outer.any_whole()  # contentType
    signed_data = outer.enter(0xA0, "the token's content").enter(der.SEQUENCE, "SignedData")
    signed_data.any_whole()  # version
    signed_data.any_whole()  # digestAlgorithms
    encapsulated = signed_data.enter(der.SEQUENCE, "encapContentInfo")
    encapsulated.any_whole()  # eContentType
    content = encapsulated.enter(0xA0, "eContent").enter(der.OCTET_STRING, "the content")
    while signed_data.tag in {0xA0, 0xA1}:  # certificates and crls
        signed_data.any_whole()
    signers = signed_data.enter(der.SET, "signerInfos")
    signer = slice(signers.position, signers.end)
    info = signers.enter(der.SEQUENCE, "the SignerInfo")
    for _ in range(3):  # version, sid, digestAlgorithm
        info.any_whole()
    attributes = info.enter(0xA0, "signedAttrs")
    info.any_whole()  # signatureAlgorithm
    signature = info.enter(der.OCTET_STRING, "the signature")
    whole = slice(attributes.position, attributes.end)
    values = _attribute_values(attributes)
    digest_value, time_value = values.get(_MESSAGE_DIGEST), values.get(_SIGNING_TIME)
    if digest_value is None:
        raise EncodingError("the message-digest attribute is missing")
    return _Places(
        *_tst_info_places(content),
        message_digest=_content(data, digest_value),
        signing_time=_content(data, time_value) if time_value is not None else None,
        signature=slice(signature.position, signature.end),
        content=slice(content.position, content.end),
        digest_value=digest_value,
        time_value=time_value,
        attributes=whole,
        signer=signer,
    )


def _tst_info_places(content: Fields) -> tuple[slice, slice, slice, slice | None]:
    """Return the places of imprint, serial number, genTime and nonce."""
    info = Fields(content.data, content.position, content.end).enter(der.SEQUENCE, "TSTInfo")
    info.any_whole()  # version
    info.any_whole()  # policy
    imprint = info.enter(der.SEQUENCE, "the messageImprint")
    imprint.any_whole()  # hashAlgorithm
    fields = (
        imprint.enter(der.OCTET_STRING, "the digest"),
        info.enter(der.INTEGER, "the serialNumber"),
        info.enter(der.GENERALIZED_TIME, "genTime"),
    )
    first, second, third = (slice(field.position, field.end) for field in fields)
    while info.tag not in {-1, der.INTEGER}:  # accuracy and ordering come before the nonce
        info.any_whole()
    if info.tag == -1:
        return first, second, third, None
    nonce = info.enter(der.INTEGER, "the nonce")
    return first, second, third, slice(nonce.position, nonce.end)


def _attribute_values(attributes: Fields) -> dict[bytes, slice]:
    """Return the places of the values by the types of the attributes, for those with one value."""
    places = {}
    while attributes.tag != -1:
        attribute = attributes.enter(der.SEQUENCE, "an attribute")
        name = attribute.whole(der.OBJECT_IDENTIFIER, "the type of an attribute")
        values = attribute.enter(der.SET, "the values of an attribute")
        places[name] = slice(values.position, values.end)
    return places


def _content(data: bytes, value: slice) -> slice:
    """Return the place of a value's content, by the place of the value."""
    return slice(*der.read(data, value.start, value.stop)[1:])
