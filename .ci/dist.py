"""Make what is published, in dist/, and check it. `make dist` runs it.

dist/packages     a source distribution and a wheel of the core and of every plugin; twine has checked them
dist/wheelhouse   the same wheels and those of third parties, as constraints.txt has them: installs without an index
dist/sbom.cdx.json  what the wheelhouse holds, as CycloneDX 1.6, from an environment that was installed from it
dist/SHA256SUMS   a digest of every file

usage: dist.py [PLUGIN...]      tsa-signer-file for example; all of them without
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PACKAGES, WHEELHOUSE, BOM = DIST / "packages", DIST / "wheelhouse", DIST / "sbom.cdx.json"


def run(*command: object) -> None:
    """Run a command in the checkout; one that fails ends the build, after what it said."""
    parts = list(map(str, command))
    done = subprocess.run(parts, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603 - ours
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise SystemExit(f"this failed: {' '.join(map(str, command))}")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def build(folders: list[Path]) -> list[Path]:
    """Build all packages, check them and return the wheels."""
    for folder in folders:
        say(f"building {folder.name if folder != ROOT else 'tsa-core'}")
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", PACKAGES, folder)
    say("twine check")
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(PACKAGES.iterdir()))
    return sorted(PACKAGES.glob("*.whl"))


def with_extra(wheel: Path) -> str:
    """Return what pip is asked for: the wheel, with the extra that brings third parties' packages."""
    return f"{wheel}[ca]" if wheel.name.startswith("tsa_signer_gcpkms-") else str(wheel)


def fill_wheelhouse(wheels: list[Path]) -> None:
    """Collect everything that the wheels need, with the extras that bring third parties' packages."""
    say("collecting third parties' wheels")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet")
    run(*pip, "--constraint", ROOT / "constraints.txt", "--wheel-dir", WHEELHOUSE, *map(with_extra, wheels))


def try_wheelhouse(wheels: list[Path]) -> None:
    """Install from the wheelhouse alone into a new environment, call the commands, and write the SBOM of it."""
    say("installing from the wheelhouse, without an index")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        ours = [with_extra(WHEELHOUSE / wheel.name) for wheel in wheels]
        offline = ("install", "--quiet", "--no-index", "--find-links", WHEELHOUSE)
        run(python, "-m", "pip", "--disable-pip-version-check", *offline, *ours)
        run(python, "-m", "pip", "check")
        for command in ("timestamp-server", "timestamp-cli", "fetch-tsa-certs"):
            run(python.with_name(command), "--help")
        run(python.with_name("timestamp-server"), "plugins", "list")
        run(python, "-m", "pip", "--disable-pip-version-check", "uninstall", "--quiet", "--yes", "pip", "setuptools")
        say("writing the SBOM")
        cyclonedx = Path(sys.executable).with_name("cyclonedx-py")
        kind = ("--pyproject", ROOT / "pyproject.toml", "--mc-type", "application")
        form = ("--output-format", "JSON", "--spec-version", "1.6", "--output-reproducible", "--validate")
        run(cyclonedx, "environment", *kind, *form, "--output-file", BOM, python)
        # A reader's copy has the wheels beside the SBOM, not where they were built.
        BOM.write_text(BOM.read_text().replace(f"{WHEELHOUSE.as_uri()}/", "wheelhouse/"))


def main() -> None:
    """Make everything anew."""
    names = sys.argv[1:] or [path.parent.name for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    folders = [ROOT, *(ROOT / "plugins" / name for name in names)]
    for place in (PACKAGES, WHEELHOUSE):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    wheels = build(folders)
    fill_wheelhouse(wheels)
    try_wheelhouse(wheels)
    files = sorted(path for path in DIST.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(DIST)}\n" for path in files]
    (DIST / "SHA256SUMS").write_text("".join(sums))
    for place in (PACKAGES, WHEELHOUSE):
        size = sum(path.stat().st_size for path in place.iterdir()) / 1e6
        say(f"dist/{place.name}: {len(list(place.iterdir()))} files, {size:.1f} MB")
    wheel = next(WHEELHOUSE.glob("tsa_core-*.whl"))
    offline = "pip install --no-index --find-links dist/wheelhouse"
    say(f"install the server offline: {offline} 'dist/wheelhouse/{wheel.name}[server]', and a plugin for the key")
    say(f"install what verifies: {offline} dist/wheelhouse/{wheel.name}")


if __name__ == "__main__":
    main()
