"""Finds out what a file is by its first bytes, and has its tokens looked for."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tsa_core.extract.cms import is_signed_data, read_signed_data, tokens_in_cms
from tsa_core.extract.found import MAX_TOKENS, ExtractError, Found, FoundCountersignature, FoundToken
from tsa_core.protocol import der, oids
from tsa_core.protocol.errors import EncodingError
from tsa_core.protocol.timestamped_data import is_timestamped_data, read_timestamped_data
from tsa_core.protocol.token_material import token_of

MAX_OCTETS: Final = 256 << 20
"""Of a file: it is read into memory."""
_TST_INFO: Final = der.oid(oids.ID_CT_TST_INFO)
_KINDS: Final = "CMS and CAdES, PDF, ASiC, JAR, Windows programs, Sigstore bundles, COSE, JPEG and PNG with C2PA, .tsd"


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What kind of file it is, and the tokens in it, in the file's order.

    `countersignatures` are what Authenticode had before RFC 3161: they hold a time, and are not verified here.
    """

    format: str
    tokens: tuple[FoundToken, ...]
    countersignatures: tuple[FoundCountersignature, ...] = ()


def extract(data: bytes, *, detached: Callable[[], bytes] | None = None) -> Extraction:
    """Return the tokens in a file; `detached` returns what a detached signature, a .tsd or a COSE message is over.

    Nothing is verified. Raises ExtractError for what is of no known kind or breaks its rules, and ExtraMissing when a
    package is needed that is not installed.
    """
    if len(data) > MAX_OCTETS:
        raise ExtractError(f"the file has {len(data)} bytes; more than {MAX_OCTETS} are not read")
    name, every = _open(data, detached)
    found: list[Found] = []
    for each in every:
        if len(found) == MAX_TOKENS:
            raise ExtractError(f"the file holds more than {MAX_TOKENS} timestamps")
        found.append(each)
    return Extraction(
        format=name,
        tokens=tuple(each for each in found if isinstance(each, FoundToken)),
        countersignatures=tuple(each for each in found if isinstance(each, FoundCountersignature)),
    )


def _open(data: bytes, detached: Callable[[], bytes] | None) -> tuple[str, Iterable[Found]]:
    if b"%PDF-" in data[:1024]:
        from tsa_core.extract.pdf import tokens_in_pdf

        return "PDF", tokens_in_pdf(data)
    if data[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        from tsa_core.extract.containers import tokens_in_container

        return tokens_in_container(data)
    if data[:2] == b"MZ":
        from tsa_core.extract.pe import tokens_in_pe

        return "Windows program", tokens_in_pe(data)
    if data[:3] == b"\xff\xd8\xff" or data[:8] == b"\x89PNG\r\n\x1a\n":
        from tsa_core.extract.images import tokens_in_image

        return "image with C2PA", tokens_in_image(data)
    if data.lstrip()[:1] == b"{":
        return "Sigstore bundle", _in_bundle(data)
    return _open_der(_without_armor(data), detached)


def _open_der(data: bytes, detached: Callable[[], bytes] | None) -> tuple[str, Iterable[Found]]:
    if is_timestamped_data(data):
        return "TimeStampedData", _in_timestamped_data(data, detached)
    if is_signed_data(data) and read_signed_data(data).content_type != _TST_INFO:
        _check_nothing_follows(data)
        return "CMS signature", tokens_in_cms(data, "signature", detached)
    if data[:1] == b"\x30":
        return "timestamp", _alone(data, detached)
    if data[:1] == b"\xd2" or data[:2] == b"\xd8\x62":
        return "COSE message", _in_cose(data, detached)
    raise ExtractError(f"the file is none of what is read here: {_KINDS}")


def _check_nothing_follows(data: bytes) -> None:
    """Raise ExtractError for a second signature behind the first, which nobody would look at; padding may stand there.

    What is BER, whose end the head does not say, is read to the end elsewhere.
    """
    with suppress(EncodingError):
        end = der.read(data, 0, len(data))[2]
        if data[end:].strip(b"\0\r\n"):
            raise ExtractError(f"{len(data) - end} bytes follow the CMS signature, which belong to no part of it")


def _alone(data: bytes, detached: Callable[[], bytes] | None) -> Iterator[FoundToken]:
    try:
        token = token_of(data)
    except EncodingError as error:
        raise ExtractError(f"the file is no timestamp and no CMS signature: {error}") from None
    yield FoundToken(
        kind="timestamp",
        place="the file",
        token=token,
        covers="a file that is elsewhere",
        subject=detached,
        unknown="" if detached is not None else "what it is over was not given",
    )


def _in_timestamped_data(data: bytes, detached: Callable[[], bytes] | None) -> Iterator[FoundToken]:
    try:
        archive = read_timestamped_data(data)
    except EncodingError as error:
        raise ExtractError(f"the TimeStampedData cannot be read: {error}") from None
    content, prefix = archive.content, archive.before_content
    first: Callable[[], bytes] | None = None
    if content is not None:
        first = lambda: prefix + content  # noqa: E731 - a name for one of two
    elif detached is not None:
        first = lambda: prefix + detached()  # noqa: E731
    for number, layer in enumerate(archive.layers):
        before = archive.layers[number - 1]
        yield FoundToken(
            kind="TimeStampAndCRL",
            place=f"timestamp {number + 1}",
            token=layer.token,
            covers=f"timestamp {number} with what is in it" if number else "the data",
            subject=(lambda before=before: before.encoded) if number else first,  # type: ignore[misc]  # a bound variable
            unknown="" if number or first else "the data are elsewhere, and were not given",
        )


def _in_bundle(data: bytes) -> Iterator[FoundToken]:
    from tsa_core.verify.errors import MalformedTimestamp
    from tsa_core.verify.sigstore_bundle import read_bundle

    try:
        bundle = read_bundle(data)
        tokens = [token_of(each) for each in bundle.timestamps]
    except (MalformedTimestamp, EncodingError) as error:
        raise ExtractError(str(error)) from None
    for number, token in enumerate(tokens, 1):
        yield FoundToken(
            kind="signedTimestamp",
            place=f"timestamp {number}",
            token=token,
            covers="the signature in the bundle",
            subject=lambda: bundle.signature,
        )


def _in_cose(data: bytes, detached: Callable[[], bytes] | None) -> Iterator[FoundToken]:
    from tsa_core.cose import CTT, CoseError, ctt_input, read_message, tokens_of, ttc_input

    try:
        message = read_message(data)
        tokens = tokens_of(message)
    except CoseError as error:
        raise ExtractError(str(error)) from None
    for label, token in tokens.items():
        has_payload = message.payload is not None or detached is not None
        subject = (lambda: ctt_input(message)) if label == CTT else None
        if label != CTT and has_payload:
            subject = lambda: ttc_input(message, None if message.payload is not None else detached())  # type: ignore[misc]  # noqa: E731
        yield FoundToken(
            kind="3161-ctt" if label == CTT else "3161-ttc",
            place="unprotected header" if label == CTT else "protected header",
            token=token,
            covers="the signature" if label == CTT else "the payload",
            subject=subject,
            unknown="" if subject is not None else "the payload is detached, and was not given",
        )


def _without_armor(data: bytes) -> bytes:
    """Return the DER in a PEM file: CMS, PKCS7 or the like."""
    if not data.lstrip().startswith(b"-----BEGIN "):
        return data
    if data.count(b"-----BEGIN ") > 1:
        raise ExtractError("the PEM file holds more than one block; put each into a file of its own")
    body = data.partition(b"-----BEGIN ")[2].partition(b"-----\n")[2] or data.partition(b"-----\r\n")[2]
    try:
        return base64.b64decode(b"".join(body.partition(b"-----END")[0].split()), validate=True)
    except (binascii.Error, ValueError):
        raise ExtractError("the PEM file does not hold base64") from None
