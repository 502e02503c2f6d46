"""Install what verifies, without the server, into an environment of its own, and show that it is small and works.

The environment that runs this has tsa-core[server] and tsa-signer-memory: it gives the timestamps. `tox run -e
verify-only` runs it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_MEGABYTES = 30.0
PACKAGES = {"cffi", "click", "cryptography", "pycparser", "tsa-core", "urllib3"}
LIBRARY = """
from tsa_core.verify import TrustStore, verify_response
trust = TrustStore.from_chain(open("chain.pem", "rb").read())
print(verify_response(open("r.tsr", "rb").read(), artifact=b"hello", trust=trust).gen_time)
"""


def run(*command: object, folder: Path = ROOT, code: int = 0) -> str:
    """Run a command and return what it prints; another exit code ends the check."""
    done = subprocess.run(  # noqa: S603 - ours
        list(map(str, command)), cwd=folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != code:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def megabytes(folder: Path) -> float:
    """Return the blocks that a folder's files take on the disk, in units of 2**20 octets, as `du -m` does."""
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * 512 / (1 << 20)


def install(folder: Path) -> Path:
    """Install the core's wheel and what it needs, and return the folder with the programs."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "wheels", ROOT)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    wheel = next((folder / "wheels").glob("*.whl"))
    run(*pip, "--python", python, "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    found = {item["name"] for item in json.loads(run(*pip, "--python", python, "list", "--format", "json"))}
    if found != PACKAGES:
        raise SystemExit(f"it installs {', '.join(sorted(found))}; {', '.join(sorted(PACKAGES))} were expected")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    size = megabytes(site)
    sys.stdout.write(f"{size:.1f} MB and {len(found)} packages\n")
    if size > MOST_MEGABYTES:
        raise SystemExit(f"{size:.1f} MB are more than {MOST_MEGABYTES:.0f}")
    return python.parent


def use(programs: Path, url: str, folder: Path) -> None:
    """Get a timestamp, verify and show it, by the command and by the library; ask for the server that is missing."""
    (folder / "a.txt").write_bytes(b"hello")
    with urllib.request.urlopen(f"{url}/api/v1/timestamp/certchain", timeout=30) as answer:  # noqa: S310 - ours
        (folder / "chain.pem").write_bytes(answer.read())
    client = programs / "timestamp-cli"
    stamp = ("timestamp", "--timestamp_server", url, "--artifact", "a.txt", "--out", "r.tsr")
    verify = ("verify", "--artifact", "a.txt", "--timestamp", "r.tsr", "--certificate-chain", "chain.pem")
    for arguments in (stamp, verify, ("inspect", "--timestamp", "r.tsr"), ("version",), ("--help",)):
        sys.stdout.write(run(client, *arguments, folder=folder).partition("\n")[0] + "\n")
    sys.stdout.write(run(programs / "python", "-c", LIBRARY, folder=folder))
    for program in ("timestamp-server", "fetch-tsa-certs", "certificate-maker"):
        said = run(programs / program, "--help", folder=folder, code=2)
        if "[server]" not in said:
            raise SystemExit(f"{program} does not say what to install: {said}")
        sys.stdout.write(said)


def main() -> None:
    """Install, then use it with a server of the environment that runs this."""
    with tempfile.TemporaryDirectory(prefix="tsa-verify-only-") as directory:
        folder = Path(directory)
        programs = install(folder)
        serve = (Path(sys.executable).with_name("timestamp-server"), "serve", "--port", "0", "--metrics=false")
        with subprocess.Popen(list(map(str, serve)), stderr=subprocess.PIPE, text=True) as server:  # noqa: S603 - ours
            try:
                lines: list[str] = []
                for line in server.stderr or ():
                    lines.append(line)
                    if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                        use(programs, found[0], folder)
                        break
                else:
                    raise SystemExit(f"the server did not start:\n{''.join(lines)}")
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
