"""examples/ci: the files fit their schemas, and their scripts do what they say, with the commands that are here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.timestamp_shell import CHAIN, honest
from tsa_core.testing.http_tsa import HttpTsa
from tsa_core.testing.programs import require_program

ROOT = Path(__file__).parents[2]
CI = ROOT / "examples" / "ci"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HttpTsa(honest) as server:
        yield server.origin


def document(name: str) -> Any:
    import yaml

    return yaml.safe_load((CI / name).read_text(encoding="utf-8"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with our programs and git, and no configuration of anybody's."""
    return {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }


def bash(script: str, folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = require_program("bash")
    return subprocess.run(
        [program, "-c", script], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / "a b.whl").write_bytes(b"wheel")
    (folder / "dist" / "c.txt").write_bytes(b"text")
    (folder / "chain.pem").write_bytes(CHAIN.pem)
    return folder


@pytest.fixture
def clone(tmp_path: Path, environ: dict[str, str]) -> Path:
    """A clone with a commit that was not pushed, beside the repository that it comes from."""
    require_program("git")
    script = (
        "git init -q --bare origin && git clone -q origin clone 2>&1 && cd clone && git commit -q --allow-empty -m 1"
    )
    done = bash(f"{script} && git push -q origin HEAD && git commit -q --allow-empty -m 2", tmp_path, environ)
    assert done.returncode == 0, done.stderr
    (tmp_path / "clone" / "chain.pem").write_bytes(CHAIN.pem)
    return tmp_path / "clone"


@pytest.mark.package("check_jsonschema", install="check-jsonschema")
@pytest.mark.parametrize(
    ("schema", "name"),
    [("vendor.github-actions", "github/action.yml"), ("vendor.gitlab-ci", "gitlab/timestamp.gitlab-ci.yml")],
)
def test_the_files_fit_their_schemas(schema: str, name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(CI / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_input_is_put_into_the_text_of_a_script() -> None:
    """What stands between ${{ and }} in a script becomes code; the inputs are variables instead."""
    for step in document("github/action.yml")["runs"]["steps"]:
        assert "${{" not in step["run"]


def test_the_action_timestamps_files(dist: Path, environ: dict[str, str], url: str, tmp_path: Path) -> None:
    step = document("github/action.yml")["runs"]["steps"][0]
    output = tmp_path / "output"
    own = {"FILES": "dist/*.whl\n  \ndist/c.txt \n", "SERVER": url, "CHAIN": "chain.pem", "OUT_DIR": "stamps"}
    assert set(own) == set(step["env"])
    done = bash(step["run"], dist, {**environ, **own, "GITHUB_OUTPUT": str(output)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (dist / "stamps" / "dist").iterdir()) == ["a b.whl.tsr", "c.txt.tsr"]
    assert output.read_text() == "directory=stamps\n"
    hostile = {**own, "FILES": "$(touch evil)\n--force\n", "OUT_DIR": "other"}
    assert bash(step["run"], dist, {**environ, **hostile, "GITHUB_OUTPUT": str(output)}).returncode != 0
    assert not (dist / "evil").exists()


def test_the_action_timestamps_the_commit(clone: Path, environ: dict[str, str], url: str) -> None:
    step = document("github/action.yml")["runs"]["steps"][1]
    done = bash(step["run"], clone, {**environ, "SERVER": url, "CHAIN": "chain.pem"})
    assert done.returncode == 0, done.stdout + done.stderr
    notes = bash("git --git-dir ../origin notes --ref=timestamps list", clone, environ)
    assert len(notes.stdout.splitlines()) == 1


def test_the_gitlab_template(dist: Path, environ: dict[str, str], url: str) -> None:
    job = document("gitlab/timestamp.gitlab-ci.yml")[".timestamp"]
    own = {**job["variables"], "TSA_ADDRESS": url, "TSA_CHAIN": "chain.pem"}
    assert own.keys() == job["variables"].keys()
    done = bash("set -e\n" + "\n".join(job["script"]), dist, {**environ, **own})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<testsuite" in (dist / "timestamps.xml").read_text()


def test_the_pre_push_hook(clone: Path, environ: dict[str, str], url: str) -> None:
    hook = clone / ".git" / "hooks" / "pre-push"
    hook.write_bytes((CI / "hooks" / "pre-push").read_bytes())
    hook.chmod(0o755)
    assert bash(f"git config timestamp.server {url} && git push -q origin HEAD", clone, environ).returncode == 0
    verify = "timestamp-cli git verify --certificate-chain chain.pem HEAD"
    assert bash(verify, clone, environ).returncode == 0
    notes = bash("git --git-dir ../origin notes --ref=timestamps list", clone, environ)
    assert notes.stdout.split()[1:] == [bash("git rev-parse HEAD", clone, environ).stdout.strip()]
    script = (
        "git commit -q --allow-empty -m 3 && git config timestamp.server http://127.0.0.1:1 && git push -q origin HEAD"
    )
    done = bash(script, clone, environ)
    assert done.returncode == 0, done.stderr
    assert "goes without a timestamp" in done.stderr


def test_the_pre_commit_configuration(clone: Path, environ: dict[str, str], url: str) -> None:
    (hook,) = document("hooks/pre-commit-config.yaml")["repos"][0]["hooks"]
    assert hook["language"] == "system"
    done = bash(hook["entry"].replace("https://tsa.example.org", url), clone, environ)
    assert done.returncode == 0, done.stderr
    assert bash("timestamp-cli git verify --certificate-chain chain.pem", clone, environ).returncode == 0
