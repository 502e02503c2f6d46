"""Evidence for a million small files: time, memory, and sizes of each step of `timestamp-cli evidence`.

    python -m bench.evidence [--files 1000000] [--folder /var/tmp/evidence] [--all]

The files are made once in the folder and used again. An authority in this process answers over HTTP. "reading" is what
it takes to open and read every file in one thread; with `--all`, both renewals and the verification of every file are
measured too. Drop the page cache before, or run twice, to know which of the two was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Chain, make_chain
from tsa_core.testing.http_tsa import Answer, HttpTsa

_PER_FOLDER = 1000


def answering(chain: Chain) -> HttpTsa:
    def answer(request: bytes) -> Answer:
        parsed = read_request(request)
        assert parsed.hash_algorithm is not None
        content = forge.tst_info(
            hash_algorithm=parsed.hash_algorithm,
            digest=parsed.digest,
            nonce=parsed.nonce,
            gen_time=datetime.now(UTC).replace(microsecond=0),
        )
        certificates = [chain.signer.der, chain.intermediate.der]
        return Answer(body=forge.reply(forge.token(chain.signer, content, certificates=certificates)))

    return HttpTsa(answer)


def make_files(folder: Path, count: int) -> None:
    """Make so many files of 100 to 300 bytes, unless they are there."""
    mark = folder / f".made-{count}"
    if mark.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(count):
        if number % _PER_FOLDER == 0:
            part = folder / f"{number // _PER_FOLDER:05}"
            part.mkdir()
        data = f"invoice {number}\n".encode() * (8 + number % 10)
        descriptor = os.open(part / f"{number:08}.txt", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(descriptor, data)
        os.close(descriptor)
    mark.touch()


def reading(folder: Path) -> float:
    """Return the seconds that it takes to read every file, one after the other."""
    start = time.monotonic()
    for entry in os.scandir(folder):
        if entry.is_dir():
            for file in os.scandir(entry.path):
                descriptor = os.open(file.path, os.O_RDONLY)
                while os.read(descriptor, 1 << 20):
                    pass
                os.close(descriptor)
    return time.monotonic() - start


def measured(title: str, *arguments: str) -> dict[str, object]:
    """Run timestamp-cli evidence; return and print what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    command = [sys.executable, "-m", "tsa_core.cli.timestamp", "evidence", *arguments]
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, status = map(int, done.stdout.split())
    if status:
        sys.exit(f"{title} ended with {status}: {done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {"step": title, "seconds": round(seconds, 1), "cpu": round(cpu, 1), "megabytes": round(peak / 1024)}
    print(json.dumps(result), flush=True)
    return result


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/evidence-bench"))
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    folder, work = options.folder / "files", options.folder / "work"
    make_files(folder, options.files)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    os.chdir(options.folder)
    chain = make_chain()
    (work / "roots.pem").write_bytes(chain.root.certificate.public_bytes(Encoding.PEM))
    print(json.dumps({"step": "reading", "seconds": round(reading(folder), 1)}), flush=True)
    one = next(path for path in sorted(folder.rglob("*.txt")))
    with answering(chain) as tsa:
        state, server = ("--state", "work/proof"), ("--timestamp_server", tsa.url)
        trust = ("--root-certificates", "work/roots.pem")
        measured("create", "create", *state, *server, "files")
        print(json.dumps({"step": "size", "octets_per_file": round(size(work / "proof") / options.files, 1)}))
        measured("verify one", "verify", *state, *trust, str(one))
        measured("export one", "export", *state, "--out-dir", "work", str(one))
        record = next(work.glob("*.ers"))
        print(json.dumps({"step": "record", "octets": record.stat().st_size}), flush=True)
        if options.all:
            measured("verify all", "verify", *state, *trust)
            measured("renew timestamps", "renew", *state, *server, *trust, "--all")
            measured("renew hash trees", "renew", *state, *server, *trust, "--all", "--hash", "sha3-256")
            measured("verify all, three layers", "verify", *state, *trust)


if __name__ == "__main__":
    main()
