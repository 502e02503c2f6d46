"""Which files a command for many is about."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import CHAIN
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.flags import Call
from tsa_core.cli.timestamp.many.item import Item, json_name, name_from_json, shown_name
from tsa_core.cli.timestamp.many.lists import read_sums
from tsa_core.cli.timestamp.many.places import base_of, check_places
from tsa_core.cli.timestamp.many.sources import find_items
from tsa_core.cli.timestamp.whole_file import TEMPORARY
from tsa_core.evidence import record_of_token
from tsa_core.protocol import oids
from tsa_core.testing import forge, require_program


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d/below").mkdir(parents=True)
    for name in ("d/b", "d/a", "d/below/c", "d/a.tsr", "d/alone.tsr", "d/.hidden", "other.txt"):
        Path(name).write_text(name)
    Path("d/a.tsr").write_bytes(a_reply())


def a_reply() -> bytes:
    return forge.reply(a_token())


def a_token() -> bytes:
    return forge.token(CHAIN.signer, forge.tst_info())


def a_record() -> bytes:
    return record_of_token(a_token()).encode()


def found(
    *paths: str, out_dir: str | None = None, lists: tuple[str, ...] = (), sums: tuple[str, ...] = ()
) -> list[Item]:
    flags = {"from_file": lists, "sums": sums, "out_dir": out_dir, "manifest": None, "bundle": None}
    return find_items(Call(flags, {}, names_server=True, paths=paths))


def names(*paths: str, out_dir: str | None = None, lists: tuple[str, ...] = ()) -> list[str]:
    return [item.name for item in found(*paths, out_dir=out_dir, lists=lists)]


def test_a_directory_means_the_files_below_it_without_their_timestamps() -> None:
    assert names("d") == ["d/.hidden", "d/a", "d/alone.tsr", "d/b", "d/below/c"]


def test_a_file_is_no_timestamp_because_of_its_name() -> None:
    """What is called like the timestamp of a file beside it, and is none, is a file like others: a signature, say."""
    others = {
        "a.tsr": forge.reply(status=2),
        "a.tst": a_reply() + b"#!/bin/sh",
        "a.p7s": forge.token(CHAIN.signer, b"a contract", content_type=oids.ID_DATA),
        "a.ers": b"#!/bin/sh",
        f"{TEMPORARY}0011223344556677": b"#!/bin/sh",
    }
    for name, data in others.items():
        Path("d/below", name).write_bytes(data)
    Path("d/below/a").touch()
    assert sorted(names("d/below")) == sorted(["d/below/a", "d/below/c", *(f"d/below/{name}" for name in others)])
    assert set(names("d/below/*.*")) == {f"d/below/{name}" for name in others if not name.startswith(".")}


@pytest.mark.parametrize("suffix", [".tsr", ".tst", ".p7s", ".ers", ""])
@pytest.mark.parametrize("form", ["reply", "token", "armored", "record", "empty"])
def test_the_timestamp_of_a_file_beside_it_is_no_file_to_be_timestamped(suffix: str, form: str) -> None:
    encoded = base64.encodebytes(a_token())
    data = {
        "reply": a_reply(),
        "token": a_token(),
        "armored": b"-----BEGIN PKCS7-----\n" + encoded + b"-----END PKCS7-----\n",
        "record": a_record(),
        "empty": b"",
    }[form]
    Path("d/below", f"c{suffix}" if suffix else f"{TEMPORARY}0011223344556677").write_bytes(data)
    assert names("d/below") == ["d/below/c"]


def test_what_is_named_is_taken_whatever_it_is_called() -> None:
    assert names("d/a.tsr", "other.txt") == ["d/a.tsr", "other.txt"]


def test_a_pattern_in_quotes_means_what_it_fits() -> None:
    assert names("d/**/[ac]*") == ["d/a", "d/alone.tsr", "d/below/c"]
    with pytest.raises(UsageMistake, match="no file fits"):
        names("d/*.pdf")
    Path("d/[x]").write_text("a file that looks like a pattern")
    assert names("d/[x]") == ["d/[x]"]


def test_each_file_counts_once() -> None:
    assert names("d/a", "./d/a", "d") == ["d/a", "d/.hidden", "d/alone.tsr", "d/b", "d/below/c"]


def test_the_output_is_not_an_input() -> None:
    assert names(".", out_dir="d/below") == ["./other.txt", "./d/.hidden", "./d/a", "./d/alone.tsr", "./d/b"]


def test_links_to_files_are_followed_and_links_to_directories_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    Path("links").mkdir()
    Path("links/file").symlink_to("../other.txt")
    Path("links/folder").symlink_to("../d")
    Path("links/loop").symlink_to(".")
    Path("links/broken").symlink_to("nothing")
    os.mkfifo("links/pipe")
    assert [(item.name, item.problem) for item in found("links")] == [
        ("links/broken", "is a link to what is not there"),
        ("links/file", None),
    ]
    assert capsys.readouterr().err.splitlines() == [
        "timestamp-cli: warning: links/folder was left out: it is a link to a directory",
        "timestamp-cli: warning: links/loop was left out: it is a link to a directory",
        "timestamp-cli: warning: links/pipe was left out: it is neither a file nor a directory",
    ]
    assert names("links/folder") == [f"links/folder/{name}" for name in (".hidden", "a", "alone.tsr", "b", "below/c")]
    assert "neither a file nor a directory" in (found("links/pipe")[0].problem or "")


def test_lists_of_names_by_line_and_by_nul() -> None:
    Path("lines").write_bytes(b"d/a\n\nother.txt\n")
    Path("nul").write_bytes(b"d/line\nend\0other.txt\0")
    Path("d/line\nend").touch()
    assert names(lists=("lines",)) == ["d/a", "other.txt"]
    assert names(lists=("nul",)) == ["d/line\nend", "other.txt"]
    Path("empty").touch()
    with pytest.raises(UsageMistake, match="empty holds no name"):
        names(lists=("empty",))


def test_what_is_not_there_does_not_keep_the_others_back() -> None:
    assert [(item.name, item.problem) for item in found("gone", "d/a")] == [
        ("gone", "cannot be read: No such file or directory"),
        ("d/a", None),
    ]


def test_standard_input_is_one_thing() -> None:
    assert names("-") == ["-"]
    with pytest.raises(UsageMistake, match="only one"):
        names("-", lists=("-",))


@pytest.mark.parametrize("program", ["sha256sum", "sha384sum", "sha512sum"])
@pytest.mark.parametrize("form", [(), ("--tag",), ("--binary",), ("--zero",), ("--tag", "--zero")], ids=" ".join)
def test_sums_as_coreutils_writes_them(program: str, form: tuple[str, ...]) -> None:
    require_program(program)
    odd = [b"d/a", b"d/with space", b"d/line\nend", b"d/back\\slash", b"d/\xff"]
    for name in odd:
        Path(os.fsdecode(name)).write_bytes(name)
    Path("SUMS").write_bytes(subprocess.run([program, *form, *odd], capture_output=True, check=True).stdout)
    algorithm = program.removesuffix("sum")
    assert [(os.fsencode(item.name), item.digest) for item in read_sums("SUMS")] == [
        (name, hashlib.new(algorithm, name).digest()) for name in odd
    ]
    assert {item.algorithm.name for item in read_sums("SUMS") if item.algorithm} == {algorithm}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("d41d8cd98f00b204e9800998ecf8427e  a", "line 2 of SUMS has a digest of MD5, SHA-1 or SHA-224"),
        ("MD5 (a) = d41d8cd98f00b204e9800998ecf8427e", "has a digest of md5, which is too weak"),
        ("BLAKE2b (a) = 00", "BLAKE2b, which is not known here"),
        ("SHA256 (a) = 00", "2 digits, which is no sha256 digest"),
        (f"{'0' * 64} a", "is not DIGEST  NAME"),
        ("no sum", "is not DIGEST  NAME"),
    ],
)
def test_a_line_that_is_no_sum_is_named(line: str, said: str) -> None:
    Path("SUMS").write_text(f"# a comment\n{line}\n")
    with pytest.raises(UsageMistake, match=said):
        read_sums("SUMS")


def test_one_file_with_two_digests_is_refused() -> None:
    Path("SUMS").write_text(f"{'0' * 64}  a\n{'1' * 64}  ./a\n")
    with pytest.raises(UsageMistake, match="two different digests"):
        found(sums=("SUMS",))


def test_places_in_a_directory_keep_the_paths() -> None:
    assert base_of("d/a", None) == "d/a"
    assert base_of("./d/../d/a", "out") == "out/d/a"
    assert base_of("/srv/a", "out") == "out/srv/a"
    assert base_of("../a", "out") == "out/a"
    with pytest.raises(UsageMistake, match=r"\.\./a and a would both be out/a"):
        check_places([Item(name="../a"), Item(name="a")], "out")


@pytest.mark.parametrize("name", ["plain", "line\nend", "tab\t\\", os.fsdecode(b"\xff\xfe"), "\u202egnp", "äö"])
def test_any_name_is_one_line_and_survives_json(name: str) -> None:
    assert shown_name(name).isprintable()
    assert name_from_json(dict(json_name(name))) == name
