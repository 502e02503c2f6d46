"""`make serve` says what pip does, a line a step, and installs third parties' packages before ours."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = spec_from_file_location("ci_install", ROOT / ".ci" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Obtaining file:///home/me/tsa-core/plugins/tsa-signer-file", "reading tsa-signer-file"),
        ("  Downloading granian-2.8.7-cp311-x86_64.whl (5.0 MB)", "downloading granian-2.8.7-cp311-x86_64.whl 5.0 MB"),
        ("  Using cached click-8.5.1-py3-none-any.whl (126 kB)", "from the cache click-8.5.1-py3-none-any.whl 126 kB"),
        ("Building wheels for collected packages: tsa-core", "building tsa-core"),
        ("Installing collected packages: waitress, asn1crypto, click", "installing 3 packages"),
        ("Successfully installed asn1crypto-1.5.1 click-8.5.1", "installed 2 packages"),
        ("Requirement already satisfied: click>=8.2 in ./lib", None),
        ("  Installing build dependencies: started", None),
    ],
)
def test_each_step_of_pip_is_one_short_line(install: ModuleType, line: str, said: str | None) -> None:
    assert install.step_of(line) == said


def test_folders_need_third_parties_packages_and_what_builds_them(install: ModuleType) -> None:
    found = install.requirements([str(ROOT), str(ROOT / "plugins" / "tsa-monitor-ntp")])
    assert found[:2] == ["hatchling", "editables"]
    assert {"cryptography>=49", "falcon>=4.0", "ntplib>=0.4"} <= set(found)
    assert [each for each in found if each.startswith("tsa-")] == []
    assert len(found) == len(set(found))
