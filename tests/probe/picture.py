"""The picture of docs/verify/probe.md: `python -m tests.probe.picture` makes it, with Debian's Chromium."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.probe.faults import faulty
from tests.probe.faulty_authority import CHAIN, serving
from tsa_core.probe import html_page, probe

PICTURE: Final = Path(__file__).resolve().parents[2] / "docs" / "images" / "probe.png"
SHOWN: Final = "https://timestamp.example.org/tsa"
PUT: Final = ("knows_sha_256_alone", "any_policy", "parameter_of_the_type", "certificates_out_of_order")
"""Faults that authorities have, of every severity but the worst."""


def main() -> None:
    """Write the picture."""
    with serving(faulty(*PUT)) as url:
        report = probe(url, rate=20, trust=CHAIN.pem, clock_bound=0.1)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(html_page(replace(report, url=SHOWN)), encoding="utf-8")
        command = ["chromium", "--headless", "--hide-scrollbars", "--window-size=1160,1560", f"--screenshot={PICTURE}"]
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main()
