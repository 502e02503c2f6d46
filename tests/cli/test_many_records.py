"""timestamp-cli timestamp FILE... without --each: one request, and an evidence record for each file."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_many_stamping import make_files, refusing
from tests.cli.timestamp_shell import CHAIN, Shell, honest
from tsa_core.evidence import verify_record
from tsa_core.testing.http_tsa import Answer, HttpTsa
from tsa_core.verify import TrustStore

TRUST = ("--certificate-chain", "chain.pem")
TREE = ("timestamp", "d", "--timestamp_server")


def test_the_server_is_asked_once(shell: Shell, tsa: HttpTsa) -> None:
    files = make_files(50)
    Path("d/copy").write_bytes(files[0].read_bytes())
    outcome = shell(*TREE, tsa.url, "--verify-with", "chain.pem")
    assert (outcome.code, outcome.out) == (0, "files: 51; timestamped: 51\n")
    assert len(tsa.received) == 1
    trust = TrustStore.from_chain(CHAIN.pem)
    for file in files[::7]:
        verify_record(Path(f"{file}.ers").read_bytes(), file, trust=trust)
    outcome = shell("verify", "d", *TRUST)
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 51)
    assert "whether the signer's certificate was revoked" in outcome.err
    files[3].write_text("changed")
    assert shell("verify", "d", *TRUST, "--quiet").out.split("\t")[:2] == ["d/f003", "does not hold"]
    files[3].rename("d/moved")
    Path("d/f003.ers").rename("d/moved.ers")
    Path("d/moved").write_text("content of d/f003")
    assert shell("verify", "d", *TRUST).code == 0, "a record is about the content, not about the name"


@pytest.mark.parametrize("trusting", [(), ("--verify-with", "chain.pem")], ids=["unverified", "verified"])
def test_the_same_command_again_asks_for_what_is_new(shell: Shell, tsa: HttpTsa, trusting: tuple[str, ...]) -> None:
    files = make_files(8)
    assert shell(*TREE, tsa.url, *trusting).code == 0
    assert shell(*TREE, tsa.url, *trusting).out == "files: 8; had its timestamp already: 8\n"
    assert len(tsa.received) == 1
    Path("d/new").touch()
    files[2].write_text("changed")
    damaged = bytearray(Path("d/f005.ers").read_bytes())
    damaged[-10] ^= 1
    Path("d/f005.ers").write_bytes(damaged)
    outcome = shell(*TREE, tsa.url, *trusting)
    assert (outcome.code, outcome.out) == (
        1,
        "files: 9; timestamped: 1, had its timestamp already: 6, failed: 2\n",
    )
    assert "d/f002.ers is there and is no timestamp of the file as it is now" in outcome.err
    assert len(tsa.received) == 2
    assert shell(*TREE, tsa.url, *trusting, "--force").code == 0
    assert len(tsa.received) == 3
    assert shell("verify", "d", *TRUST).code == 0


def test_one_tree_for_each_hash(shell: Shell, tsa: HttpTsa) -> None:
    make_files(6)
    for program, names in (("sha256sum", ("d/f000", "d/f001")), ("sha512sum", ("d/f002", "d/f003"))):
        Path(program).write_bytes(subprocess.run([program, *names], capture_output=True, check=True).stdout)
    sums = ("--sums", "sha256sum", "--sums", "sha512sum", "--out-dir", "out")
    assert shell("timestamp", *sums, "--timestamp_server", tsa.url).code == 0
    assert len(tsa.received) == 2
    assert shell("verify", *sums, *TRUST).code == 0
    assert shell("verify", "d/f000", "d/f003", "--out-dir", "out", *TRUST).code == 0


def test_records_in_a_bundle_and_in_a_manifest(shell: Shell, tsa: HttpTsa) -> None:
    make_files(5)
    arguments = ("--bundle", "b.json", "--verify-with", "chain.pem")
    assert shell(*TREE, tsa.url, *arguments).code == 0
    assert not list(Path("d").glob("*.ers"))
    assert all("EvidenceRecord" in file for file in json.loads(Path("b.json").read_text())["Files"])
    assert shell(*TREE, tsa.url, *arguments).out == "files: 5; had its timestamp already: 5\n"
    assert shell("verify", "--bundle", "b.json", *TRUST).code == 0
    assert shell(*TREE, tsa.url, "--out-dir", "out", "--manifest", "m.json").code == 0
    assert shell("verify", "--manifest", "m.json", *TRUST).code == 0
    manifest = json.loads(Path("m.json").read_text())
    manifest["Files"][1]["Digest"] = f"sha256:{'0' * 64}"
    Path("m.json").write_text(json.dumps(manifest))
    assert "the digest that is listed" in shell("verify", "--manifest", "m.json", *TRUST, "--quiet").out
    shutil.rmtree("out")
    assert "which the manifest names, is not there" in shell("verify", "--manifest", "m.json", *TRUST).out


def test_what_goes_wrong_is_told_once(shell: Shell, tsa: HttpTsa) -> None:
    make_files(20)
    tsa.answer = lambda _: refusing(403)
    outcome = shell(*TREE, tsa.url)
    assert (outcome.code, outcome.out) == (1, "files: 20; failed: 20\n")
    assert outcome.err.count("HTTP status 403") == 1
    assert not list(Path("d").glob("*.ers"))
    answers = iter([refusing(503, {"Retry-After": "1"})])

    def busy(request: bytes) -> Answer:
        return next(answers, None) or honest(request)

    tsa.answer = busy
    Path("d/f004").unlink()
    Path("d/f004").symlink_to("nowhere")
    outcome = shell(*TREE, tsa.url)
    assert (outcome.code, outcome.out) == (1, "files: 20; timestamped: 19, failed: 1\n")
    assert len(tsa.received) == 3


def test_a_record_that_was_renewed_is_verified_too(shell: Shell, tsa: HttpTsa) -> None:
    from tsa_core.client import TimestampClient
    from tsa_core.evidence import EvidenceRecord, renew_hash_trees, renew_timestamps, stamper

    [file, _] = make_files(2)
    assert shell(*TREE, tsa.url).code == 0
    place = Path(f"{file}.ers")
    with TimestampClient(tsa.url) as client:
        [record] = renew_timestamps([EvidenceRecord.from_der(place.read_bytes())], stamper(client))
        [record] = renew_hash_trees([record], [file], stamper(client), hash_name="sha512")
    place.write_bytes(record.encode())
    assert shell("verify", "d", *TRUST).code == 0
    assert shell(*TREE, tsa.url).out == "files: 2; had its timestamp already: 2\n"
