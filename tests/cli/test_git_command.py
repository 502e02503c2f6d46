"""timestamp-cli git: what is stamped, what verify says of a history, and repositories that mean harm."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell
from tsa_core.git import GitError, Repository, repository
from tsa_core.testing import ends_within
from tsa_core.testing.http_tsa import HttpTsa
from tsa_core.testing.programs import require_program

TRUST = ("--certificate-chain", "chain.pem")
IN = ("--repository", "repo")
Git = Callable[..., str]


@pytest.fixture
def git(shell: Shell) -> Git:
    """A repository with two commits and a tag, and the program git in it."""
    program = require_program("git")
    environ = {
        **os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }  # fmt: skip
    Path("repo").mkdir()

    def run(*words: str, data: bytes = b"") -> str:
        done = subprocess.run([program, "-C", "repo", *words], input=data, capture_output=True, env=environ, check=True)
        return done.stdout.decode().strip()

    run("init", "-q", "-b", "main")
    for number in (1, 2):
        Path("repo/a.txt").write_text(f"{number}\n")
        Path("repo/b c.sh").write_text("echo\n")
        run("add", ".")
        run("commit", "-q", "-m", f"commit {number}")
    run("tag", "-a", "-m", "first", "v1")
    return run


@pytest.fixture
def stamp(tsa: HttpTsa) -> tuple[str, ...]:
    return ("git", "stamp", *IN, "--timestamp_server", tsa.url)


def test_stamp_and_verify(shell: Shell, git: Git, stamp: tuple[str, ...], tsa: HttpTsa) -> None:
    head = git("rev-parse", "HEAD")
    assert shell(*stamp).out == f"{head} 2025-06-01T12:00:00Z\n"
    assert shell(*stamp).out == f"{head} has a timestamp already\n"
    assert len(tsa.received) == 1
    outcome = shell("git", "verify", *IN, *TRUST)
    assert (outcome.code, outcome.out) == (0, f"{head}\tverified\t2025-06-01T12:00:00Z\t\n")
    assert shell(*stamp, "--again", "--hash", "sha512").code == 0
    assert git("notes", "--ref=timestamps", "show", head).count("BEGIN PKCS7") == 2
    document = json.loads(shell("git", "verify", *IN, *TRUST, "--format", "json").out)
    assert document["Objects"][0]["Verdict"] == "verified"


def test_a_range_tells_the_commits_without_a_timestamp(shell: Shell, git: Git, stamp: tuple[str, ...]) -> None:
    root, head = git("rev-parse", "HEAD~1"), git("rev-parse", "HEAD")
    assert shell(*stamp, "v1", root).code == 0
    outcome = shell("git", "verify", *IN, *TRUST, "v1", "HEAD~1", f"{root}..main")
    assert outcome.code == 1
    assert [line.split("\t")[:2] for line in outcome.out.splitlines()] == [
        [git("rev-parse", "v1"), "verified"],
        [root, "verified"],
        [head, "no timestamp"],
    ]
    not_checked, failed = outcome.err.splitlines()
    assert not_checked.startswith(
        "timestamp-cli: not checked: the signatures of commits and tags, and the commits before"
    )
    assert failed == "timestamp-cli: of 3 objects 1 have no timestamp, 0 have none that holds"
    assert shell("git", "verify", *IN, *TRUST, "--allow-unstamped", "v1", f"{root}..main").code == 0
    over_nothing = shell("git", "verify", *IN, *TRUST, "--allow-unstamped", f"{root}..main")
    assert over_nothing.code == 1
    assert "of 1 objects 1 have no timestamp, 0 have none that holds; were the notes fetched?" in over_nothing.err


def test_the_statement_is_of_the_content(git: Git) -> None:
    def sha256(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    commit = subprocess.run(["git", "-C", "repo", "cat-file", "commit", "HEAD"], capture_output=True, check=True).stdout
    first, second = sha256(b"2\n"), sha256(b"echo\n")
    listing = f"100644 sha256:{first}\ta.txt\x00100644 sha256:{second}\tb c.sh\x00"
    expected = f"tsa-core git statement 1\ncommit sha256:{sha256(commit)}\ntree sha256:{sha256(listing.encode())}\n"
    from tsa_core.git import Repository, Statements

    repository = Repository("repo")
    with Statements(repository) as statements:
        assert statements.of(repository.identifier("HEAD")).decode() == expected
        tagged = statements.of(repository.identifier("v1")).decode().splitlines()
    assert tagged[2:] == expected.splitlines()[1:]
    assert tagged[1].startswith("tag sha256:")


def test_a_note_that_was_moved_or_spoilt(shell: Shell, git: Git, stamp: tuple[str, ...]) -> None:
    head = git("rev-parse", "HEAD")
    assert shell(*stamp, "HEAD~1").code == 0
    git("notes", "--ref=timestamps", "copy", git("rev-parse", "HEAD~1"), head)
    outcome = shell("git", "verify", *IN, *TRUST)
    assert outcome.code == 1
    assert outcome.out.startswith(f"{head}\trefused\t-\tthe artifact's sha256 digest")
    assert shell(*stamp).out.endswith(" 2025-06-01T12:00:00Z\n")
    assert shell("git", "verify", *IN, *TRUST).code == 0
    for note in (b"nothing", b"-----BEGIN PKCS7-----\nAAA\n-----END PKCS7-----\n"):
        git("notes", "--ref=timestamps", "add", "-f", "-F", "-", head, data=note)
        outcome = shell("git", "verify", *IN, *TRUST)
        assert (outcome.code, outcome.out.split("\t")[1]) == (1, "refused")


def test_a_replaced_commit_is_not_believed(shell: Shell, git: Git, stamp: tuple[str, ...]) -> None:
    """refs/replace shows another commit to whoever asks git; the statement is of the one that is named."""
    assert shell(*stamp).code == 0
    other = git("commit-tree", "-m", "other", "HEAD~1^{tree}")
    git("replace", "HEAD", other)
    assert shell("git", "verify", *IN, *TRUST, "main").code == 0


def test_a_file_that_was_changed_under_its_name(shell: Shell, git: Git, stamp: tuple[str, ...]) -> None:
    """A loose object with other content under the old name, as a collision of SHA-1 would have it."""
    import zlib

    assert shell(*stamp).code == 0
    name = git("rev-parse", "HEAD:a.txt")
    path = Path("repo/.git/objects", name[:2], name[2:])
    path.chmod(0o644)
    path.write_bytes(zlib.compress(b"blob 2\0" + b"3\n"))
    outcome = shell("git", "verify", *IN, *TRUST)
    assert (outcome.code, "digest" in outcome.out) == (1, True)


def test_the_configuration_of_a_repository_runs_nothing(shell: Shell, git: Git, stamp: tuple[str, ...]) -> None:
    Path("evil.sh").write_text("#!/bin/sh\ntouch evil\n")
    Path("evil.sh").chmod(0o755)
    evil = str(Path("evil.sh").absolute())
    for name in ("core.fsmonitor", "core.pager", "core.editor", "diff.external", "core.sshCommand"):
        git("config", name, evil)
    Path("hooks").mkdir()
    for hook in ("reference-transaction", "post-index-change", "pre-commit"):
        Path("hooks", hook).symlink_to(evil)
    git("config", "core.hooksPath", str(Path("hooks").absolute()))
    Path("evil").unlink(missing_ok=True)
    assert shell(*stamp, "HEAD", "v1").code == 0
    assert shell("git", "verify", *IN, *TRUST, "HEAD", "v1").code == 0
    assert not Path("evil").exists()


def test_a_partial_clone_fetches_nothing_and_runs_no_program_of_its_remote(shell: Shell, git: Git) -> None:
    evil = Path("evil.sh")
    evil.write_text(f"#!/bin/sh\ntouch {Path('evil').absolute()}\n")
    evil.chmod(0o755)
    blob = git("rev-parse", "HEAD:a.txt")
    Path("repo/.git/objects", blob[:2], blob[2:]).unlink()
    for name, value in (
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", str(Path("repo").absolute())),
        ("remote.origin.uploadpack", str(evil.absolute())),
        ("protocol.file.allow", "always"),
    ):
        git("config", name, value)
    git("config", "core.repositoryFormatVersion", "1")
    assert "is missing" in shell.fails(1, "git", "statement", *IN)
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("limit", "place", "message"),
    [
        ("MAX_SECONDS", "packed-refs", "did not end within 1 seconds"),
        ("PIECE_SECONDS", "blob", "sent nothing for 1 seconds"),
    ],
    ids=["refs", "file"],
)
def test_a_fifo_in_a_repository_ends_git_at_its_limit(
    shell: Shell, git: Git, monkeypatch: pytest.MonkeyPatch, limit: str, place: str, message: str
) -> None:
    blob = git("rev-parse", "HEAD:a.txt")
    path = Path("repo/.git", place) if place != "blob" else Path("repo/.git/objects", blob[:2], blob[2:])
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    monkeypatch.setattr(repository, limit, 1.0)
    with ends_within(1.0):
        assert message in shell.fails(1, "git", "statement", *IN, "v1")


def test_a_git_that_ends_is_told(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Repository("repo")
    monkeypatch.setattr(repo, "_command", lambda _: ["true"])
    with repo.objects() as objects, pytest.raises(GitError, match="git cat-file has ended"):
        objects.pieces("0" * 40)


def test_a_repository_that_is_named_is_the_one(shell: Shell, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook has GIT_DIR, which means the repository that it is a hook of."""
    expected = shell("git", "statement", *IN).out
    Path("other").mkdir()
    git("init", "-q", "-b", "main", "../other")
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(Path("other/.git").absolute()))
    assert shell("git", "statement", *IN).out == expected
    monkeypatch.delenv("GIT_OBJECT_DIRECTORY")
    monkeypatch.setenv("GIT_DIR", str(Path("repo/.git").absolute()))
    assert shell("git", "statement").out == expected


def test_without_an_identity(shell: Shell, git: Git, stamp: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline has none, and a note is a commit."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    git("config", "user.useConfigOnly", "true")
    assert shell(*stamp).code == 0
    assert git("log", "-1", "--format=%an", "refs/notes/timestamps") == "timestamp-cli"


def test_mistakes(shell: Shell, git: Git, stamp: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    verify = ("git", "verify", *IN, *TRUST)
    assert "rev-parse" in shell.fails(1, *verify, "nothing")
    assert "no revision" in shell.fails(1, *verify, "--", "--all")
    assert "no revision and no range" in shell.fails(1, *stamp, "--", "--output=x..y")
    assert "'HEAD..HEAD' names no commit" in shell.fails(1, *verify, "HEAD..HEAD")
    assert "is a tree" in shell.fails(1, *stamp, "HEAD^{tree}")
    assert "not a git repository" in shell.fails(1, "git", "statement", "--repository", ".")
    assert "is no folder" in shell.fails(1, "git", "statement", "--repository", "nothing")
    assert "one --timestamp_server" in shell.fails(2, *stamp, "--timestamp_server", "http://127.0.0.1:1")
    monkeypatch.setenv("PATH", "")
    assert "no program git" in shell.fails(1, *verify)
