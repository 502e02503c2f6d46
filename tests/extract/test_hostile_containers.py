"""Containers of which readers see different files: each is refused, whichever of them we read."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import struct
import zipfile

import pytest

from tests.extract import signed_files
from tests.extract.signed_files import token
from tests.extract.test_extract import DATA, VERIFIER
from tests.extract.test_hostile_files import refused
from tsa_core.extract import extract
from tsa_core.extract.checking import Outcome, check


def test_two_files_of_one_name() -> None:
    data = signed_files.zipped({"a": b"1", "b": b"2"})
    assert "two files of one name" in refused(data.replace(b"b", b"a"))


def test_a_file_that_only_some_readers_of_a_container_see() -> None:
    """One that the directory does not list lies before, between or behind the others, under a name that it lists."""
    files = {"a.txt": DATA, "META-INF/timestamp.tst": token(DATA)}
    whole, hidden = signed_files.zipped(files), signed_files.zipped({"a.txt": b"another contract"})
    hidden = hidden[: hidden.index(b"PK\x01\x02")]
    assert len(extract(whole).tokens) == 1
    second, directory = whole.index(b"PK\x03\x04", 1), whole.index(b"PK\x01\x02")
    for place in (0, second, directory):
        data = bytearray(whole[:place] + hidden + whole[place:])
        end = data.rindex(b"PK\x05\x06")
        struct.pack_into("<I", data, end + 16, directory + len(hidden))
        for entry, offset in zip((m.start() for m in re.finditer(b"PK\x01\x02", data)), (0, second), strict=True):
            struct.pack_into("<I", data, entry + 42, offset + (len(hidden) if place <= offset else 0))
        assert zipfile.ZipFile(io.BytesIO(data)).read("a.txt") == DATA
        assert "belong to no file that its directory lists" in refused(bytes(data)), place


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("META-INF/../a.txt", "in the place of another file"),
        ("META-INF/x\\..\\..\\a.txt", "in the place of another file"),
        ("META-INF//a.txt", "in the place of another file"),
        ("META-INF/a.txt\0.xml", "in the place of another file"),
        ("a.txt/", "a folder and has content"),
    ],
    ids=["parent", "backslashes", "empty part", "NUL", "folder"],
)
def test_a_file_that_is_unpacked_in_the_place_of_another(name: str, reason: str) -> None:
    """What stands in META-INF is no data of a container, and whoever unpacks it there would find other data."""
    files = {"a.txt": DATA, "META-INF/timestamp.tst": token(DATA), "P" * len(name): b"another contract"}
    whole = signed_files.zipped(files).replace(b"P" * len(name), name.encode())
    assert reason in refused(whole)
    del files["P" * len(name)]
    assert len(extract(signed_files.zipped({"META-INF/": b"", **files})).tokens) == 1


@pytest.mark.parametrize("field", ["name", "method", "descriptor", "size", "large size"])
def test_a_file_that_says_another_thing_of_itself_than_the_directory(field: str) -> None:
    """Readers that go from file to file without the directory would see another a.txt, or one inside of a file."""
    hidden = signed_files.zipped({"a.txt": b"another contract"})
    files = {"a.txt": DATA, "META-INF/timestamp.tst": token(DATA), "META-INF/b": hidden}
    data = bytearray(signed_files.zipped(files))
    assert len(extract(bytes(data)).tokens) == 1
    name = data.index(b"META-INF/b")
    if field == "name":
        data[name : name + 10] = b".//./a.txt"
    elif field == "large size":
        extra = struct.pack("<HHQQ", 1, 16, len(hidden), len(hidden))
        data[name + 10 : name + 10] = extra
        struct.pack_into("<II", data, name - 12, 0xFFFFFFFF, 0xFFFFFFFF)
        struct.pack_into("<H", data, name - 2, len(extra))
        end = data.rindex(b"PK\x05\x06")
        struct.pack_into("<I", data, end + 16, struct.unpack_from("<I", data, end + 16)[0] + len(extra))
        assert len(extract(bytes(data)).tokens) == 1, "the size is the same in the extra field"
        struct.pack_into("<Q", data, name + 10 + 12, 0)
    else:
        form, place, value = {"method": ("<H", 22, 8), "descriptor": ("<H", 24, 8), "size": ("<I", 12, 0)}[field]
        struct.pack_into(form, data, name - place, value)
    assert "says something else than the directory" in refused(bytes(data))


@pytest.mark.parametrize("change", ["bytes behind", "two records", "count", "place", "disk"])
def test_an_end_record_by_which_readers_see_different_files(change: str) -> None:
    """Some take the last record, some the one whose comment ends the file; some go by the number, some by the place."""
    hidden = signed_files.zipped({"a.txt": b"another contract"})
    files = {"a.txt": DATA, "META-INF/timestamp.tst": token(DATA), "META-INF/b": b"P" * len(hidden)}
    data = bytearray(signed_files.zipped(files))
    end = data.rindex(b"PK\x05\x06")
    commented = data[:end] + data[end:-2] + b"\2\0ok"
    assert len(extract(bytes(data)).tokens) == len(extract(bytes(commented)).tokens) == 1
    if change == "bytes behind":
        data += b"ok"
    elif change == "two records":
        # The whole of another container is a file here, and what follows it is the comment of its end record.
        inner = bytearray(hidden)
        at = data.index(b"P" * len(hidden))
        behind = len(data) + 1 - at - len(hidden)
        struct.pack_into("<H", inner, len(inner) - 2, behind)
        directory = hidden.index(b"PK\x01\x02")
        struct.pack_into("<I", inner, directory + 42, at)
        struct.pack_into("<I", inner, len(inner) - 6, at + directory)
        files["META-INF/b"] = bytes(inner)
        data = bytearray(signed_files.zipped(files)) + b"\n"
        assert data.rindex(b"PK\x05\x06") == end
    elif change == "count":
        struct.pack_into("<HH", data, end + 8, 2, 2)
    elif change == "place":
        struct.pack_into("<I", data, end + 16, struct.unpack_from("<I", data, end + 16)[0] + 7)
        for found in re.finditer(b"PK\x01\x02", bytes(data)):
            struct.pack_into("<I", data, found.start() + 42, struct.unpack_from("<I", data, found.start() + 42)[0] + 7)
    else:
        struct.pack_into("<H", data, end + 4, 1)
    assert re.search("not the only one, or not true|cannot be read", refused(bytes(data)))


def test_a_container_that_was_written_to_a_pipe() -> None:
    """Its files have their sizes behind them."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"a.txt": DATA, "META-INF/timestamp.tst": token(DATA)}.items():
            archive.writestr(name, content)
    with os.fdopen(reader, "rb") as written:
        data = written.read()
    assert b"PK\x07\x08" in data
    assert [check(each, VERIFIER).outcome for each in extract(data).tokens] == [Outcome.VERIFIED]


OTHERS = "<ds:DigestValue>b3RoZXI=</ds:DigestValue>"


@pytest.mark.parametrize(
    ("what", "before", "after"),
    [
        ("SigReference", "</asic:ASiCManifest>", '<asic:SigReference URI="META-INF/other.tst"/></asic:ASiCManifest>'),
        ("SigReference", "<asic:SigReference", '<asic:SigReference URI=""/><asic:SigReference'),
        ("SigReference", "</asic:ASiCManifest>", '<x><asic:SigReference URI="o"/></x></asic:ASiCManifest>'),
        ("DigestValue", "<ds:DigestValue>", f"{OTHERS}<ds:DigestValue>"),
        ("DigestValue", "<ds:DigestValue>", f"<x>{OTHERS}</x><ds:DigestValue>"),
        ("DigestMethod", "<ds:DigestMethod", '<ds:DigestMethod Algorithm="urn:x"/><ds:DigestMethod'),
        ("DataObjectReference", "<asic:DataObjectReference", "<x/><asic:DataObjectReference"),
        ("within a value", "</ds:DigestValue>", "<x/></ds:DigestValue>"),
    ],
)
def test_parts_of_a_manifest_of_which_readers_may_take_another(what: str, before: str, after: str) -> None:
    """Others go by the first or the last, and by the place that the schema gives."""
    files = signed_files.asic_e({"a.txt": DATA})
    manifest = files["META-INF/ASiCManifest1.xml"].decode().replace(before, after, 1)
    if what == "DataObjectReference":
        manifest = manifest.replace("<x/>", "<x>").replace("</asic:ASiCManifest>", "</x></asic:ASiCManifest>")
    files["META-INF/ASiCManifest1.xml"] = manifest.encode()
    files["META-INF/timestamp1.tst"] = token(manifest.encode())
    assert what in refused(signed_files.zipped(files))


def test_a_digest_of_another_namespace_is_not_the_manifests() -> None:
    files = signed_files.asic_e({"a.txt": DATA})
    digest = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    own = f"</ds:DigestValue><DigestValue xmlns='urn:x'>{digest}</DigestValue>"
    manifest = files["META-INF/ASiCManifest1.xml"].replace(b"</ds:DigestValue>", own.encode())
    changed = {**files, "META-INF/ASiCManifest1.xml": manifest, "META-INF/timestamp1.tst": token(manifest)}
    (found,) = extract(signed_files.zipped({**changed, "a.txt": b"other"})).tokens
    assert check(found, VERIFIER).outcome is Outcome.REFUSED
    (found,) = extract(signed_files.zipped(changed)).tokens
    assert check(found, VERIFIER).outcome is Outcome.VERIFIED


def test_two_manifests_of_one_token() -> None:
    files = signed_files.asic_e({"a.txt": DATA})
    files["META-INF/ASiCManifest0.xml"] = files["META-INF/ASiCManifest1.xml"]
    assert "both name 'META-INF/timestamp1.tst'" in refused(signed_files.zipped(files))
