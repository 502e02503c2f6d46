"""Draw docs/images/terminal.svg: what a terminal shows of a first start, a timestamp and its verification.

The commands are run, in a terminal of 110 columns; rich makes the picture of what they print.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "terminal.svg"
BIN = Path(sys.executable).parent
COLUMNS = 110
ADDRESS = "http://127.0.0.1:3000"
STAMP = f"timestamp-cli timestamp --timestamp_server {ADDRESS} --artifact idea.txt --out idea.tsr"
VERIFY = "timestamp-cli verify --artifact idea.txt --timestamp idea.tsr --certificate-chain tsa/chain.pem"


def start(command: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command in a terminal of its own; return the process and the terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "TSA_METRICS__PORT": "0"}
    program, *arguments = shlex.split(command)
    process = subprocess.Popen(  # noqa: S603 - every part is ours
        [str(BIN / program), *arguments], cwd=folder, stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    return process, master


def read(terminal: int, until: str = "") -> str:
    """Return what is printed until a pattern matches, or until the program has ended."""
    printed = b""
    while not until or not re.search(until, printed.decode(errors="replace")):
        try:
            printed += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    return printed.decode(errors="replace").replace("\r\n", "\n")


def main() -> None:
    """Run the commands and replace the picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)

    def show(command: str, printed: str) -> None:
        console.print(Text.assemble(("$ ", "bright_black"), (command, "bold")))
        console.print(Text.from_ansi(printed.rstrip("\n")))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "idea.txt").write_text("I was here first.\n")
        init, terminal = start("timestamp-server init tsa --org 'Example Ltd' --country DE", folder)
        read(terminal)
        init.wait()
        serve = "timestamp-server serve --config tsa/tsa.toml"
        server, terminal = start(serve, folder)
        show(serve, read(terminal, until=r"Ctrl-C stops[^\n]*\n"))
        for command in (STAMP, VERIFY):
            process, other = start(command, folder)
            show(command, read(other))
            process.wait()
        server.send_signal(signal.SIGTERM)
        server.wait()
    svg = console.export_svg(title="a timestamp authority, and a timestamp")
    # The picture loads nothing from elsewhere: no font but the reader's own.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    PICTURE.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))


if __name__ == "__main__":
    main()
