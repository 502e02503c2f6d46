"""Distribution points: the CRLs that a certificate names, and what a CRL covers (RFC 5280 4.2.1.13, 5.2.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tsa_core.paths.der_fields import Fields, read_boolean
from tsa_core.paths.names import CanonicalName, comparable_name
from tsa_core.paths.reasons import ALL_REASONS, read_reason_flags
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

_DIRECTORY_NAME: Final = 0xA4
_URI: Final = 0x86
_MAX_POINTS: Final = 64
_MAX_NAMES: Final = 256

PointName = tuple[int, bytes | CanonicalName]
"""A GeneralName as it is compared: its tag, and its content, for a directory name as RFC 5280 7.1 compares it."""
PointNames = frozenset[PointName]


@dataclass(frozen=True, kw_only=True)
class DistributionPoint:
    """Where a certificate's CRLs are: no names means that `crl_issuers` tells all; `reasons` are bits."""

    names: PointNames
    urls: tuple[str, ...]
    reasons: int
    crl_issuers: frozenset[CanonicalName]
    """Empty when the certificate's issuer signs the CRLs."""


@dataclass(frozen=True, kw_only=True)
class IssuingDistributionPoint:
    """What a CRL covers; `names` is None when it states no distribution point."""

    names: PointNames | None
    only_user_certs: bool
    only_ca_certs: bool
    only_attribute_certs: bool
    indirect: bool
    reasons: int
    stated_reasons: bool


def read_distribution_points(value: bytes, issuer: bytes) -> tuple[DistributionPoint, ...]:
    """Read a cRLDistributionPoints or freshestCRL value of a certificate by `issuer`; raises EncodingError."""
    fields = Fields.of_sequence(value, "cRLDistributionPoints")
    points: list[DistributionPoint] = []
    while fields.tag != -1:
        if len(points) == _MAX_POINTS:
            raise EncodingError(f"a certificate has more than {_MAX_POINTS} distribution points")
        points.append(_point(fields.enter(der.SEQUENCE, "a DistributionPoint"), issuer))
    return tuple(points)


def _point(fields: Fields, issuer: bytes) -> DistributionPoint:
    start = fields.position
    choice = fields.enter(0xA0, "distributionPoint") if fields.tag == 0xA0 else None
    reasons = read_reason_flags(fields.content(0x81, "reasons")) if fields.tag == 0x81 else ALL_REASONS
    issuers: list[bytes] = []
    if fields.tag == 0xA2:
        issuers = [name for name in map(directory_name, _general_names(fields.enter(0xA2, "cRLIssuer"))) if name]
    fields.finish("a DistributionPoint")
    if choice is None and not issuers:
        raise EncodingError(f"the DistributionPoint at byte {start} names neither a place nor an issuer of CRLs")
    base = issuers[0] if issuers else issuer
    raw = _point_name(choice, base) if choice is not None else []
    return DistributionPoint(
        names=frozenset(map(_comparable, raw)),
        urls=tuple([_text(name) for name in raw if name[0] == _URI]),
        reasons=reasons,
        crl_issuers=frozenset(map(comparable_name, issuers)),
    )


def read_issuing_point(value: bytes, issuer: bytes) -> IssuingDistributionPoint:
    """Read the issuingDistributionPoint of a CRL by `issuer`; raises EncodingError."""
    fields = Fields.of_sequence(value, "issuingDistributionPoint")
    names = None
    if fields.tag == 0xA0:
        raw = _point_name(fields.enter(0xA0, "distributionPoint"), issuer)
        names = frozenset(map(_comparable, raw))
    user = _flag(fields, 0x81)
    authority = _flag(fields, 0x82)
    stated = fields.tag == 0x83
    reasons = read_reason_flags(fields.content(0x83, "onlySomeReasons")) if stated else ALL_REASONS
    indirect = _flag(fields, 0x84)
    attribute = _flag(fields, 0x85)
    fields.finish("issuingDistributionPoint")
    return IssuingDistributionPoint(
        names=names,
        only_user_certs=user,
        only_ca_certs=authority,
        only_attribute_certs=attribute,
        indirect=indirect,
        reasons=reasons,
        stated_reasons=stated,
    )


def _flag(fields: Fields, tag: int) -> bool:
    return fields.tag == tag and read_boolean(fields.content(tag, "a flag"), "a flag of issuingDistributionPoint")


def _point_name(choice: Fields, base: bytes) -> list[bytes]:
    """Return the GeneralNames of a DistributionPointName; a relative one is completed with `base`."""
    if choice.tag == 0xA0:
        names = _general_names(choice.enter(0xA0, "fullName"))
    else:
        rdn = choice.enter(0xA1, "nameRelativeToCRLIssuer")
        _, start, end = der.read(base, 0, len(base))
        relative = der.tlv(der.SET, rdn.data[rdn.position : rdn.end])
        names = [der.tlv(_DIRECTORY_NAME, der.sequence(base[start:end], relative))]
    choice.finish("DistributionPointName")
    return names


def _general_names(fields: Fields) -> list[bytes]:
    names: list[bytes] = []
    while fields.tag != -1:
        if len(names) == _MAX_NAMES:
            raise EncodingError(f"a distribution point has more than {_MAX_NAMES} names")
        names.append(fields.any_whole())
    return names


def directory_name(general_name: bytes) -> bytes | None:
    """Return the Name of a GeneralName that is a directoryName, else None."""
    tag, start, end = der.read(general_name, 0, len(general_name))
    return general_name[start:end] if tag == _DIRECTORY_NAME else None


def point_name(name: CanonicalName) -> PointName:
    """Return a directory name as distribution points compare it."""
    return (_DIRECTORY_NAME, name)


def only_directory_name(value: bytes) -> bytes:
    """Return the one directoryName of the GeneralNames that fill `value`, as certificateIssuer has it."""
    fields = Fields.of_sequence(value, "certificateIssuer")
    names = [name for name in map(directory_name, _general_names(fields)) if name is not None]
    if len(names) != 1:
        raise EncodingError("certificateIssuer does not hold one directory name")
    return names[0]


def _comparable(name: bytes) -> PointName:
    directory = directory_name(name)
    if directory is not None:
        return point_name(comparable_name(directory))
    tag, start, end = der.read(name, 0, len(name))
    return tag, name[start:end]


def _text(name: bytes) -> str:
    _, start, end = der.read(name, 0, len(name))
    return name[start:end].decode("ascii", "replace")
