"""A file system that hangs, as one on a network does whose server is gone; Linux, root."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FUSE = Path("/dev/fuse")
_DETACH = 2


@contextmanager
def hung_mount(folder: Path) -> Iterator[None]:
    """Mount a file system onto a folder whose server never answers; at the end, everybody who waits gets an error."""
    libc = ctypes.CDLL(None, use_errno=True)
    server = os.open(_FUSE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    try:
        if libc.mount(b"hung", os.fsencode(folder), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "a file system of /dev/fuse cannot be mounted")
        try:
            yield
        finally:
            os.close(server)
            server = -1
            libc.umount2(os.fsencode(folder), _DETACH)
    finally:
        if server >= 0:
            os.close(server)
