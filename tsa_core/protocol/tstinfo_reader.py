"""Reading TSTInfo, the statement that a token makes (RFC 3161 2.4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.hashes import IMPRINT_HASHES, HashAlgorithm
from tsa_core.protocol.reply import whole
from tsa_core.protocol.tstinfo import Accuracy

_HASHES_BY_OID = {h.oid: h for h in IMPRINT_HASHES.values()}


@asn1.sequence
class _MessageImprint:
    algorithm: asn1.TLV
    hashed_message: bytes


@asn1.sequence
class _Accuracy:
    seconds: int | None
    millis: Annotated[int | None, asn1.Implicit(0)]
    micros: Annotated[int | None, asn1.Implicit(1)]


@asn1.sequence
class _Extension:
    oid: ObjectIdentifier
    # DER omits defaults; authorities that write FALSE out cannot mean anything else by it.
    critical: bool | None
    value: bytes


@asn1.sequence
class _TSTInfo:
    version: int
    policy: ObjectIdentifier
    imprint: _MessageImprint
    serial_number: int
    gen_time: asn1.TLV
    accuracy: _Accuracy | None
    ordering: bool | None
    nonce: int | None
    # [0] EXPLICIT GeneralName, read as a list of one, because an optional TLV cannot be declared.
    tsa: Annotated[list[asn1.TLV] | None, asn1.Implicit(0)]
    extensions: Annotated[list[_Extension] | None, asn1.Implicit(1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TSTInfoExtension:
    """One extension of a token."""

    oid: str
    critical: bool
    value: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TSTInfo:
    """What the authority states: that `hashed_message` existed at `gen_time`.

    `gen_time` is aware and in UTC, cut to microseconds. `accuracy` is None when it is absent, which means
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
        """The imprint's hash algorithm, None when it is one that we do not know."""
        return _HASHES_BY_OID.get(self.hash_oid)

    @property
    def earliest(self) -> datetime | None:
        """The start of the interval in which the token was made; None when the accuracy is unknown."""
        return self.gen_time - self.accuracy.duration if self.accuracy else None

    @property
    def latest(self) -> datetime | None:
        """The end of the interval in which the token was made; None when the accuracy is unknown."""
        return self.gen_time + self.accuracy.duration if self.accuracy else None


def read_tst_info(data: bytes) -> TSTInfo:
    """Read the DER of one TSTInfo that fills `data`; raises EncodingError for anything else."""
    try:
        info = asn1.decode_der(_TSTInfo, data)
    except ValueError as error:
        raise EncodingError(f"the content is not a DER TSTInfo: {error}") from None
    if info.gen_time.tag_bytes != b"\x18":
        raise EncodingError("genTime is not a GeneralizedTime")
    tsa = info.tsa
    if tsa is not None and len(tsa) != 1:
        raise EncodingError("the tsa field does not hold one GeneralName")
    return TSTInfo(
        version=info.version,
        policy=info.policy.dotted_string,
        hash_oid=hash_identifier(whole(info.imprint.algorithm)),
        hashed_message=info.imprint.hashed_message,
        serial_number=info.serial_number,
        gen_time=_gen_time(bytes(info.gen_time.data)),
        accuracy=_accuracy(info.accuracy) if info.accuracy is not None else None,
        ordering=bool(info.ordering),
        nonce=info.nonce,
        tsa_der=whole(tsa[0]) if tsa else b"",
        extensions=_extensions(info.extensions) if info.extensions is not None else (),
    )


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


def _extensions(extensions: list[_Extension]) -> tuple[TSTInfoExtension, ...]:
    read = tuple(
        TSTInfoExtension(oid=e.oid.dotted_string, critical=bool(e.critical), value=e.value)
        for e in extensions
    )
    if len({e.oid for e in read}) != len(read):
        raise EncodingError("an extension of the TSTInfo appears twice")
    return read


def _accuracy(value: _Accuracy) -> Accuracy | None:
    seconds, millis, micros = value.seconds or 0, value.millis or 0, value.micros or 0
    if seconds < 0 or not 0 <= millis <= 999 or not 0 <= micros <= 999:
        raise EncodingError("the accuracy is out of range: seconds from 0, millis and micros 1 to 999")
    if seconds > 86400 * 366 * 100:
        raise EncodingError("the accuracy is more than a century")
    total = (seconds * 1000 + millis) * 1000 + micros
    # All parts absent or zero says nothing that a clock could keep: unknown, as if the field were absent.
    return Accuracy(microseconds=total) if total else None


@lru_cache(maxsize=256)
def _gen_time(text: bytes) -> datetime:
    """Return the time in `text`, YYYYMMDDhhmmss[.f]Z; digits beyond microseconds are cut off."""
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
