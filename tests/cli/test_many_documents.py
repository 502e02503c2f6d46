"""--manifest and --bundle: documents about many timestamps, and runs that only leave a bundle."""

from __future__ import annotations

import base64
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.test_many_stamping import asked, make_files, start
from tests.cli.timestamp_shell import CHAIN, Shell
from tsa_core.cli.timestamp.many import bundle_store, outputs
from tsa_core.cli.timestamp.many.bundle_store import BundleStore
from tsa_core.testing.http_tsa import HttpTsa
from tsa_core.testing.waiting import wait_until

TRUST = ("--certificate-chain", "chain.pem")


def stamp(shell: Shell, tsa: HttpTsa, *more: str) -> str:
    outcome = shell("timestamp", "--each", "d", "--timestamp_server", tsa.url, *more)
    assert outcome.code == 0, outcome
    return outcome.out


def document(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(Path(name).read_text())
    return parsed


def change(name: str, **members: Any) -> None:
    Path(name).write_text(json.dumps({**document(name), **members}))


def test_a_manifest_lists_files_digests_and_places(shell: Shell, tsa: HttpTsa) -> None:
    make_files(3)
    odd = os.fsdecode(b"d/\xff")
    Path(odd).write_text("odd")
    stamp(shell, tsa, "--out-dir", "out", "--manifest", "m.json")
    listed = document("m.json")
    assert (listed["Format"], listed["Version"], listed["Server"]) == ("tsa-core timestamp manifest", 1, tsa.url)
    assert listed["Files"][0]["Location"] == "out/d/f000.tsr"
    assert listed["Files"][0]["Size"] == len("content of d/f000")
    assert listed["Files"][0]["Digest"].startswith("sha256:")
    outcome = shell("verify", "--manifest", "m.json", *TRUST)
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 4)
    assert shell("verify", odd, "d/f001", "--manifest", "m.json", *TRUST).code == 0
    Path("d/f001").write_text("changed")
    Path("d/f002").unlink()
    Path("new").touch()
    outcome = shell("verify", "d", "new", "--manifest", "m.json", *TRUST, "--quiet")
    assert [line.split("\t")[:2] for line in outcome.out.splitlines()] == [
        ["d/f001", "does not hold"],
        ["new", "no timestamp"],
    ]
    assert "d/f002\tcannot be read" in shell("verify", "--manifest", "m.json", *TRUST, "--quiet").out
    stamp(shell, tsa, "--out-dir", "fresh", "--manifest", "m.json")
    assert len(document("m.json")["Files"]) == 3, "written anew"


def test_a_manifest_that_lists_another_digest_does_not_hold(shell: Shell, tsa: HttpTsa) -> None:
    make_files(1)
    stamp(shell, tsa, "--manifest", "m.json")
    [file] = document("m.json")["Files"]
    change("m.json", Files=[{**file, "Digest": f"sha256:{'0' * 64}"}])
    assert "the digest that is listed" in shell("verify", "--manifest", "m.json", *TRUST).out


def test_a_manifest_that_lists_a_file_twice_is_refused(shell: Shell, tsa: HttpTsa) -> None:
    """Only one of the two would be looked at."""
    make_files(1)
    stamp(shell, tsa, "--manifest", "m.json")
    [file] = document("m.json")["Files"]
    change("m.json", Files=[{**file, "Digest": f"sha256:{'0' * 64}"}, file])
    assert "lists d/f000 twice" in shell.fails(2, "verify", "--manifest", "m.json", *TRUST)


@pytest.mark.parametrize(("flag", "kind"), [("--manifest", "manifest"), ("--bundle", "bundle")])
def test_a_list_of_no_file_is_no_verdict(shell: Shell, flag: str, kind: str) -> None:
    Path("empty").write_text(f'{{"Format": "tsa-core timestamp {kind}", "Version": 1, "Files": []}}')
    said = shell.fails(2, "verify", flag, "empty", "--certificate-chain", "chain.pem")
    assert "empty lists no file" in said


def test_other_files_are_not_written_over(shell: Shell, tsa: HttpTsa) -> None:
    make_files(1)
    Path("precious").write_text("{}")
    for flag in ("--manifest", "--bundle"):
        arguments = ("timestamp", "--each", "d", "--timestamp_server", tsa.url, flag, "precious")
        shell.fails(2, *arguments)
        assert Path("precious").read_text() == "{}"
    assert tsa.received == []
    stamp(shell, tsa, "--bundle", "precious", "--force")
    assert shell("verify", "--bundle", "precious", *TRUST).code == 0


def test_a_bundle_is_all_that_is_needed(shell: Shell, tsa: HttpTsa) -> None:
    make_files(5)
    stamp(shell, tsa, "--bundle", "b.json", "--verify-with", "chain.pem", "--certificate=false")
    assert not list(Path("d").glob("*.tsr"))
    assert not Path("b.json.part").exists()
    Path("root.pem").write_bytes(CHAIN.root.certificate.public_bytes(Encoding.PEM))
    outcome = shell("verify", "--bundle", "b.json", "--certificate-chain", "root.pem")
    assert outcome.code == 0, "with the root alone: the other certificates are in the bundle"
    assert len(outcome.out.splitlines()) == 5
    assert stamp(shell, tsa, "--bundle", "b.json", "--verify-with", "chain.pem") == (
        "files: 5; had its timestamp already: 5\n"
    )
    Path("d/f002").write_text("changed")
    assert "d/f002\tdoes not hold" in shell("verify", "d", "--bundle", "b.json", *TRUST).out
    assert document("b.json")["LogProofs"] == []


def test_a_bundle_beside_files(shell: Shell, tsa: HttpTsa) -> None:
    make_files(2)
    stamp(shell, tsa, "--bundle", "b.json", "--out-dir", "out")
    shutil.rmtree("out")
    assert shell("verify", "--bundle", "b.json", *TRUST).code == 0


def test_revocation_data_comes_with_the_bundle(shell: Shell, tsa: HttpTsa) -> None:
    make_files(2)
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(CHAIN.intermediate.certificate.subject)
    builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=1))
    key = CHAIN.intermediate.key
    Path("good.crl").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    refused = ("timestamp", "--each", "d", "--timestamp_server", tsa.url, "--crl", "good.crl")
    assert "--bundle" in shell.fails(2, *refused)
    assert "--verify-with" in shell.fails(2, *refused, "--bundle", "b.json")
    stamp(shell, tsa, "--bundle", "b.json", "--verify-with", "chain.pem", "--crl", "good.crl")
    outcome = shell("verify", "--bundle", "b.json", *TRUST, "--revocation", "signer")
    assert outcome.code == 0
    assert "not checked, of" not in outcome.err
    revoked = builder.add_revoked_certificate(
        x509.RevokedCertificateBuilder()
        .serial_number(CHAIN.signer.certificate.serial_number)
        .revocation_date(datetime(2020, 1, 1, tzinfo=UTC))
        .build()
    )
    bad = revoked.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    change("b.json", CRLs=[base64.b64encode(bad).decode()])
    assert "revoked" in shell("verify", "--bundle", "b.json", *TRUST).out


def test_a_run_that_was_killed_goes_on_in_its_bundle(shell: Shell, tsa: HttpTsa) -> None:
    make_files(20)
    arguments = ("timestamp", "--each", "d", "--timestamp_server", tsa.url, "--bundle", "b.json", "--jobs", "2")
    process = start(*arguments)
    try:
        wait_until(lambda: len(tsa.received) >= 6, seconds=60, what="6 requests")
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert not Path("b.json").exists()
    whole = Path("b.json.part").read_bytes().count(b"\n")
    assert whole >= 4
    with Path("b.json.part").open("ab") as journal:
        journal.write(b'{"File": "d/f0')  # the line that was being written
    before = len(tsa.received)
    stamp(shell, tsa, "--bundle", "b.json")
    assert len(tsa.received) - before == 20 - whole
    assert max(asked(tsa).values()) <= 2
    assert not Path("b.json.part").exists()
    assert shell("verify", "--bundle", "b.json", *TRUST).code == 0


def test_two_runs_do_not_write_one_bundle(shell: Shell, tsa: HttpTsa) -> None:
    import fcntl

    make_files(1)
    with Path("b.json.part").open("ab") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        arguments = ("timestamp", "--each", "d", "--timestamp_server", tsa.url, "--bundle", "b.json")
        assert "another timestamp-cli is writing b.json" in shell.fails(2, *arguments)
    assert tsa.received == []
    stamp(shell, tsa, "--bundle", "b.json")


def test_manifest_and_bundle_are_none_of_the_files_around_them(shell: Shell, tsa: HttpTsa) -> None:
    make_files(2)
    places = ("--manifest", "d/m.json", "--bundle", "d/b.json", "--out-dir", "d/out")
    for _ in range(2):
        assert "files: 2;" in stamp(shell, tsa, *places)
        Path("d/b.json.part").touch()  # of a run that was killed
    assert len(document("d/m.json")["Files"]) == 2
    ask = ("timestamp", "--each", "--timestamp_server", tsa.url)
    assert "files: 2;" in shell(*ask, "d/*", *places).out
    Path("d/b.json").unlink()
    Path("d/b.json.part").unlink()
    assert "files: 2; " in shell("verify", "d/[fm]*", "--manifest", "d/m.json", *TRUST).err
    before = Path("d/f000").read_bytes()
    for flag in ("--manifest", "--bundle"):
        assert "is given as one of the files" in shell.fails(2, *ask, "d/f000", flag, "d/f000", "--force")
        assert "- is none" in shell.fails(2, *ask, "d", flag, "-")
    assert "give --out-dir too" in shell.fails(2, *ask, "d", "--manifest", "x", "--bundle", "y")
    assert "the same file" in shell.fails(2, *ask, "d", "--manifest", "x", "--bundle", "d/../x")
    assert Path("d/f000").read_bytes() == before


def test_a_run_begins_with_what_another_one_has_put_into_the_bundle(shell: Shell, tsa: HttpTsa) -> None:
    make_files(2)
    with BundleStore("b.json", force=False) as store:
        assert store.bundle.entries == {}
    waiting = BundleStore("b.json", force=False)  # looks for its files, while another run begins and ends
    stamp(shell, tsa, "--bundle", "b.json")
    with waiting as store:
        assert sorted(store.bundle.entries) == ["d/f000", "d/f001"]
    assert not Path("b.json.part").exists()


def test_a_bundle_is_on_the_disk_before_its_journal_goes(
    shell: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_files(1)
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: synced.append((str(Path(f"/proc/self/fd/{fd}").readlink()), Path("b.json.part").exists())),
    )
    stamp(shell, tsa, "--bundle", "b.json")
    assert [journal for _, journal in synced] == [True, True]
    assert synced[1][0] == str(Path.cwd()), "its name, after its content"


def test_a_document_that_could_not_be_read_again_is_not_written(
    shell: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_files(1)
    arguments = ("timestamp", "--each", "d", "--timestamp_server", tsa.url, "--bundle", "b.json")
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "MAX_BUNDLE_OCTETS", 1000)
        assert "only 1,000 can be read again" in shell.fails(2, *arguments)
    assert not Path("b.json").exists()
    assert Path("b.json.part").read_bytes().count(b"\n") == 1, "what was got is not lost"
    monkeypatch.setattr(bundle_store, "MAX_BUNDLE_OCTETS", 1000)
    Path("b.json").write_text(f'{{"Format": "tsa-core timestamp bundle", {" " * 1000}')
    assert "b.json cannot be read: it has more than 1,000 bytes" in shell.fails(2, *arguments)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"Version": 2}, "it has the version 2; only 1 is known here"),
        ({"More": 1}, "'More', which is not known here"),
        ({"Files": [{"File": "a"}]}, "a without a digest"),
        ({"Files": 1}, "its Files are no list"),
        ({"Certificates": ["?"]}, "one of Certificates is not base64"),
        ({"Files": [{"File": "d/f000", "Digest": "sha256:00", "Token": "AA=="}] * 2}, "a file stands in it twice"),
    ],
)
def test_a_bundle_that_cannot_be_read_says_why(shell: Shell, tsa: HttpTsa, members: dict[str, Any], said: str) -> None:
    make_files(1)
    stamp(shell, tsa, "--bundle", "b.json")
    change("b.json", **members)
    assert said in shell.fails(2, "verify", "--bundle", "b.json", *TRUST)


def test_one_place_to_look_is_enough(shell: Shell, tsa: HttpTsa) -> None:
    make_files(1)
    stamp(shell, tsa, "--bundle", "b.json", "--out-dir", "out")
    message = shell.fails(2, "verify", "d", "--bundle", "b.json", "--out-dir", "out", *TRUST)
    assert "--out-dir and --bundle both say" in message
