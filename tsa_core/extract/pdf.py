"""Tokens in PDF: document timestamps, and those in signatures (ISO 32000-2 12.8; ETSI EN 319 142-1).

pyHanko, of the extra `tsa-core[pdf]`, reads the PDF; the byte ranges are checked here.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

from tsa_core.cose.errors import ExtraMissing
from tsa_core.extract.cms import tokens_in_cms
from tsa_core.extract.found import ExtractError, Found, FoundToken

MAX_PDF_OCTETS: Final = 64 << 20
MAX_SECONDS: Final = 60.0
"""For reading one PDF; one of 64 MB from a scanner takes a few."""
_MAX_SIGNATURES: Final = 64


def tokens_in_pdf(data: bytes) -> Iterator[Found]:
    """Yield the tokens of a PDF; raises ExtractError, or ExtraMissing without pyHanko."""
    if len(data) > MAX_PDF_OCTETS:
        raise ExtractError(f"the PDF has {len(data)} bytes; more than {MAX_PDF_OCTETS} are not read")
    for number, (kind, name, ranges, contents) in enumerate(_signatures(data), 1):
        if number > _MAX_SIGNATURES:
            raise ExtractError(f"the PDF has more than {_MAX_SIGNATURES} signatures")
        place = f"field {name!r:.60}"
        if kind == "/DocTimeStamp":
            problem = _range_problem(data, ranges, contents)
            after = len(data) - ranges[2] - ranges[3] if not problem else 0
            covers = "the document" + (f" but the {after} bytes that were added later" if after else "")
            yield FoundToken(
                kind="document timestamp",
                place=place,
                token=contents,
                covers=covers,
                subject=partial(_ranged, data, ranges) if not problem else None,
                unknown=problem,
            )
        else:
            yield from tokens_in_cms(contents, place, partial(_signed, data, ranges, contents))


def _signatures(data: bytes) -> list[tuple[str, str, tuple[int, ...], bytes]]:
    """Return kind, field name, byte range and contents of each signature, oldest first.

    What pyHanko does with a hostile PDF may have no end, so another process does it, which is killed after a while.
    """
    if importlib.util.find_spec("pyhanko") is None:
        raise ExtraMissing(package="pyHanko", extra="pdf", purpose="reading a PDF")
    command = [sys.executable, "-P", "-m", "tsa_core.extract.pdf_signatures"]
    # The new process must find the same modules as this one.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, input=data, capture_output=True, env=environment, timeout=MAX_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ExtractError(f"the PDF cannot be read within {MAX_SECONDS:g} seconds") from None
    except OSError as error:
        raise ExtractError(f"the PDF cannot be read: no process can be started for it: {error.strerror}") from None
    if done.returncode:
        raise ExtractError(f"the PDF cannot be read: the process that reads it ended with {done.returncode}")
    found = json.loads(done.stdout)
    if isinstance(found, str):
        raise ExtractError(f"the PDF cannot be read: {found}")
    return [
        (kind, name, tuple(ranges), _unpadded(base64.b64decode(contents))) for kind, name, ranges, contents in found
    ]


def _unpadded(contents: bytes) -> bytes:
    """Return the DER value at the start of /Contents, which is padded with zeros."""
    from tsa_core.protocol import der
    from tsa_core.protocol.errors import EncodingError

    try:
        return contents[: der.read(contents, 0, len(contents))[2]]
    except EncodingError:
        return contents


def _range_problem(data: bytes, ranges: tuple[int, ...], contents: bytes) -> str:
    """Say why the byte range is not the document without /Contents; empty when it is."""
    if len(ranges) != 4 or min(ranges, default=-1) < 0 or ranges[0] != 0:
        return "its byte range does not begin at the start of the file, or is not two ranges"
    gap, second, end = ranges[1], ranges[2], ranges[2] + ranges[3]
    if not gap < second <= end <= len(data):
        return "its byte range does not lie in the file"
    left_out = data[gap:second]
    if left_out[:1] != b"<" or left_out[-1:] != b">":
        return "its byte range leaves out more than its /Contents"
    try:
        inside = binascii.unhexlify(left_out[1:-1])
    except (binascii.Error, ValueError):
        return "its byte range leaves out more than its /Contents"
    if not inside.startswith(contents) or inside[len(contents) :].strip(b"\x00"):
        return "its byte range leaves out more than its /Contents"
    return ""


def _signed(data: bytes, ranges: tuple[int, ...], contents: bytes) -> bytes:
    """Return what a signature is over; raises ExtractError when that is not the document without /Contents."""
    if problem := _range_problem(data, ranges, contents):
        raise ExtractError(f"what the signature is over is not the document: {problem}")
    return _ranged(data, ranges)


def _ranged(data: bytes, ranges: tuple[int, ...]) -> bytes:
    return data[ranges[0] : ranges[0] + ranges[1]] + data[ranges[2] : ranges[2] + ranges[3]]
