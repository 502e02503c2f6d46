"""Paths, bytes and open files are taken by every public function; what could be two of them is refused."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.client import TimestampClient, build_request, stamp_all
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import read_request
from tsa_core.sources import Source, chunks, octets
from tsa_core.testing.http_tsa import HttpTsa
from tsa_core.verify import (
    ImprintMismatch,
    MalformedTimestamp,
    PathError,
    Revocation,
    RevocationUnknown,
    TrustStore,
    Verifier,
    check_answer,
    hash_artifact,
    verify_request,
    verify_response,
    verify_token,
)

Give = Callable[[Path], Source]
FORMS: dict[str, Give] = {
    "str": str,
    "path": lambda path: path,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file": lambda path: io.BytesIO(path.read_bytes()),
}
each_form = pytest.mark.parametrize("give", FORMS.values(), ids=FORMS.keys())


def bare_token(reply: bytes) -> bytes:
    id_signed_data = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"  # the token's first field
    return reply[reply.rindex(b"\x30", 0, reply.index(id_signed_data)) :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "a.txt").write_bytes(b"hello")
    (folder / "chain.pem").write_bytes(CHAIN.pem)
    (folder / "signer.pem").write_bytes(CHAIN.signer.certificate.public_bytes(Encoding.PEM))
    with HttpTsa(honest) as tsa:
        stamp = TimestampClient(tsa.url).stamp(artifact=str(folder / "a.txt"))
    (folder / "r.tsr").write_bytes(stamp.reply)
    (folder / "r.tsq").write_bytes(stamp.request)
    (folder / "t.tst").write_bytes(bare_token(stamp.reply))
    return folder


@each_form
def test_verification_takes_every_form_of_everything(folder: Path, give: Give) -> None:
    verified = verify_response(
        give(folder / "r.tsr"),
        artifact=give(folder / "a.txt"),
        request=give(folder / "r.tsq"),
        trust=give(folder / "chain.pem"),
        tsa_certificate=give(folder / "signer.pem"),
    )
    assert verified.signer_certificate == CHAIN.signer.certificate
    with pytest.raises(ImprintMismatch):
        verify_response(give(folder / "r.tsr"), artifact=give(folder / "chain.pem"), trust=give(folder / "chain.pem"))


@each_form
def test_the_other_calls_take_every_form(folder: Path, give: Give) -> None:
    assert verify_token(give(folder / "t.tst"), artifact=b"hello", trust=give(folder / "chain.pem")).status is None
    assert verify_request(give(folder / "r.tsq")).digest == SHA256.digest(b"hello")
    assert check_answer(give(folder / "r.tsr"), give(folder / "r.tsq")).hashed_message == SHA256.digest(b"hello")
    assert hash_artifact(give(folder / "a.txt"), SHA256) == SHA256.digest(b"hello")
    assert read_request(build_request(artifact=give(folder / "a.txt"))).digest == SHA256.digest(b"hello")
    chain = TrustStore.from_chain(give(folder / "chain.pem"))
    assert TrustStore.read(give(folder / "chain.pem")) == chain
    roots = TrustStore.from_files(give(folder / "chain.pem"), give(folder / "chain.pem"))
    assert set(chain.roots) < set(roots.roots)
    with pytest.raises(RevocationUnknown, match="CRL"):
        Revocation.from_files(crls=[give(folder / "chain.pem")])


def test_clients_take_paths(folder: Path) -> None:
    with HttpTsa(honest) as tsa:
        got = stamp_all([tsa.url], artifact=folder / "a.txt", verifier=Verifier(folder / "chain.pem"))
    assert got.timestamps[0].tst_info.hashed_message == SHA256.digest(b"hello")


@pytest.mark.parametrize("text", [CHAIN.pem.decode(), '{"mediaType": 1}', "", "a\0b", "x" * 5000, "two\nlines"])
def test_a_str_that_is_content_is_refused_and_not_looked_for_as_a_file(text: str) -> None:
    with pytest.raises(TypeError, match="a str is the path of a file"):
        TrustStore.read(text)


@pytest.mark.parametrize("wrong", [7, None, ["a"], object()], ids=["number", "none", "list", "object"])
def test_what_is_no_source_is_told_what_may_be_given(folder: Path, wrong: Any) -> None:
    with pytest.raises(TypeError, match="give a path"):
        verify_response(wrong, artifact=b"hello", trust=folder / "chain.pem")


def test_a_path_of_bytes_is_content(folder: Path) -> None:
    with pytest.raises(MalformedTimestamp):
        verify_response(os.fsencode(folder / "r.tsr"), artifact=b"hello", trust=folder / "chain.pem")


def test_a_file_opened_for_text_is_refused(folder: Path) -> None:
    with (folder / "a.txt").open(encoding="utf-8") as text, pytest.raises(TypeError, match="'rb'"):
        hash_artifact(text, SHA256)  # type: ignore[arg-type] # the mistake that is tested


def test_a_digest_in_hexadecimal_is_refused(folder: Path) -> None:
    digest: Any = SHA256.digest(b"hello").hex()
    with pytest.raises(TypeError, match=r"bytes\.fromhex"):
        verify_response(folder / "r.tsr", digest=digest, trust=folder / "chain.pem")
    with pytest.raises(TypeError, match=r"bytes\.fromhex"):
        build_request(digest=digest)


def test_a_file_that_is_not_there_is_an_os_error_with_its_name(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.tsr"):
        verify_response(folder / "missing.tsr", artifact=b"hello", trust=folder / "chain.pem")
    with pytest.raises(IsADirectoryError):
        verify_response(folder / "r.tsr", artifact=folder, trust=folder / "chain.pem")


def test_a_file_is_read_no_further_than_shows_that_it_is_too_large(folder: Path) -> None:
    endless = io.BufferedReader(io.FileIO("/dev/zero"))
    with endless, pytest.raises(MalformedTimestamp, match="bytes"):
        verify_response(endless, artifact=b"hello", trust=folder / "chain.pem")
    with pytest.raises(MalformedTimestamp, match="bytes"):
        verify_response("/dev/zero", artifact=b"hello", trust=folder / "chain.pem")
    with pytest.raises(PathError, match="more than"):
        TrustStore.read("/dev/zero")


def test_an_open_file_is_read_from_where_it_stands_and_stays_open() -> None:
    file = io.BytesIO(b"....hello")
    file.seek(4)
    assert octets(file, "it", 100) == b"hello"
    assert not file.closed


def test_pieces_of_a_pipe_are_put_together() -> None:
    end, begin = os.pipe()
    with os.fdopen(end, "rb", buffering=0) as file:
        os.write(begin, b"hel")
        pieces = chunks(file, "it")
        assert next(pieces) == b"hel"
        os.write(begin, b"lo")
        os.close(begin)
        assert list(pieces) == [b"lo"]
