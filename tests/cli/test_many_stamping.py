"""timestamp-cli timestamp FILE...: each file once, whatever happens in the middle."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell, honest
from tsa_core.cli.timestamp.whole_file import TEMPORARY
from tsa_core.protocol.request import read_request
from tsa_core.testing.http_tsa import Answer, HttpTsa
from tsa_core.testing.waiting import wait_until

# Whoever runs the tests may ignore SIGINT, as a shell does for what it runs in the background.
_MAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
PROGRAM = (sys.executable, "-c", f"{_MAIN}; from tsa_core.cli.timestamp import main; main()")


def make_files(number: int, folder: str = "d") -> list[Path]:
    Path(folder).mkdir(exist_ok=True)
    files = [Path(folder, f"f{index:03}") for index in range(number)]
    for file in files:
        file.write_text(f"content of {file}")
    return files


def asked(tsa: HttpTsa) -> Counter[bytes]:
    # A client that was killed may have sent the head of its request alone.
    return Counter(read_request(received.body).digest for received in tsa.received if received.body)


def command(tsa: HttpTsa, *more: str) -> tuple[str, ...]:
    return ("timestamp", "--each", "d", "--timestamp_server", tsa.url, *more)


def verified(shell: Shell, *more: str) -> None:
    outcome = shell("verify", "d", "--certificate-chain", "chain.pem", *more)
    assert outcome.code == 0, outcome


def refusing(status: int, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status=status, headers=headers or {})


def test_each_file_gets_a_timestamp_beside_it(shell: Shell, tsa: HttpTsa) -> None:
    files = make_files(20)
    outcome = shell(*command(tsa))
    assert (outcome.code, outcome.out) == (0, "files: 20; timestamped: 20\n")
    assert all(Path(f"{file}.tsr").exists() for file in files)
    assert set(asked(tsa).values()) == {1}
    assert Path("d/f000.tsr").stat().st_mode == files[0].stat().st_mode, "as the umask says"
    verified(shell)


def test_what_has_a_valid_timestamp_is_not_asked_for_again(shell: Shell, tsa: HttpTsa) -> None:
    files = make_files(6)
    assert shell(*command(tsa, "--out-dir", "out")).code == 0
    before = Path("out/d/f003.tsr").read_bytes()
    Path("out/d/f001.tsr").unlink()
    Path("d/new").touch()
    outcome = shell(*command(tsa, "--out-dir", "out"))
    assert (outcome.code, outcome.out) == (0, "files: 7; timestamped: 2, had its timestamp already: 5\n")
    assert len(tsa.received) == 8
    assert Path("out/d/f003.tsr").read_bytes() == before
    verified(shell, "--out-dir", "out")
    assert not [file for file in files if Path(f"{file}.tsr").exists()]


def test_what_is_there_and_does_not_hold_is_replaced_with_force_alone(shell: Shell, tsa: HttpTsa) -> None:
    make_files(3)
    assert shell(*command(tsa)).code == 0
    Path("d/f000").write_text("changed since")
    Path("d/f001.tsr").write_bytes(b"no timestamp")
    outcome = shell(*command(tsa))
    assert (outcome.code, outcome.out) == (1, "files: 4; timestamped: 1, had its timestamp already: 1, failed: 2\n")
    assert len(tsa.received) == 4, "what is no timestamp is a file like others, whatever it is called"
    assert "d/f000.tsr is there and is no timestamp of the file as it is now" in outcome.err
    assert "--force" in outcome.err
    assert Path("d/f001.tsr").read_bytes() == b"no timestamp"
    assert shell(*command(tsa, "--force")).code == 0
    verified(shell)


def test_an_empty_timestamp_as_a_power_loss_leaves_it_is_none(shell: Shell, tsa: HttpTsa) -> None:
    make_files(2)
    Path("d/f000.tsr").touch()
    Path("d/f001.tsr").write_bytes(bytes(100))
    outcome = shell(*command(tsa))
    assert (outcome.code, outcome.out) == (1, "files: 3; timestamped: 2, failed: 1\n")
    assert "d/f001: d/f001.tsr is there and is no timestamp" in outcome.err
    assert "--force for this file replaces it" in outcome.err, "with --force for all, good ones would be replaced too"
    assert shell("timestamp", "--each", "d/f001", "--force", "--timestamp_server", tsa.url).code == 0
    verified(shell)


def test_a_pipe_in_the_place_of_a_timestamp_is_not_waited_for(shell: Shell, tsa: HttpTsa) -> None:
    make_files(2)
    os.mkfifo("d/f000.tsr")
    outcome = shell(*command(tsa))
    assert (outcome.code, outcome.out) == (1, "files: 2; timestamped: 1, failed: 1\n")
    assert "d/f000.tsr is there and cannot be read: it is no regular file" in outcome.err
    outcome = shell("verify", "d", "--certificate-chain", "chain.pem")
    assert "d/f000\tcannot be read\t-\td/f000.tsr cannot be read: it is no regular file\n" in outcome.out


def test_with_a_chain_only_what_verifies_counts(shell: Shell, tsa: HttpTsa) -> None:
    make_files(2)
    assert shell(*command(tsa, "--verify-with", "chain.pem")).code == 0
    damaged = bytearray(Path("d/f001.tsr").read_bytes())
    damaged[-5] ^= 1
    Path("d/f001.tsr").write_bytes(damaged)
    outcome = shell(*command(tsa, "--verify-with", "chain.pem", "--format", "json"))
    document = json.loads(outcome.out)
    assert outcome.code == 1
    assert [file["State"] for file in document["Files"]] == ["kept", "failed"]
    assert document["Summary"] == {"stamped": 0, "kept": 1, "failed": 1, "unasked": 0}


@pytest.mark.parametrize("suffix", ["tst", "p7s"])
def test_bare_tokens(shell: Shell, tsa: HttpTsa, suffix: str) -> None:
    make_files(2)
    assert shell(*command(tsa, "--suffix", suffix)).code == 0
    assert shell(*command(tsa, "--suffix", suffix)).out == "files: 2; had its timestamp already: 2\n"
    verified(shell)
    arguments = ("--artifact", "d/f000", "--timestamp", f"d/f000.{suffix}", "--certificate-chain", "chain.pem")
    assert shell("verify", *arguments).code == 0


def test_one_bare_token_beside_the_reply_and_in_pem(shell: Shell, tsa: HttpTsa) -> None:
    stamp = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url)
    assert shell(*stamp, "--token-out", "a.p7s", "--out", "a.tsr").code == 0
    assert Path("a.tsr").read_bytes().endswith(Path("a.p7s").read_bytes())
    pem = ["openssl", "pkcs7", "-inform", "DER", "-in", "a.p7s", "-out", "pem.p7s"]
    subprocess.run(pem, check=True, capture_output=True)
    for name in ("a.tsr", "a.p7s", "pem.p7s"):
        arguments = ("verify", "--artifact", "a.txt", "--timestamp", name, "--certificate-chain", "chain.pem")
        assert shell(*arguments).code == 0, name
        assert shell("inspect", "--timestamp", name).code == 0, name
    assert shell(*stamp, "--token-out", "only.tst").code == 0
    assert not Path("response.tsr").exists()


def test_sums_are_timestamped_without_their_files(shell: Shell, tsa: HttpTsa) -> None:
    make_files(3)
    sums = subprocess.run(["sha512sum", "d/f000", "d/f001"], capture_output=True, check=True).stdout
    Path("SUMS").write_bytes(sums)
    Path("d/f001").unlink()
    arguments = ("--sums", "SUMS", "--out-dir", "out")
    assert shell("timestamp", "--each", *arguments, "--timestamp_server", tsa.url).code == 0
    outcome = shell("verify", *arguments, "--certificate-chain", "chain.pem")
    assert outcome.code == 0
    assert "were not read" in outcome.err
    assert shell("verify", "d/f000", "--out-dir", "out", "--certificate-chain", "chain.pem").code == 0


def test_a_busy_server_is_asked_when_it_said(shell: Shell) -> None:
    make_files(3)
    times: list[float] = []

    def answer(request: bytes) -> Answer:
        times.append(time.monotonic())
        return refusing(429, {"Retry-After": "1"}) if len(times) in {2, 4} else honest(request)

    with HttpTsa(answer) as tsa:
        assert shell(*command(tsa, "--jobs", "1")).code == 0
        verified(shell)
    assert len(times) == 5
    assert times[2] - times[1] >= 1
    assert times[4] - times[3] >= 1


def test_all_requests_wait_for_a_busy_server(shell: Shell) -> None:
    make_files(30)
    refused: list[float] = []
    early: list[float] = []

    def answer(request: bytes) -> Answer:
        now = time.monotonic()
        if not refused or now - refused[0] < 0.5:
            refused.append(now)
            return refusing(503, {"Retry-After": "1"})
        if now - refused[0] < 1:
            early.append(now)
        return honest(request)

    with HttpTsa(answer) as tsa:
        assert shell(*command(tsa, "--jobs", "4")).code == 0
    assert len(refused) <= 4, "one for each request that was on its way"
    assert not early
    verified(shell)


def test_a_server_that_stays_busy_ends_the_run_and_the_next_one_goes_on(shell: Shell, tsa: HttpTsa) -> None:
    make_files(5)
    good = tsa.answer
    tsa.answer = lambda request: refusing(429, {"Retry-After": "3600"}) if len(tsa.received) > 2 else good(request)
    outcome = shell(*command(tsa, "--jobs", "1"))
    assert (outcome.code, outcome.out) == (1, "files: 5; timestamped: 2, failed: 1, not asked for: 2\n")
    assert "Retry-After: 3600 seconds" in outcome.err
    assert "the same command again asks for what is missing" in outcome.err
    tsa.answer = good
    assert shell(*command(tsa)).out == "files: 5; timestamped: 3, had its timestamp already: 2\n"


def test_a_server_that_refuses_everything_is_not_asked_for_everything(shell: Shell, tsa: HttpTsa) -> None:
    make_files(60)
    tsa.answer = lambda _: refusing(403)
    outcome = shell(*command(tsa))
    assert outcome.code == 1
    assert len(tsa.received) <= 20 + 8
    assert "20 requests failed one after the other" in outcome.err


def test_an_unreadable_file_does_not_keep_the_others_back(shell: Shell, tsa: HttpTsa) -> None:
    make_files(3)
    Path("d/f001").unlink()
    Path("d/f001").symlink_to("/proc/self/mem")  # which opens, and fails when it is read
    outcome = shell(*command(tsa))
    assert (outcome.code, outcome.out) == (1, "files: 3; timestamped: 2, failed: 1\n")
    assert "d/f001: cannot be read" in outcome.err


def test_names_of_all_kinds(shell: Shell, tsa: HttpTsa) -> None:
    Path("d").mkdir()
    for name in (b"d/line\nend", b"d/\xff\xfe", b"d/-", b"d/ ", b"d/[b]rackets[/b]"[:12], b"d/" + b"n" * 252):
        Path(os.fsdecode(name)).write_bytes(name)
    outcome = shell(*command(tsa))
    assert (outcome.code, outcome.out) == (1, "files: 6; timestamped: 5, failed: 1\n")
    assert "File name too long" in outcome.err
    Path("d/" + "n" * 252).unlink()
    verified(shell)
    lines = shell("verify", "d", "--certificate-chain", "chain.pem").out.splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("d/\\xff\\xfe\tholds\t")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("d", "--suffix", "tst"), "--suffix goes with --each"),
        (("d", "--each", "--artifact", "a.txt"), "--artifact is for one timestamp"),
        (("d", "--each", "--out", "x.tsr"), "--out is for one timestamp"),
        (("d", "--each", "--timestamp_server", "http://127.0.0.1:1"), "one --timestamp_server"),
        (("d", "--each", "--hash", "sha1"), "sha1 is too weak"),
        (("--artifact", "a.txt", "--out-dir", "x"), "--out-dir goes with FILEs"),
        (("--artifact", "a.txt", "--each"), "--each goes with FILEs"),
        (("--artifact", "a.txt", "--bundle", "b"), "--bundle goes with FILEs"),
        (("--artifact", "a.txt", "--fetch-crls"), "--fetch-crls goes with FILEs"),
        (("--each", "--from-file", "nothing"), "nothing cannot be read"),
        (("--each", "e"), "no file in e"),
        (("--manifest", "m.json"), "which files?"),
        (("--artifact", "a.txt", "--max-wait", "1s"), "--max-wait goes with FILEs"),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    shell: Shell, tsa: HttpTsa, arguments: tuple[str, ...], said: str
) -> None:
    make_files(1)
    Path("e").mkdir()
    assert said in shell.fails(2, "timestamp", "--timestamp_server", tsa.url, *arguments)
    assert tsa.received == []


# --- in a process of its own ---


def start(*arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*PROGRAM, *arguments], stdout=pipe, stderr=pipe, text=True)


def test_after_an_interruption_the_same_command_does_the_rest(shell: Shell, tsa: HttpTsa) -> None:
    make_files(30)
    released = threading.Event()
    numbers = itertools.count(1)

    def slow_after_ten(request: bytes) -> Answer:
        answer = honest(request)
        return Answer(body=answer.body, wait=released) if next(numbers) > 10 else answer

    tsa.answer = slow_after_ten
    process = start(*command(tsa, "--jobs", "4"))
    try:
        wait_until(lambda: len(tsa.received) >= 14, seconds=60, what="14 requests")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "interrupted" in process.stderr.readline()
        released.set()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "files: 30; timestamped: 14, not asked for: 16\n")
    assert "the same command again asks for what is missing" in err
    outcome = shell(*command(tsa))
    assert (outcome.code, outcome.out) == (0, "files: 30; timestamped: 16, had its timestamp already: 14\n")
    assert len(tsa.received) == 30
    assert set(asked(tsa).values()) == {1}, "nothing was asked for twice"
    verified(shell)


def test_an_interruption_while_the_server_thinks_of_the_tree(shell: Shell, tsa: HttpTsa) -> None:
    make_files(10)
    released = threading.Event()
    tsa.answer = lambda request: Answer(body=honest(request).body, wait=released)
    process = start("timestamp", "d", "--timestamp_server", tsa.url)
    try:
        wait_until(lambda: len(tsa.received) == 1, seconds=60, what="the request")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "interrupted" in process.stderr.readline()
        released.set()
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "files: 10; timestamped: 10\n"), "what came is written"
    verified(shell)


def test_a_killed_run_leaves_nothing_half_written(shell: Shell, tsa: HttpTsa) -> None:
    make_files(20)
    process = start(*command(tsa, "--jobs", "2"))
    try:
        wait_until(lambda: len(tsa.received) >= 5, seconds=60, what="5 requests")
    finally:
        process.kill()
        process.communicate(timeout=60)
    Path(f"d/{TEMPORARY}0123").write_bytes(b"half a timesta")  # as if it had been killed in that moment
    assert shell(*command(tsa)).code == 0
    assert max(asked(tsa).values()) <= 2
    verified(shell)


def test_two_runs_at_once(shell: Shell, tsa: HttpTsa) -> None:
    make_files(40)
    processes = [start(*command(tsa, "--out-dir", "out", "--jobs", "2")) for _ in range(2)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    stamped = [int(out.partition("timestamped: ")[2].partition(",")[0] or 0) for out, _ in results]
    assert sum(stamped) == 40, "each timestamp was put in its place by one of them"
    assert not list(Path("out").rglob(f"{TEMPORARY}*"))
    verified(shell, "--out-dir", "out")


def test_a_full_disk_ends_the_run(shell: Shell, tsa: HttpTsa) -> None:
    make_files(40)
    # A limit on the size of files fails as a full disk does.
    words = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *PROGRAM, *command(tsa, "--jobs", "2")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stderr
    assert len(tsa.received) <= 4, "what cannot be stored is not asked for"
    assert not list(Path("d").glob("*.tsr"))
    assert not list(Path("d").glob(f"{TEMPORARY}*"))
    assert shell(*command(tsa)).code == 0
    verified(shell)


def test_a_full_disk_leaves_an_older_timestamp_and_no_half_of_a_new_one(shell: Shell, tsa: HttpTsa) -> None:
    Path("old.tsr").write_bytes(b"an older timestamp")
    for out in ("old.tsr", "new.tsr"):
        ask = ("timestamp", "--artifact", "a.txt", "--out", out, "--force", "--timestamp_server", tsa.url)
        words = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *PROGRAM, *ask]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"{out} cannot be written: File too large" in done.stderr
    assert Path("old.tsr").read_bytes() == b"an older timestamp"
    assert not Path("new.tsr").exists()
    assert not list(Path.cwd().glob(f"{TEMPORARY}*"))
    Path("link.tsr").symlink_to("old.tsr")
    assert shell("timestamp", "--artifact", "a.txt", "--out", "link.tsr", "--timestamp_server", tsa.url).code == 2
    assert (
        shell("timestamp", "--artifact", "a.txt", "--out", "link.tsr", "--force", "--timestamp_server", tsa.url).code
        == 0
    )
    assert Path("link.tsr").is_symlink()
    trust = ("--certificate-chain", "chain.pem")
    assert shell("verify", "--artifact", "a.txt", "--timestamp", "old.tsr", *trust).code == 0
