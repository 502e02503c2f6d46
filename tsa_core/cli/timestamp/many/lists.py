"""Lists of files: names, and digests as sha256sum and its kin write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.many.item import Item, shown_name
from tsa_core.protocol.hashes import HashAlgorithm, hash_by_name

MAX_LIST_OCTETS: Final = 1 << 30
"""A million names of 1,000 bytes each."""
_BY_DIGITS: Final = {64: "sha256", 96: "sha384", 128: "sha512"}
_GNU: Final = re.compile(rb"(\\?)([0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128}) [ *](.+)", re.DOTALL)
_BSD: Final = re.compile(rb"(\\?)([A-Za-z0-9-]{1,20}) ?\((.+)\) = ([0-9a-fA-F]+)", re.DOTALL)
_OTHER_SUMS: Final = re.compile(rb"\\?(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{56}) [ *].+", re.DOTALL)
_ESCAPES: Final = {b"\\n": b"\n", b"\\r": b"\r", b"\\\\": b"\\"}


def read_names(location: str) -> list[str]:
    """Return the names in a list: each ended by NUL when the list has one, else a line each; empty ones do not count.

    Raises UsageMistake for a list that cannot be read or holds no name.
    """
    data = read_file(location, MAX_LIST_OCTETS)
    names = [os.fsdecode(name) for name in data.split(b"\0" if b"\0" in data else b"\n") if name]
    if not names:
        raise UsageMistake(f"--from-file: {location} holds no name")
    return names


def read_sums(location: str) -> list[Item]:
    """Return the files of a list of sums with their digests; raises UsageMistake, which names the line.

    Both formats of coreutils are read, `DIGEST  NAME` and (`--tag`, BSD) `SHA256 (NAME) = DIGEST`, with its escapes for
    names with line ends, and lists whose entries end with NUL (`--zero`). Lines that begin with # are comments.
    """
    data = read_file(location, MAX_LIST_OCTETS)
    zero = b"\0" in data
    items = []
    for number, line in enumerate(data.split(b"\0" if zero else b"\n"), 1):
        text = line if zero else line.removesuffix(b"\r")
        if text and not text.startswith(b"#"):
            try:
                items.append(_sum(text, escaped=not zero))
            except ValueError as error:
                raise UsageMistake(f"--sums: line {number} of {location} {error}") from None
    if not items:
        raise UsageMistake(f"--sums: {location} holds no digest")
    return items


def _sum(line: bytes, *, escaped: bool) -> Item:
    if found := _GNU.fullmatch(line):
        mark, digits, name = found.groups()
        algorithm = hash_by_name(_BY_DIGITS[len(digits)])
    elif found := _BSD.fullmatch(line):
        mark, kind, name, digits = found.groups()
        algorithm = _strong(kind.decode("ascii"))
        if len(digits) != 2 * algorithm.digest_size:
            raise ValueError(f"has {len(digits)} digits, which is no {algorithm.name} digest")
    elif _OTHER_SUMS.fullmatch(line):
        raise ValueError("has a digest of MD5, SHA-1 or SHA-224, which is too weak for a timestamp; use sha256sum")
    else:
        raise ValueError("is not DIGEST  NAME, as sha256sum writes it, nor SHA256 (NAME) = DIGEST")
    if mark and escaped:
        name = re.sub(rb"\\[nr\\]", lambda match: _ESCAPES[match[0]], name)
    return Item(name=os.fsdecode(name), digest=bytes.fromhex(digits.decode()), algorithm=algorithm)


def _strong(kind: str) -> HashAlgorithm:
    """Return the hash that a BSD line names."""
    try:
        algorithm = hash_by_name(kind)
    except KeyError:
        reason = "which is not known here; use sha256, sha384 or sha512"
        raise ValueError(f"has a digest of {shown_name(kind)}, {reason}") from None
    if algorithm.weak:
        raise ValueError(f"has a digest of {algorithm.name}, which is too weak for a timestamp; use sha256sum")
    return algorithm


def unique(items: list[Item]) -> Iterator[Item]:
    """Yield each file once; raises UsageMistake for one that two lists of sums give different digests."""
    found: dict[str, Item] = {}
    for item in items:
        place = os.path.normpath(item.name)
        earlier = found.setdefault(place, item)
        if earlier is item:
            yield item
        elif earlier.digest != item.digest and item.digest is not None and earlier.digest is not None:
            raise UsageMistake(f"--sums: {shown_name(item.name)} is listed with two different digests")
