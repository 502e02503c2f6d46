"""Back up while two processes serve, restore elsewhere, and go on: as docs/operate/recovery.md says."""

from __future__ import annotations

import json
import re
import shutil
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.service.anchored_trail import OtherTsa, run
from tsa_core.testing import Pki, ServerProcess, encode_request, new_key, on_threads, wait_until
from tsa_core.verify import TrustStore, verify_response

pytestmark = [pytest.mark.plugin("auditfile"), pytest.mark.plugin("file")]


@pytest.fixture
def live(tmp_path: Path, pki: Pki, others: list[OtherTsa]) -> Path:
    """The folder of an authority with a key in a file, a trail in several files and state."""
    folder = tmp_path / "live"
    folder.mkdir()
    key = new_key("ecdsa-p256")
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password"))
    (folder / "tsa.key").write_bytes(encrypted)
    (folder / "tsa.key").chmod(0o600)
    (folder / "tsa.password").write_text("a password")
    (folder / "tsa.password").chmod(0o600)
    pki.write_chain(folder / "chain.pem", key.public_key())
    (folder / "roots.pem").write_bytes(pki.root.public_bytes(Encoding.PEM))
    (folder / "tsa.toml").write_text(
        '[server]\nstate_directory = "state"\n[metrics]\nenabled = false\n'
        '[profiles.default]\nsigner = "file:tsa.key"\ncertificate_chain = "chain.pem"\n'
        '[signer.file]\npassword = { file = "tsa.password" }\n'
        f'[audit]\nsinks = ["auditfile"]\nanchor_urls = ["{others[0].http.url}"]\nanchor_roots = "roots.pem"\n'
        'anchor_interval = "1s"\n[audit.auditfile]\npath = "trail/audit.jsonl"\nmax_size = 4000\n'
    )
    return folder


def back_up(live: Path, to: Path) -> None:
    """Copy an authority that serves: what the trail covers before the trail, and of that the current file last."""
    to.mkdir()
    for name in ("tsa.toml", "tsa.key", "tsa.password", "chain.pem", "roots.pem"):
        shutil.copy2(live / name, to / name)
    shutil.copytree(live / "state", to / "state")
    (to / "trail").mkdir()
    shutil.copytree(live / "trail" / "audit.jsonl.anchors", to / "trail" / "audit.jsonl.anchors")
    for path in sorted((live / "trail").glob("audit-*.jsonl")):
        shutil.copy2(path, to / "trail")
    shutil.copy2(live / "trail" / "audit.jsonl", to / "trail")


def serials(folder: Path) -> list[str]:
    files = (folder / "trail").glob("audit*.jsonl")
    lines = [json.loads(line) for path in files for line in path.read_bytes().splitlines()]
    return [line["serial"] for line in lines if line["type"] == "token"]


def anchors_made(server: ServerProcess) -> list[str]:
    return re.findall(r"audit trail auditfile: anchor (\d+) stamped by", server.log)


def test_a_backup_that_was_made_while_serving_is_restored_elsewhere(live: Path, tmp_path: Path) -> None:
    backup = tmp_path / "elsewhere"
    replies: list[bytes] = []
    ending = threading.Event()

    def keep_asking() -> None:
        while not ending.is_set():
            replies.append(server.stamp(encode_request()).body)
            ending.wait(0.01)

    with ServerProcess(live / "tsa.toml", "--workers", "2") as server:
        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            server.wait_for_log("audit trail auditfile: anchor 2 stamped by")
            wait_until(lambda: len(replies) > 20, seconds=120, what="there are tokens in several files")
            attempt = 0
            while not backup.is_dir() or run("verify", "--config", backup / "tsa.toml").exit_code:
                assert attempt < 20, run("verify", "--config", backup / "tsa.toml").output
                attempt += 1  # a file was rotated between two copies: once a day outside of tests
                shutil.rmtree(backup, ignore_errors=True)
                back_up(live, backup)
            asked = len(replies)
            wait_until(lambda: len(replies) > asked, seconds=120, what="tokens are issued after the backup")
        finally:
            ending.set()
            asking.join()
    made = anchors_made(server)
    assert made == [str(number) for number in range(1, len(made) + 1)], "one of the workers makes each anchor"
    assert run("verify", "--config", live / "tsa.toml").exit_code == 0
    assert len(serials(live)) == len(set(serials(live))) == len(replies)

    head = run("verify", "--config", backup / "tsa.toml").stdout.splitlines()
    last = next(line for line in reversed(head) if ".jsonl: " in line).rpartition("; ")[2]
    before = set(serials(backup))
    assert before < set(serials(live))
    with ServerProcess(backup / "tsa.toml") as restored:
        later = on_threads(lambda _: restored.stamp(encode_request()).body, range(5))
        known = len(json_numbers(backup))
        wait_until(lambda: len(json_numbers(backup)) > known, seconds=120, what="the restored trail is anchored")
    assert run("verify", "--anchor", last, "--config", backup / "tsa.toml").exit_code == 0, "the head goes on"
    after = serials(backup)
    assert len(after) == len(before) + len(later)
    assert len({*serials(live), *after}) == len(serials(live)) + len(later), "serial numbers are never used twice"
    trust = TrustStore.from_chain((live / "chain.pem").read_bytes())
    for reply in (replies[0], later[0]):
        verify_response(reply, trust=trust, artifact=b"tsa-core")


def json_numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "trail" / "audit.jsonl.anchors").glob("*.json"))
