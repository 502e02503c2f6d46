"""Write constraints.txt: the exact version of everything that the lists of requirements need.

Run it by `make constraints`, with the oldest Python that this repository supports (`make PYTHON=python3.11
constraints`; Debian 12's is the oldest of those): what its pip chooses runs on the newer ones too, and what the
newest pip chooses does not always run on the oldest.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ("requirements-dev.txt", "requirements-dist.txt", "docs/requirements.txt")
HEADER = """\
# Exact versions for a reproducible set-up: pip install -c constraints.txt -r requirements-dev.txt
#
# Written by `make PYTHON=python3.11 constraints`; do not edit. It holds what requirements-dev.txt,
# requirements-dist.txt and docs/requirements.txt need, directly or not, for every plugin at once,
# chosen with Python {python} because what runs there runs on 3.12 and 3.13 too. To move one package only, edit its
# line and let the tests judge.
"""


def resolve() -> dict[str, str]:
    """Ask pip which versions it would install in an empty environment, leaving this one as it is."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        command += ["--dry-run", "--ignore-installed", "--report", str(report)]
        for name in REQUIREMENTS:
            command += ["--requirement", name]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - every part is ours
        chosen = json.loads(report.read_text())["install"]
    ours = {item["metadata"]["name"] for item in chosen if "dir_info" in item["download_info"]}
    return {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in chosen
        if item["metadata"]["name"] not in ours
    }


def main() -> None:
    """Replace constraints.txt."""
    python = ".".join(map(str, sys.version_info[:3]))
    pins = [f"{name}=={version}\n" for name, version in sorted(resolve().items())]
    (ROOT / "constraints.txt").write_text(HEADER.format(python=python) + "\n" + "".join(pins))


if __name__ == "__main__":
    main()
