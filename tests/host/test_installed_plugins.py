"""What the metadata of installed distributions say of plugins, and when they are read."""

from __future__ import annotations

from email.message import Message
from importlib.metadata import Distribution, EntryPoint, EntryPoints, PackageMetadata
from pathlib import Path
from typing import cast

import pytest
from packaging.requirements import Requirement

from tsa_core.api import PluginError
from tsa_core.host import GROUP, PluginHost, installed_plugins
from tsa_core.host.discovery import _plainly_met
from tsa_core.host.loading import import_plugin


class Installed(Distribution):
    """A distribution with one plugin, which notes whether its metadata are read."""

    def __init__(self, plugin: str) -> None:
        self.plugin, self.reads = plugin, 0

    @property
    def entry_points(self) -> EntryPoints:
        return EntryPoints([EntryPoint(self.plugin, f"tsa_{self.plugin}.plugin", GROUP)])

    @property
    def metadata(self) -> PackageMetadata:
        self.reads += 1
        message = Message()
        message["Name"], message["Version"], message["Summary"] = f"tsa-signer-{self.plugin}", "1.2", "Signs"
        return cast("PackageMetadata", message)

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


def test_the_metadata_are_read_of_what_is_looked_up() -> None:
    a, b = Installed("a"), Installed("b")
    found = installed_plugins([b, a])
    assert (list(found), PluginHost(found).names()) == (["a", "b"], ["a", "b"])
    assert (a.reads, b.reads) == (0, 0)
    (plugin,) = found["b"]
    assert (plugin.label, plugin.summary) == ("b (tsa-signer-b 1.2)", "Signs")
    reads = b.reads
    assert found["b"] == [plugin]
    assert (a.reads, b.reads) == (0, reads)
    assert "c" not in found


def test_two_of_a_name_are_both_found_and_one_that_is_found_twice_is_one() -> None:
    once, twice = Installed("a"), Installed("a")
    assert len(installed_plugins([once, twice])["a"]) == 1


REQUIREMENTS = [
    *(f"tsa-core[server]{bounds}" for bounds in (">=0.1,<0.2", "<0.2,>=0.1", "<0.1.0", ">=0.1.0.0", "<0.1.0.0", ">=0")),
    *("tsa-core>=0.1.1", "tsa-core<0.1", "tsa-core", "tsa-core==0.1.0", "tsa-core>=0.1.dev1", "tsa-core~=0.1"),
    *(
        "tsa_core>=7",
        "TSA.Core>=7",
        "tsa-core (>=7)",
        "tsa-core>=0.1,!=0.1.0",
        "tsa-core>=0.1,<1.0rc1",
        "tsa-core<0.2;x",
    ),
]


@pytest.mark.parametrize("version", ["0.1.0", "0.2", "0.2.0rc1", "1.0.0"])
@pytest.mark.parametrize("text", REQUIREMENTS)
def test_what_is_met_without_packaging_is_met_with_it(text: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsa_core.host.discovery.__version__", version)
    assert not _plainly_met(text) or Requirement(text).specifier.contains(version, prereleases=True)


def test_the_usual_requirement_is_met_without_packaging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsa_core.host.discovery.__version__", "0.1.0")
    assert _plainly_met("tsa-core[server]<0.2,>=0.1")
    assert _plainly_met("boto3>=1.34")
    assert not _plainly_met("tsa_core<0.2,>=0.1")


class _StrictMessage(Message):
    """Metadata as importlib.metadata announces them: a key that is missing is an error."""

    def __getitem__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return str(super().__getitem__(name))


def test_metadata_need_no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    message = _StrictMessage()
    message["Name"], message["Version"] = "tsa-signer-a", "1.2"
    monkeypatch.setattr(Installed, "metadata", message)
    (plugin,) = installed_plugins([Installed("a")])["a"]
    assert (plugin.label, plugin.summary) == ("a (tsa-signer-a 1.2)", "")


class WithReadme(Installed):
    """A distribution whose metadata are a file with a readme, which looks like headers."""

    def read_text(self, filename: str) -> str | None:
        headers = "Metadata-Version: 2.1\nName: tsa-a\nVersion: 1.2\nSummary: Signs\nRequires-Dist: tsa-core<9\n"
        return f"{headers}\nName: readme\nRequires-Dist: none\n" if filename == "METADATA" else None


def test_the_readme_is_not_looked_at() -> None:
    distribution = WithReadme("a")
    (found,) = installed_plugins([distribution])["a"]
    assert (found.distribution, found.summary, found.requires) == ("tsa-a", "Signs", ("tsa-core<9",))
    assert distribution.reads == 0


@pytest.mark.parametrize("value", ["", "a b!", "a\0b", "a:b:c d"])
def test_an_entry_point_that_names_no_module_is_listed_and_is_not_imported(value: str) -> None:
    """It was a traceback of `plugins list`, `doctor`, and of every lookup of its name."""

    class Wrong(Installed):
        @property
        def entry_points(self) -> EntryPoints:
            return EntryPoints([EntryPoint("a", value, GROUP)])

    installed = installed_plugins([Wrong("a")])
    (plugin,) = installed["a"]
    assert plugin.module == value
    with pytest.raises(PluginError, match=r"^the plugin a \(.*\) could not be imported: "):
        import_plugin(plugin, seconds=60)
