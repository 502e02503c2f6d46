"""Tokens in ZIP files: ASiC-S and ASiC-E (ETSI EN 319 162-1), JAR and APK (signature blocks in META-INF)."""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Final

from tsa_core.extract.cms import tokens_in_cms
from tsa_core.extract.found import ExtractError, Found, FoundToken
from tsa_core.extract.xml_names import Names, read_names

_MAX_DIRECTORY_OCTETS: Final = 8 << 20
"""Of the central directory: some 100,000 files."""
_MAX_MEMBER_OCTETS: Final = 16 << 20
"""Of a signature, a token or a manifest."""
_MAX_UNPACKED_OCTETS: Final = 512 << 20
"""Of all that is unpacked of one container, whatever it says of itself."""
_END: Final = b"PK\x05\x06"
_END_RECORD: Final = struct.Struct("<4xHHHHIIH")
"""Two disks, the number of files on this one and in all, size and place of the directory, and a comment's length."""
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_FILE: Final = b"PK\x03\x04"
_DESCRIPTOR: Final = b"PK\x07\x08"
_HEADER: Final = struct.Struct("<4s2xHH8xI4xHH")
"""What stands before a file: the mark, flags, method, packed size, and the sizes of its name and of extra fields."""
_IN_EXTRA: Final = 0xFFFFFFFF
"""The size of a file that says it in an extra field, as those of the ZIP64 format do."""
_UTF8: Final = 0x800
_HAS_DESCRIPTOR: Final = 0x08
"""The flag of a file whose sizes stand behind it too, with or without the mark before them."""
_DIGESTS: Final = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
    "http://www.w3.org/2007/05/xmldsig-more#sha3-256": "sha3_256",
    "http://www.w3.org/2007/05/xmldsig-more#sha3-384": "sha3_384",
    "http://www.w3.org/2007/05/xmldsig-more#sha3-512": "sha3_512",
}
_BLOCKS: Final = (".RSA", ".DSA", ".EC")
_ASIC_ONLY: Final = (".tst", ".p7s")


class Container:
    """A ZIP file that is read within bounds; names are unique, or it is refused."""

    def __init__(self, data: bytes) -> None:
        _check_directory(data)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError) as error:
            raise ExtractError(f"the ZIP file cannot be read: {error}") from None
        self._data = data
        self._left = _MAX_UNPACKED_OCTETS
        self.names = self._zip.namelist()
        if len(set(self.names)) != len(self.names):
            raise ExtractError("the ZIP file has two files of one name, of which each reader may see another")

    def read(self, name: str, limit: int = _MAX_UNPACKED_OCTETS) -> bytes:
        """Return what a file holds; raises ExtractError for more than the bounds."""
        if name not in self.names:
            raise ExtractError(f"the container has no file {name!r:.80}")
        most = min(limit, self._left)
        try:
            with self._zip.open(name) as stream:
                found = stream.read(most + 1)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error, OSError) as error:
            raise ExtractError(f"{name!r:.80} in the container cannot be read: {error}") from None
        if len(found) > most:
            raise ExtractError(f"{name!r:.80} in the container is longer than {most} bytes when unpacked")
        self._left -= len(found)
        return found

    def check_whole(self) -> None:
        """Raise ExtractError unless readers that go from file to file see what those see that go by the directory.

        The files must fill the ZIP file up to the directory, each must say of itself what the directory says of it,
        and none may be unpacked where another is.
        """
        offset = 0
        for info in sorted(self._zip.infolist(), key=lambda each: each.header_offset):
            if info.header_offset != offset:
                break
            _check_place(info)
            header = self._data[offset : offset + _HEADER.size]
            if len(header) < _HEADER.size:
                break
            mark, flags, method, size, name_size, extra_size = _HEADER.unpack(header)
            offset += _HEADER.size
            name, extra = self._data[offset:][:name_size], self._data[offset + name_size :][:extra_size]
            said = mark, name.decode("utf-8" if info.flag_bits & _UTF8 else "cp437", "replace"), method
            listed = _FILE, info.orig_filename, info.compress_type
            with_sizes = size if size != _IN_EXTRA else _large_size(extra)
            if (
                said != listed
                or (flags ^ info.flag_bits) & _HAS_DESCRIPTOR
                or (with_sizes != info.compress_size and not (flags & _HAS_DESCRIPTOR and with_sizes == 0))
            ):
                raise ExtractError(f"{info.filename!r:.80} in the container says something else than the directory")
            offset += name_size + extra_size + info.compress_size
            if info.flag_bits & _HAS_DESCRIPTOR:
                offset += 16 if self._data[offset : offset + 4] == _DESCRIPTOR else 12
        if offset != self._zip.start_dir:
            raise ExtractError(f"the ZIP file has bytes at {offset} that belong to no file that its directory lists")
        self._check_end()

    def _check_end(self) -> None:
        """Raise ExtractError unless there is one end record, at the end, which says where the directory is.

        Readers look for it in several ways, and some count the files by it.
        """
        end = self._data.rfind(_END)
        disk, first_disk, here, count, size, offset, comment = _END_RECORD.unpack_from(self._data, end)
        directory = self._zip.start_dir
        if (
            (disk, first_disk, here, count) != (0, 0, len(self.names), len(self.names))
            or (offset, offset + size, end + _END_RECORD.size + comment) != (directory, end, len(self._data))
            or self._data.find(_END, directory) != end
        ):
            raise ExtractError("the ZIP file's end record is not the only one, or not true: each reader may see others")

    def small(self, name: str) -> bytes:
        """Return a signature, a token or a manifest."""
        return self.read(name, _MAX_MEMBER_OCTETS)


def _check_place(info: zipfile.ZipInfo) -> None:
    """Raise ExtractError for a name that leads elsewhere than it says, as META-INF/../a.txt does, or a full folder."""
    name = info.filename
    folder = name.endswith("/")
    if "\0" in info.orig_filename or any(
        part in {"", ".", ".."} for part in re.split(r"[/\\]", name[:-1] if folder else name)
    ):
        raise ExtractError(f"{name!r:.80} in the container may be unpacked in the place of another file")
    if folder and info.file_size:
        raise ExtractError(f"{name!r:.80} in the container is a folder and has content")


def _large_size(extra: bytes) -> int:
    """Return the packed size that a file of the ZIP64 format says of itself, 0xFFFFFFFF when it says none."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1 and 16 <= size <= len(extra) - 4:
            return int.from_bytes(extra[12:20], "little")
        extra = extra[4 + size :]
    return _IN_EXTRA


def _check_directory(data: bytes) -> None:
    """Raise ExtractError when the central directory is too large: each entry becomes an object."""
    end = data.rfind(_END, max(0, len(data) - 22 - 0xFFFF))
    if end < 0 or end + 22 > len(data):
        raise ExtractError("the ZIP file has no end record")
    size = int.from_bytes(data[end + 12 : end + 16], "little")
    if size > _MAX_DIRECTORY_OCTETS or data[max(0, end - 20) : end].startswith(_ZIP64_LOCATOR):
        raise ExtractError(
            f"the ZIP file's directory is larger than {_MAX_DIRECTORY_OCTETS} bytes, or in the ZIP64 format"
        )


def tokens_in_container(data: bytes) -> tuple[str, Iterator[Found]]:
    """Return what the container is, and its tokens."""
    container = Container(data)
    blocks = [
        name for name in container.names if name.upper().startswith("META-INF/") and name.upper().endswith(_BLOCKS)
    ]
    if not blocks:
        return "ASiC", _in_asic(container)
    both = any(name.startswith("META-INF/") and name.lower().endswith(_ASIC_ONLY) for name in container.names)
    return "JAR", chain(_in_jar(container, blocks), _in_asic(container) if both else ())


def _in_jar(container: Container, blocks: list[str]) -> Iterator[Found]:
    for block in blocks:
        stem = block.rpartition(".")[0]
        manifest = next((name for name in container.names if name.upper() == f"{stem.upper()}.SF"), None)
        content = partial(container.small, manifest) if manifest is not None else None
        yield from tokens_in_cms(container.small(block), block, content)


def _in_asic(container: Container) -> Iterator[Found]:
    container.check_whole()
    files = [name for name in container.names if name.startswith("META-INF/")]
    manifests: dict[str, tuple[str, Names]] = {}
    for name in files:
        lower = name.lower()
        if lower.endswith(".xml") and "manifest" in lower and lower != "meta-inf/manifest.xml":
            names = read_names(container.small(name), name)
            if names.signature and names.signature in manifests:
                raise ExtractError(
                    f"{manifests[names.signature][0]} and {name} both name {names.signature!r:.80}, which is over one"
                )
            manifests[names.signature] = (name, names)
    data = [n for n in container.names if not n.startswith("META-INF/") and n != "mimetype" and not n.endswith("/")]
    for name in files:
        lower = name.lower()
        if lower.endswith(".tst"):
            covers, subject, unknown = _over(container, name, manifests, data)
            yield FoundToken(
                kind="ASiC time assertion", place=name, token=container.small(name), covers=covers, subject=subject,
                unknown=unknown,
            )  # fmt: skip
        elif lower.endswith(".p7s"):
            _, subject, _ = _over(container, name, manifests, data)
            yield from tokens_in_cms(container.small(name), name, subject)
        elif lower.endswith(".xml") and "signature" in lower:
            for kind, token in read_names(container.small(name), name).tokens:
                why = "it is over canonical XML, which is not made here"
                yield FoundToken(kind=f"XAdES {kind}", place=name, token=token, covers="parts of the XML", unknown=why)


def _over(
    container: Container, name: str, manifests: dict[str, tuple[str, Names]], data: list[str]
) -> tuple[str, Callable[[], bytes] | None, str]:
    """Return what a token or a detached signature is over, in words and as a function, or why that is not known."""
    if name in manifests:
        manifest, names = manifests[name]
        named = {reference.uri for reference in names.references}
        left_out = [each for each in data if each not in named]
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        but = f", but not {left_out[0]!r:.80}{more}" if left_out else ""
        covers = f"{manifest}, and by it {len(named)} files{but}"
        return covers, partial(_checked_manifest, container, manifest, names), ""
    if len(data) == 1:
        return data[0], partial(container.read, data[0]), ""
    return "files of the container", None, f"no manifest names it, and there are {len(data)} files"


def _checked_manifest(container: Container, manifest: str, names: Names) -> bytes:
    """Return a manifest; raises ExtractError when a file that it names is missing or another one."""
    for reference in names.references:
        algorithm = _DIGESTS.get(reference.method)
        if algorithm is None:
            raise ExtractError(f"{manifest} has the digest of {reference.uri!r:.80} with an unknown or weak method")
        found = hashlib.new(algorithm, container.read(reference.uri)).digest()
        if not hmac.compare_digest(found, reference.digest):
            raise ExtractError(f"{reference.uri!r:.80} is not what {manifest} says: its digest is another one")
    return container.small(manifest)
