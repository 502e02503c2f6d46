"""What to type to add a plugin is made from where the core came from, and names distributions of ours alone."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from tsa_core.api.installation import OWN_PLUGINS, Origin, hint_for, install_hint, origin_of, upgrade_hint
from tsa_core.host import KEK, SIGNER
from tsa_core.host.kinds import KINDS
from tsa_core.host.missing import missing_text

ROOT = Path(__file__).resolve().parents[2]


class Recorded(Distribution):
    """A distribution whose installer wrote this direct_url.json, or none."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def read_text(self, filename: str) -> str | None:
        return self.text if filename == "direct_url.json" else None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


def test_the_list_is_what_the_plugins_of_this_repository_provide() -> None:
    names = {key: requirement.partition("[")[0] for key, requirement in OWN_PLUGINS.items()}
    listed = {name: requirement for (kind, name), requirement in names.items() if kind != "command"}
    listed_commands = {name: requirement for (kind, name), requirement in names.items() if kind == "command"}
    found: dict[str, str] = {}
    found_commands: dict[str, str] = {}
    for path in ROOT.glob("plugins/*/pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        points = project["entry-points"]
        # `audit` and `keys` are commands alone; `tink` is a command and a signer.
        commands = points.get("tsa_core.commands", {}).keys() - listed.keys()
        found |= dict.fromkeys(points["tsa_core.plugins"].keys() - commands, project["name"])
        found_commands |= dict.fromkeys(points.get("tsa_core.commands", {}), project["name"])
    assert listed == found, "tsa_core/api/installation.py lists what plugins/ has"
    assert listed_commands == found_commands, "and which commands"
    assert {kind for kind, _ in OWN_PLUGINS} <= {"command", *(kind.name for kind in KINDS)}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, Origin(kind="index")),
        ({"url": "file:///src/tsa%20core", "dir_info": {}}, Origin(kind="checkout", place="/src/tsa core")),
        (
            {"url": "file:///src", "dir_info": {"editable": True}},
            Origin(kind="checkout", place="/src", editable=True),
        ),
        (
            {"url": "file:///dist/tsa_core-0.1.0-py3-none-any.whl", "archive_info": {}},
            Origin(kind="wheels", place="/dist"),
        ),
        (
            {"url": "https://git.example/tsa.git", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            Origin(kind="repository", place="git+https://git.example/tsa.git@c0ffee"),
        ),
        ({"url": "https://example.org/tsa_core.whl", "archive_info": {}}, Origin(kind="unknown")),
        ({"dir_info": {}}, Origin(kind="unknown")),
        ([], Origin(kind="unknown")),
    ],
)
def test_the_origin_is_read_from_what_the_installer_recorded(record: Any, expected: Origin) -> None:
    assert origin_of(Recorded(None if record is None else json.dumps(record))) == expected


def test_a_record_that_cannot_be_read_is_an_unknown_origin() -> None:
    assert origin_of(Recorded("{")) == origin_of(None) == Origin(kind="unknown")


def test_a_checkout_leads_to_the_plugins_folder_in_it() -> None:
    origin = Origin(kind="checkout", place=str(ROOT), editable=True)
    assert install_hint("tsa-signer-awskms", origin=origin).endswith(f"install -e {ROOT}/plugins/tsa-signer-awskms")
    assert hint_for("ca", "gcp", origin=origin).endswith(f"install -e '{ROOT}/plugins/tsa-signer-gcpkms[ca]'")


def test_wheels_lead_to_the_plugins_wheel_and_a_wheelhouse_needs_no_index(tmp_path: Path) -> None:
    wheel = tmp_path / "tsa_signer_awskms-0.1.0-py3-none-any.whl"
    wheel.touch()
    origin = Origin(kind="wheels", place=str(tmp_path))
    assert hint_for("signer", "awskms", origin=origin).endswith(f"install --find-links {tmp_path} {wheel}")
    (tmp_path / "boto3-1-py3-none-any.whl").touch()
    assert hint_for("signer", "awskms", origin=origin).endswith(f"install --no-index --find-links {tmp_path} {wheel}")


def test_a_repository_leads_to_the_plugins_folder_at_the_same_commit() -> None:
    origin = Origin(kind="repository", place="git+https://git.example/tsa.git@c0ffee")
    assert "'tsa-signer-tink @ git+https://git.example/tsa.git@c0ffee#subdirectory=plugins/tsa-signer-tink'" in (
        hint_for("signer", "tink", origin=origin)
    )


@pytest.mark.parametrize(
    "origin",
    [Origin(kind="unknown"), Origin(kind="checkout", place="/no/such/place"), Origin(kind="wheels", place="/none")],
)
def test_where_the_origin_leads_nowhere_no_command_is_made(origin: Origin) -> None:
    assert "pip" not in install_hint("tsa-signer-tink", origin=origin)


def test_an_index_is_never_left_to_chance() -> None:
    assert "--index-url INDEX" in install_hint("tsa-signer-tink", origin=Origin(kind="index"))


@pytest.mark.parametrize("name", ["tsa-signer-acme", "boto3", "tsa-core-extra"])
def test_no_command_names_what_is_not_ours(name: str) -> None:
    for again in (False, True):
        assert "pip" not in install_hint(name, again=again, origin=Origin(kind="index"))
    assert hint_for("signer", name) == ""


def test_another_core_is_got_where_this_one_came_from() -> None:
    assert upgrade_hint(">=0.2", origin=Origin(kind="checkout", place="/src")).startswith("get tsa-core>=0.2 in the ")
    assert "where this one came from" in upgrade_hint(">=0.2", origin=Origin(kind="index"))
    repository = Origin(kind="repository", place="git+ssh://git@git.example/tsa.git@c0ffee")
    assert upgrade_hint(">=0.2", origin=repository) == "get tsa-core>=0.2 from git+ssh://git@git.example/tsa.git"


def test_an_unknown_name_is_answered_with_the_nearest_known_one() -> None:
    text = missing_text(SIGNER, "awskmss", installed=["file", "memory"])
    assert text.startswith("no signer 'awskmss' is installed; did you mean 'awskms'? To add that: ")
    assert "tsa-signer-awskms" in text
    assert text.endswith("; installed: file, memory")
    near = missing_text(SIGNER, "flie", installed=["file"])
    assert near == "no signer 'flie' is installed; did you mean 'file'? installed: file"


def test_a_name_that_nobody_has_is_answered_without_a_command() -> None:
    text = missing_text(KEK, "xyz", installed=["aws-kms"])
    assert text == (
        "no key encryption key 'xyz' is installed, and tsa-core has none of that name; installed: aws-kms; "
        "to be had from this project: gcp-kms, hcvault"
    )


def test_a_name_of_ours_is_answered_with_how_to_add_it() -> None:
    assert "to add it: " in missing_text(SIGNER, "memory", installed=[])
    assert "tsa-signer-memory" in missing_text(None, "memory", installed=[])
