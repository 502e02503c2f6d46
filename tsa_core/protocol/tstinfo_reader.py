"""Reads TSTInfo, the statement of a token (RFC 3161 2.4.2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES, HashAlgorithm
from tsa_core.protocol.qc_statements import QcStatements, read_qc_statements
from tsa_core.protocol.tstinfo import Accuracy

_HASHES_BY_OID = {h.oid: h for h in IMPRINT_HASHES.values()}
_POSITIONS = {der.SEQUENCE: 1, der.BOOLEAN: 2, der.INTEGER: 3, 0xA0: 4, 0xA1: 5}
"""The optional fields in their order: accuracy, ordering, nonce, tsa, extensions."""
_MAX_ACCURACY_SECONDS = 100 * 366 * 86400


class TSTInfoExtension(NamedTuple):
    """One extension of a token."""

    oid: str
    critical: bool
    value: bytes


class TSTInfo(NamedTuple):
    """The authority's statement: `hashed_message` existed at `gen_time`.

    `gen_time` is aware and in UTC, truncated to microseconds. `accuracy` is None when it is absent, which means
    unknown, not zero. `tsa_der` is the GeneralName of the authority as it was sent, empty when absent.
    """

    version: int
    policy: str
    hash_oid: str
    hashed_message: bytes
    serial_number: int
    gen_time: datetime
    accuracy: Accuracy | None
    ordering: bool
    nonce: int | None
    tsa_der: bytes
    extensions: tuple[TSTInfoExtension, ...]

    @property
    def hash_algorithm(self) -> HashAlgorithm | None:
        """The imprint's hash algorithm, None when the core does not know it."""
        return _HASHES_BY_OID.get(self.hash_oid)

    @property
    def qc_statements(self) -> QcStatements | None:
        """What the token claims of itself in a qcStatements extension, None when it has none (EN 319 422 9.1)."""
        for extension in self.extensions:
            if extension.oid == oids.ID_PE_QC_STATEMENTS:
                return read_qc_statements(extension.value, critical=extension.critical)
        return None

    @property
    def earliest(self) -> datetime | None:
        """The start of the interval in which the token was made; None when the accuracy is unknown."""
        return _shifted(self.gen_time, -self.accuracy.duration) if self.accuracy else None

    @property
    def latest(self) -> datetime | None:
        """The end of the interval in which the token was made; None when the accuracy is unknown."""
        return _shifted(self.gen_time, self.accuracy.duration) if self.accuracy else None


def _shifted(time: datetime, by: timedelta) -> datetime:
    """Return a time moved, as far as the calendar goes: from the year 1 to 9999."""
    try:
        return time + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta(0) else datetime.min.replace(tzinfo=UTC)


def read_tst_info(data: bytes) -> TSTInfo:
    """Read the DER of one TSTInfo that fills `data`; raises EncodingError for anything else.

    RFC 3161 requires DER. One exception: an ordering or critical that is FALSE may be present, because some authorities
    write it and the meaning is the same.
    """
    try:
        return _walk(data)
    except EncodingError as error:
        raise EncodingError(f"the content is not a DER TSTInfo: {error}") from None


def _walk(data: bytes) -> TSTInfo:
    read = der.read
    size = len(data)
    tag, offset, end = read(data, 0, size)
    if tag != der.SEQUENCE or end != size:
        raise EncodingError("it is not a SEQUENCE, or something follows it")
    tag, start, stop = read(data, offset, end)
    if tag != der.INTEGER:
        raise EncodingError("the version is not an INTEGER")
    version = read_integer(data, start, stop)
    offset = stop
    tag, start, stop = read(data, offset, end)
    if tag != der.OBJECT_IDENTIFIER:
        raise EncodingError("the policy is not an identifier")
    policy = _dotted(data[offset:stop])
    hash_oid, hashed_message, stop = _imprint(data, stop, end)
    tag, start, stop = read(data, stop, end)
    if tag != der.INTEGER:
        raise EncodingError("the serialNumber is not an INTEGER")
    serial_number = read_integer(data, start, stop)
    tag, start, stop = read(data, stop, end)
    if tag != der.GENERALIZED_TIME:
        raise EncodingError("genTime is not a GeneralizedTime")
    gen_time = read_gen_time(data[start:stop])

    accuracy = nonce = None
    ordering = False
    tsa = b""
    extensions: tuple[TSTInfoExtension, ...] = ()
    last = 0
    while stop < end:
        offset = stop
        tag, start, stop = read(data, offset, end)
        position = _POSITIONS.get(tag, 0)
        if position <= last:
            raise EncodingError(f"unexpected value with tag {tag:#04x} at byte {offset}")
        last = position
        if tag == der.SEQUENCE:
            accuracy = _accuracy(data[start:stop])
        elif tag == der.BOOLEAN:
            ordering = _boolean(data[start:stop])
        elif tag == der.INTEGER:
            nonce = read_integer(data, start, stop)
        elif tag == 0xA0:
            tsa = data[start:stop]
            if read(tsa, 0, len(tsa))[2] != len(tsa):
                raise EncodingError("the tsa field does not hold one GeneralName")
        else:
            extensions = _extensions(data, start, stop)
    return TSTInfo(
        version,
        policy,
        hash_oid,
        hashed_message,
        serial_number,
        gen_time,
        accuracy,
        ordering,
        nonce,
        tsa,
        extensions,
    )


def _imprint(data: bytes, offset: int, end: int) -> tuple[str, bytes, int]:
    """Return the hash's identifier, the digest and the end of the MessageImprint at `offset`."""
    tag, start, imprint_end = der.read(data, offset, end)
    if tag != der.SEQUENCE:
        raise EncodingError("the messageImprint is not a SEQUENCE")
    _, _, stop = der.read(data, start, imprint_end)
    hash_oid = hash_identifier(data[start:stop])
    tag, start, stop = der.read(data, stop, imprint_end)
    if tag != der.OCTET_STRING or stop != imprint_end:
        raise EncodingError("the messageImprint does not end with one OCTET STRING")
    return hash_oid, data[start:stop], imprint_end


def read_integer(data: bytes, start: int, stop: int) -> int:
    """Return the INTEGER whose content lies between two offsets; raises EncodingError unless it is in DER."""
    size = stop - start
    if not size or (size > 1 and data[start] in {0x00, 0xFF} and (data[start] ^ data[start + 1]) < 0x80):
        raise EncodingError(f"the INTEGER at byte {start} is empty or not in its shortest form")
    return int.from_bytes(data[start:stop], "big", signed=True)


def _boolean(content: bytes) -> bool:
    if content not in {b"\x00", b"\xff"}:
        raise EncodingError("a BOOLEAN is neither 00 nor FF")
    return content == b"\xff"


@lru_cache(maxsize=256)
def _dotted(encoded: bytes) -> str:
    der.check_oid(encoded[der.read(encoded, 0, len(encoded))[1] :])
    return der.dotted(encoded)


@lru_cache(maxsize=64)
def hash_identifier(algorithm: bytes) -> str:
    """Return the dotted identifier in a hash AlgorithmIdentifier; parameters must be absent or NULL."""
    tag, start, end = der.read(algorithm, 0, len(algorithm))
    if tag != der.SEQUENCE:
        raise EncodingError("an AlgorithmIdentifier is not a SEQUENCE")
    tag, content, after = der.read(algorithm, start, end)
    if tag != der.OBJECT_IDENTIFIER:
        raise EncodingError("an AlgorithmIdentifier does not begin with an identifier")
    der.check_oid(algorithm[content:after])
    if algorithm[after:end] not in {b"", der.null()}:
        raise EncodingError("the parameters of a hash algorithm are neither absent nor NULL")
    return der.dotted(algorithm[start:after])


def _extensions(data: bytes, offset: int, end: int) -> tuple[TSTInfoExtension, ...]:
    """Read Extensions (RFC 5280 4.1), of which there must be one at least and none twice."""
    extensions: list[TSTInfoExtension] = []
    while offset < end:
        tag, start, stop = der.read(data, offset, end)
        oid_tag, _, after = der.read(data, start, stop)
        if (tag, oid_tag) != (der.SEQUENCE, der.OBJECT_IDENTIFIER):
            raise EncodingError(f"the value at byte {offset} is not an Extension")
        oid = _dotted(data[start:after])
        tag, start, after = der.read(data, after, stop)
        critical = False
        if tag == der.BOOLEAN:
            critical = _boolean(data[start:after])
            tag, start, after = der.read(data, after, stop)
        if tag != der.OCTET_STRING or after != stop:
            raise EncodingError(f"the Extension at byte {offset} does not end with one OCTET STRING")
        extensions.append(TSTInfoExtension(oid, critical, data[start:after]))
        offset = stop
    if not extensions or len({extension.oid for extension in extensions}) != len(extensions):
        raise EncodingError("the extensions are empty, or one of them appears twice")
    return tuple(extensions)


@lru_cache(maxsize=64)
def _accuracy(content: bytes) -> Accuracy | None:
    parts = {der.INTEGER: 0, 0x80: 0, 0x81: 0}
    offset, end, last = 0, len(content), 0
    while offset < end:
        tag, start, offset = der.read(content, offset, end)
        if tag not in parts or tag <= last:
            raise EncodingError("the accuracy has a part that it must not have")
        last = tag
        parts[tag] = read_integer(content, start, offset)
    seconds, millis, micros = parts.values()
    if not 0 <= seconds <= _MAX_ACCURACY_SECONDS or not 0 <= millis <= 999 or not 0 <= micros <= 999:
        raise EncodingError("the accuracy is out of range: a sensible number of seconds, 1 to 999 millis and micros")
    total = (seconds * 1000 + millis) * 1000 + micros
    # No clock can keep an accuracy of zero. So all parts absent or zero means unknown, as if the field were absent.
    return Accuracy(microseconds=total) if total else None


@lru_cache(maxsize=256)
def read_gen_time(text: bytes) -> datetime:
    """Return the time in `text`, YYYYMMDDhhmmss[.f]Z; digits beyond microseconds are dropped."""
    digits, dot, fraction = text[:-1].partition(b".")
    if (
        text[-1:] != b"Z"
        or len(digits) != 14
        or not digits.isdigit()
        or (dot and not (fraction.isdigit() and len(fraction) <= 32))
    ):
        raise EncodingError("genTime is not of the form YYYYMMDDhhmmss[.f]Z")
    month, day, hour, minute, second = (int(digits[i : i + 2]) for i in range(4, 14, 2))
    microsecond = int(fraction[:6].ljust(6, b"0")) if fraction else 0
    try:
        return datetime(int(digits[:4]), month, day, hour, minute, second, microsecond, tzinfo=UTC)
    except ValueError as error:
        raise EncodingError(f"genTime is not a time: {error}") from None
