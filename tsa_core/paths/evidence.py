"""CRLs and OCSP responses as they come: files, PEM or DER, and objects of `cryptography`."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike, fspath
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.x509 import ocsp

from tsa_core.paths.crl_reader import CertificateList
from tsa_core.paths.errors import RevocationUnknown, printable
from tsa_core.paths.ocsp_reader import OCSPResponse
from tsa_core.protocol.encodings import Encoding
from tsa_core.protocol.errors import EncodingError
from tsa_core.sources import Source, octets

NamedBytes: TypeAlias = "Source | tuple[str, bytes]"
"""A path, what a file holds, or a pair of its name and that; errors and findings tell the name."""

MAX_REVOCATION_OCTETS: Final = 64 << 20
"""Octets of one list or answer; the largest CRLs that authorities publish have 30 to 40 million."""
MAX_FILE_OCTETS: Final = MAX_REVOCATION_OCTETS * 3 // 2
"""Octets of one file, which is a third longer in PEM."""
_BEGIN: Final = b"-----BEGIN "
_DASHES: Final = b"-----"
_CRL_LABEL: Final = b"X509 CRL"
_OCSP_LABEL: Final = b"OCSP RESPONSE"


def read_crls(files: Iterable[NamedBytes]) -> tuple[CertificateList, ...]:
    """Return every CRL of files, PEM with any number or one DER; raises RevocationUnknown naming the file."""
    found: list[CertificateList] = []
    for name, data in map(_named, files):
        try:
            found.extend(CertificateList(der, name) for der in _ders(data, _CRL_LABEL))
        except EncodingError as error:
            raise _unreadable("CRL", name, error) from None
    return tuple(found)


def read_ocsp_responses(files: Iterable[NamedBytes]) -> tuple[OCSPResponse, ...]:
    """Return the OCSP responses of files, DER or PEM; raises RevocationUnknown naming the file."""
    found: list[OCSPResponse] = []
    for name, data in map(_named, files):
        try:
            found.extend(OCSPResponse(der, name) for der in _ders(data, _OCSP_LABEL))
        except EncodingError as error:
            raise _unreadable("OCSP response", name, error) from None
    return tuple(found)


def prepared_crls(
    crls: Sequence[x509.CertificateRevocationList | CertificateList],
) -> tuple[CertificateList, ...]:
    """Return the CRLs as this package reads them; raises RevocationUnknown for one that it cannot read."""
    return tuple(
        crl if isinstance(crl, CertificateList) else read_crls([crl.public_bytes(Encoding.DER)])[0] for crl in crls
    )


def prepared_responses(responses: Sequence[ocsp.OCSPResponse | OCSPResponse]) -> tuple[OCSPResponse, ...]:
    """Return the responses as this package reads them; raises RevocationUnknown for one that it cannot read."""
    return tuple(
        response
        if isinstance(response, OCSPResponse)
        else read_ocsp_responses([response.public_bytes(Encoding.DER)])[0]
        for response in responses
    )


def _named(file: NamedBytes) -> tuple[str, bytes]:
    if isinstance(file, tuple):
        return file
    name = fspath(file) if isinstance(file, str | PathLike) else ""
    return name, octets(file, "the revocation data", MAX_FILE_OCTETS)


def _unreadable(kind: str, name: str, error: EncodingError) -> RevocationUnknown:
    what = f"the {kind} {printable(name)}" if name else f"a{'n' if kind[0] == 'O' else ''} {kind}"
    return RevocationUnknown(f"{what} cannot be read: {error}")


def _ders(data: bytes, label: bytes) -> Iterator[bytes]:
    """Yield the DER values in a file; raises EncodingError when there is none."""
    if len(data) > MAX_FILE_OCTETS:
        raise EncodingError(f"it has {len(data)} bytes, more than any honest one")
    if not _is_der(data) and _BEGIN in data:
        yield from _pem_blocks(data, label)
    else:
        yield data


def _is_der(data: bytes) -> bool:
    return data[:1] == b"\x30" and data[1:2] >= b"\x80"  # a text that begins with the digit 0 goes on with text


def _pem_blocks(data: bytes, label: bytes) -> Iterator[bytes]:
    begin, end = _BEGIN + label + _DASHES, b"-----END " + label + _DASHES
    position = data.find(begin)
    if position < 0:
        raise EncodingError(f"it is PEM, but holds no {label.decode()}")
    while position >= 0:
        start = position + len(begin)
        stop = data.find(end, start)
        if stop < 0:
            raise EncodingError(f"it holds a {label.decode()} without an end")
        try:
            yield binascii.a2b_base64(b"".join(data[start:stop].split()), strict_mode=True)
        except binascii.Error as error:
            raise EncodingError(f"it holds a {label.decode()} that is not base64: {error}") from None
        position = data.find(begin, stop)
