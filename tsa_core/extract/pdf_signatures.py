"""Lists the signatures of the PDF on standard input as JSON: a process of its own for `pdf`, which may kill it.

What is wrong with the PDF is a JSON text instead.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any, Final

_MAX_SIGNATURES: Final = 65
"""One more than `pdf` takes, which then says so."""
_MAX_CONTENTS_OCTETS: Final = 64 << 20
"""Of all signatures together: many fields may name one large object."""
_MAX_MEMORY_OCTETS: Final = 4 << 30

Signature = tuple[str, str, list[int], str]
"""Kind, field name, byte range, and contents in base64."""


def signatures(data: bytes) -> list[Signature] | str:
    """Return the signatures of a PDF, oldest first, or why it cannot be read."""
    from itertools import islice

    from pyhanko.pdf_utils.misc import PdfError
    from pyhanko.pdf_utils.reader import PdfFileReader

    found: list[Signature] = []
    left = _MAX_CONTENTS_OCTETS
    try:
        reader = PdfFileReader(io.BytesIO(data), strict=False)
        for each in islice(reader.embedded_signatures, _MAX_SIGNATURES):
            signature = _signature(each)
            left -= len(signature[3])
            if left < 0:
                return f"its signatures have more than {_MAX_CONTENTS_OCTETS} bytes"
            found.append(signature)
    except MemoryError:
        return f"it needs more than {_MAX_MEMORY_OCTETS} bytes of memory"
    except (PdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OSError) as error:
        return " ".join(str(error).split())[:160] or type(error).__name__
    return found


def _signature(found: Any) -> Signature:
    ranges = [int(each) for each in found.byte_range]
    contents = base64.b64encode(bytes(found.pkcs7_content)).decode()
    return str(found.sig_object_type), str(found.field_name), ranges, contents


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MAX_MEMORY_OCTETS if hard == resource.RLIM_INFINITY else min(_MAX_MEMORY_OCTETS, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    _bound_memory()
    json.dump(signatures(sys.stdin.buffer.read()), sys.stdout)
