"""Runs a command where nothing can be written and there is no /tmp: `python -m bench.read_only_root COMMAND ...`.

It gets a mount namespace of its own, in which every file system is read-only, as in a container with a read-only root.
Linux; for root, or for whoever may make user namespaces. Exit code 77 when the system does not allow it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tsa_core.testing import require_program

FORBIDDEN = 77
_SCRIPT = """
new=$1; shift
{
    mount --make-rprivate / && mount -t tmpfs none "$new" || exit 77
    for each in /*; do
        name=${each#/}
        if [ "$name" = tmp ]; then continue
        elif [ -L "$each" ]; then cp -P "$each" "$new/$name"
        elif [ -d "$each" ]; then mkdir "$new/$name" && mount --rbind "$each" "$new/$name" || exit 77
        fi
    done
    while read -r _ _ _ _ point _; do
        case "$point" in "$new" | "$new"/*) mount -o remount,bind,ro "$point" ;; esac
    done < /proc/self/mountinfo
    for place in tmp var/tmp dev/shm; do
        if touch "$new/$place/probe"; then exit 77; fi
    done
} 2> /dev/null
exec chroot "$new" "$@"
"""


@contextmanager
def read_only_root() -> Iterator[list[str]]:
    """Yield the words to put in front of a command; skips the test or fault where the system forbids it."""
    program = require_program("unshare", package="util-linux")
    with tempfile.TemporaryDirectory(prefix="tsa-root-") as folder:
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        wrapper = [str(program), *user, "--mount", "sh", "-c", _SCRIPT, "sh", folder]
        tried = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
        if tried.returncode:
            pytest.skip("a mount namespace with a read-only root is not allowed here")
        yield wrapper


def main(command: Sequence[str]) -> int:
    """Run a command, and return its exit code."""
    try:
        with read_only_root() as wrapper:
            return subprocess.run([*wrapper, *command], check=False).returncode
    except pytest.skip.Exception as error:
        print(error, file=sys.stderr)
        return FORBIDDEN


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
