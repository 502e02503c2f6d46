"""A client as a process: does the jobs on its standard input, and says of each how long it took and its memory.

It imports what a client needs and nothing else, because its memory is measured.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from tsa_core.client import ClientError, TimestampClient


def main(timeout: float) -> None:
    """Do the jobs; `mib` is the highest resident memory of the process during the one job."""
    for line in sys.stdin:
        job = json.loads(line)
        for name in ("http_proxy", "https_proxy"):
            os.environ.pop(name, None)
        os.environ.update(job["environment"])
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the highest so far
        began = time.monotonic()
        try:
            with TimestampClient(job["url"], timeout=timeout, ca=job["ca"]) as client:
                result = f"a right answer of {len(client.stamp(artifact=b'hello').reply)} bytes"
        except ClientError as error:
            result = f"{type(error).__name__}: {error.text}"
        seconds = time.monotonic() - began
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM"))
        print(json.dumps({"seconds": seconds, "mib": peak / 1024, "result": result}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
