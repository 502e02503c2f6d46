"""Where the installed tsa-core came from, and what to type to install more from there.

The name tsa-core is a stranger's on the public index, so no line sends people to an index without saying which: the
origin of the installed core decides (PEP 610). It needs no package beside the standard library: it is asked when
others are missing.
"""

from __future__ import annotations

import json
import shlex
import sys
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tsa_core.values import Value

CORE: Final = "tsa-core"


class Origin(Value):
    """Where the installed core came from.

    `kind` is "checkout" (a folder with the sources), "wheels" (a folder with built wheels), "repository" (version
    control, `place` is its address in pip's form), "index" (an index, or a folder given by --find-links: pip records
    neither) or "unknown".
    """

    kind: str
    place: str = ""
    editable: bool = False


def origin_of(core: Distribution | None) -> Origin:
    """Return where a distribution came from, by the direct_url.json of PEP 610 that its installer wrote."""
    if core is None:
        return Origin(kind="unknown")
    try:
        text = core.read_text("direct_url.json")
        record = json.loads(text) if text else None
        if record is None:
            return Origin(kind="index")
        url = str(record["url"])
        if version_control := record.get("vcs_info"):
            address = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
            return Origin(kind="repository", place=address)
        if urlsplit(url).scheme != "file":
            return Origin(kind="unknown")
        path = Path(unquote(urlsplit(url).path))
        if "dir_info" in record:
            return Origin(kind="checkout", place=str(path), editable=bool(record["dir_info"].get("editable")))
        return Origin(kind="wheels", place=str(path.parent))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Origin(kind="unknown")


@cache
def core_origin() -> Origin:
    """Return where the installed core came from."""
    try:
        return origin_of(distribution(CORE))
    except PackageNotFoundError:
        return Origin(kind="unknown")


def install_command(requirement: str, *, again: bool = False, origin: Origin | None = None) -> str:
    """Return how to install a distribution of this repository, `tsa-signer-gcpkms[ca]` for example.

    A command wherever the origin of the core leads to one, else a sentence. `again` is for one that is installed and
    broken.
    """
    name, bracket, extras = requirement.partition("[")
    pip = _pip()
    if pip is None and name != CORE:
        built = name.removeprefix("tsa-")
        return f'there is no pip here; build the container image with {name}: --build-arg PLUGINS="... {built}"'
    source = _source(name, f"{bracket}{extras}", origin or core_origin())
    if source is None or pip is None:
        return f"{requirement} is to be had where this tsa-core came from; install both in one command"
    return f"{pip} {'--force-reinstall --no-deps ' if again else ''}{source}"


def upgrade_hint(specifier: str, *, origin: Origin | None = None) -> str:
    """Return how to get a core of another version, `<0.3,>=0.2` for example."""
    found = origin or core_origin()
    place = {
        "checkout": f"in the checkout {found.place}, which is then installed again",
        "wheels": f"from wheels as those in {found.place}",
        "repository": f"from {found.place.rpartition('@')[0]}",
    }.get(found.kind, "where this one came from")
    return f"get {CORE}{specifier} {place}"


def _source(name: str, extras: str, origin: Origin) -> str | None:
    """Return what stands behind `pip install`, None when the origin leads nowhere."""
    if origin.kind == "checkout":
        folder = Path(origin.place) if name == CORE else Path(origin.place, "plugins", name)
        if not (folder / "pyproject.toml").is_file():
            return None
        return f"{'-e ' if origin.editable else ''}{shlex.quote(f'{folder}{extras}')}"
    if origin.kind == "wheels":
        wheels = sorted(Path(origin.place).glob(f"{name.replace('-', '_')}-*.whl"))
        if not wheels:
            return None
        # Third parties' wheels beside ours make a wheelhouse, from which everything comes without an index.
        whole = any(not path.name.startswith("tsa_") for path in Path(origin.place).glob("*.whl"))
        links = f"{'--no-index ' if whole else ''}--find-links {shlex.quote(origin.place)}"
        return f"{links} {shlex.quote(f'{wheels[-1]}{extras}')}"
    if origin.kind == "repository":
        below = "" if name == CORE else f"#subdirectory=plugins/{name}"
        return shlex.quote(f"{name}{extras} @ {origin.place}{below}")
    if origin.kind == "index":
        return f"--index-url INDEX {shlex.quote(f'{name}{extras}')}, INDEX being the one that this tsa-core came from"
    return None


def _pip() -> str | None:
    """Return the command that installs into the running environment; None where there is none, as in our image."""
    if (program := Path(sys.prefix, "bin", "pip")).is_file() and sys.prefix != sys.base_prefix:
        return f"{shlex.quote(str(program))} install"
    if find_spec("pip"):
        return f"{shlex.quote(sys.executable)} -m pip install"
    return f"uv pip install --python {shlex.quote(sys.executable)}" if _by_uv() else None


def _by_uv() -> bool:
    """Say whether uv installed the core."""
    try:
        return (distribution(CORE).read_text("INSTALLER") or "").strip() == "uv"
    except (PackageNotFoundError, OSError):
        return False
