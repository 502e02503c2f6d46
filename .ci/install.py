"""Install packages of this repository, editable, or a list of requirements, and say what pip does, a line a step.

usage: install.py FOLDER... | install.py --requirement FILE      run by the Python of the environment to install into

Third parties' packages come first, as constraints.txt has them. Then the folders are installed without a look at an
index: their build needs hatchling and editables alone, which are installed once and not once for each folder.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--constraint", "constraints.txt")
STEPS = (
    (re.compile(r"^Obtaining file://.*?([^/\s]+)(?: \(from .*)?$"), "reading {}"),
    (re.compile(r"^\s*Downloading (\S+?)(?:\s+\((.*)\))?$"), "downloading {} {}"),
    (re.compile(r"^\s*Using cached (\S+?)(?:\s+\((.*)\))?$"), "from the cache {} {}"),
    (re.compile(r"^Building wheels? for collected packages: (.*)$"), "building {}"),
    (re.compile(r"^Installing collected packages: (.*)$"), "installing {} packages"),
    (re.compile(r"^Successfully installed (.*)$"), "installed {} packages"),
)


def step_of(line: str) -> str | None:
    """Return what a line of pip's output says, shortened; None for what is not worth a line."""
    for pattern, text in STEPS:
        if found := pattern.match(line):
            parts = [part or "" for part in found.groups()]
            if "{} packages" in text:
                parts = [str(len(parts[0].replace(",", " ").split()))]
            return text.format(*parts).rstrip()
    return None


def requirements(folders: Sequence[str]) -> list[str]:
    """Return what the folders need of third parties, and what builds them."""
    found = ["hatchling", "editables"]
    for folder in folders:
        project = tomllib.loads(Path(folder, "pyproject.toml").read_text(encoding="utf-8"))["project"]
        found += [each for each in project["dependencies"] if not each.startswith("tsa-")]
        found += project.get("optional-dependencies", {}).get("server", [])
    return list(dict.fromkeys(found))


def run(arguments: Sequence[str], started: float) -> int:
    """Run pip with these arguments and return its exit code; its errors go where they always go."""
    with subprocess.Popen([*PIP, *arguments], stdout=subprocess.PIPE, text=True, errors="replace") as process:  # noqa: S603 - ours
        for line in process.stdout or ():
            if step := step_of(line.rstrip()):
                sys.stdout.write(f"  {monotonic() - started:4.0f} s  {step}\n")
                sys.stdout.flush()
    return process.returncode


def main() -> int:
    """Install and return pip's exit code."""
    started, arguments = monotonic(), sys.argv[1:]
    if arguments[0] == "--requirement":
        return run(arguments, started)
    editable = [part for folder in arguments for part in ("--editable", folder)]
    return run(requirements(arguments), started) or run(["--no-build-isolation", "--no-deps", *editable], started)


if __name__ == "__main__":
    sys.exit(main())
