"""Runs a program within a time limit, with bounded output, and ends all of its processes at the limit."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final

MAX_OUTPUT_OCTETS: Final = 256 * 1024
"""A signature or a public key needs a few kilobytes."""
MAX_MESSAGES_OCTETS: Final = 16 * 1024
_PART: Final = 65_536


class CannotStart(Exception):
    """The program could not be started; the text is the system's."""


class TookTooLong(Exception):
    """The program did not end in time; it was killed, with all that it had started."""


class PrintedTooMuch(Exception):
    """The program printed more than MAX_OUTPUT_OCTETS; it was killed, with all that it had started."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a program printed, the beginning of what it wrote to stderr, and how it ended: below 0, by that signal."""

    output: bytes
    messages: bytes
    code: int


def run_program(command: Sequence[str], *, data: bytes, environment: Mapping[str, str], timeout: float) -> Finished:
    """Run a program to its end, with `data` on its stdin; raises CannotStart, TookTooLong or PrintedTooMuch.

    The program leads a process group of its own, which gets SIGKILL at the limit.
    """
    deadline = time.monotonic() + timeout
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's program, without a shell
            command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotStart(error.strerror or str(error)) from None
    assert process.stdin is not None  # noqa: S101 - all three are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    try:
        with process.stdin, process.stdout, process.stderr:
            output, messages = _exchange(process.stdin, process.stdout, process.stderr, data, deadline)
        process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError):
        raise TookTooLong from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Finished(output=output, messages=messages, code=process.returncode)


def _exchange(
    stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes], data: bytes, deadline: float
) -> tuple[bytes, bytes]:
    """Write to the program and read from it until it has closed its streams; raises TimeoutError, PrintedTooMuch."""
    output, messages, rest = bytearray(), bytearray(), memoryview(data)
    with selectors.DefaultSelector() as selector:
        for stream, event in (
            (stdin, selectors.EVENT_WRITE),
            (stdout, selectors.EVENT_READ),
            (stderr, selectors.EVENT_READ),
        ):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, event)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in selector.select(left):
                if key.fileobj is stdin:
                    # A program that reads nothing and ends breaks the pipe, which is its right.
                    with contextlib.suppress(BrokenPipeError):
                        rest = rest[os.write(key.fd, rest[:_PART]) :] if rest else rest
                        if rest:
                            continue
                    selector.unregister(stdin)
                    with contextlib.suppress(BrokenPipeError):
                        stdin.close()
                elif part := os.read(key.fd, _PART):
                    if key.fileobj is stderr:
                        messages += part[: MAX_MESSAGES_OCTETS - len(messages)]
                        continue
                    output += part
                    if len(output) > MAX_OUTPUT_OCTETS:
                        raise PrintedTooMuch
                else:
                    selector.unregister(key.fileobj)
    return bytes(output), bytes(messages)
