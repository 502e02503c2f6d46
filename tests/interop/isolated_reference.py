"""Asks the reference server: `unshare --net python -m tests.interop.isolated_reference PROGRAM` prints its answers.

The reference opens port 2112 on all addresses and would ask NTP servers. So it runs in a network of its own, which has
nothing but a loopback interface, and with its monitoring off.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.interop.raw_answers import Answer, ask_all, to_json
from tests.interop.raw_request_bodies import all_requests
from tests.interop.raw_requests import SERVERS
from tsa_core.testing.waiting import wait_until

_ADDRESS: Final = ("127.0.0.1", 3000)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def _bring_loopback_up() -> None:
    """Switch the loopback interface on; refuse to go on where there is another one."""
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if others:
        sys.exit(f"this is no network of its own, it has {' '.join(others)}")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack_from("16xh", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def asked(program: Path) -> dict[str, Answer]:
    """Start the reference with each row of flags, in this network, and ask it."""
    _bring_loopback_up()
    answers: dict[str, Answer] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, flags in SERVERS.items():
            command: list[str | Path] = [program, "serve", "--host", _ADDRESS[0], "--port", str(_ADDRESS[1])]
            command += ["--disable-ntp-monitoring=true", *flags]
            environ = {"HOME": folder, "PATH": "/usr/bin:/bin"}
            process = subprocess.Popen(command, cwd=folder, env=environ, stdout=sys.stderr, stderr=sys.stderr)
            try:
                wait_until(_listens, seconds=60, what="the reference listens")
                answers |= ask_all(_ADDRESS, (each for each in all_requests() if each.flags == name))
            finally:
                process.terminate()
                process.wait(timeout=60)
    return {each.name: answers[each.name] for each in all_requests()}


def _listens() -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(_ADDRESS) == 0


if __name__ == "__main__":
    sys.stdout.write(to_json(asked(Path(sys.argv[1]))))
