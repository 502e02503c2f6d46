"""TSTInfo.tsa: it must be one of the names of the signer's certificate (RFC 3161 2.4.2, rule V16)."""

from __future__ import annotations

from functools import lru_cache

from cryptography.x509.oid import ExtensionOID

from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.names import (
    DIRECTORY_NAME,
    DNS_NAME,
    RFC822_NAME,
    CanonicalName,
    GeneralName,
    canonical_name,
    general_name,
    general_names,
)
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.tstinfo_reader import TSTInfo
from tsa_core.verify.errors import AuthorityNameMismatch


def check_tsa_name(info: TSTInfo, signer: PathCertificate) -> None:
    """Raise AuthorityNameMismatch unless TSTInfo.tsa is absent, or the signer's subject or an alternative name."""
    if info.tsa_der:
        _check_name(info.tsa_der, signer)


@lru_cache(maxsize=256)
def _check_name(tsa_der: bytes, signer: PathCertificate) -> None:
    """Do the same for a name that is there. Only success is remembered: an authority states one name in all tokens."""
    try:
        stated = _comparable(general_name(tsa_der))
    except EncodingError as error:
        raise AuthorityNameMismatch(f"the name of the authority in the token cannot be read: {error}") from None
    try:
        names: list[tuple[int, CanonicalName | bytes]] = [(DIRECTORY_NAME, signer.subject_name)]
        alternative = signer.raw_value(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        if stated not in names and alternative is not None:
            names += [_comparable(name) for name in general_names(alternative)]
    except EncodingError as error:
        raise AuthorityNameMismatch(f"the names of {signer} cannot be read: {error}") from None
    if stated not in names:
        raise AuthorityNameMismatch(f"the name of the authority in the token is no name of {signer}, which signed it")


def _comparable(name: GeneralName) -> tuple[int, CanonicalName | bytes]:
    """Return a name in the form in which equal names are equal (RFC 5280 7)."""
    if name.form == DIRECTORY_NAME:
        return name.form, canonical_name(name.value)
    if name.form == DNS_NAME:
        return name.form, name.value.lower()
    if name.form == RFC822_NAME:
        local, at, host = name.value.rpartition(b"@")
        return name.form, local + at + host.lower()
    return name.form, name.value
