"""The README's blocks with curl, typed as they stand: only the port is another one, and the limit is reached before."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tsa_core.testing import ServerProcess, encode_request, require_program

from .test_guard_keys import add

pytestmark = pytest.mark.plugin("memory")

README = (Path(__file__).parents[1] / "README.md").read_text()
SETTINGS = README.partition("```toml\n")[2].partition("```")[0]
BLOCKS = re.findall(
    r"```console\n(.*?)```", README.partition("## What clients see")[2].partition("\n## ")[0], re.DOTALL
)


def typed(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block, and the lines that the block shows after it."""
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        lines = part.splitlines()
        last = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
        yield "\n".join(lines[: last + 1]), lines[last + 1 :]


def spend(server: ServerProcess, key: str) -> None:
    """Use up the limit of this second, and with it part of the next."""
    connection = http.client.HTTPConnection(*server.address(), timeout=60)
    for _ in range(200):
        connection.request("GET", "/", headers={"X-API-Key": key})
        connection.getresponse().read()
    connection.close()


def test_the_readme_shows_what_curl_gets(tmp_path: Path) -> None:
    require_program("curl", package="curl")
    keys = tmp_path / "keys.jsonl"
    variables = {"KEY": add(keys, name="build-server", tenant="acme"), "STRANGER": add(keys, name="x", tenant="other")}
    (tmp_path / "request.tsq").write_bytes(encode_request(b"curl"))
    config = tmp_path / "tsa.toml"
    memory = "[metrics]\nenabled = false\n[profiles.default]\nsigner = 'memory:'\n"
    config.write_text(memory + SETTINGS.replace("/etc/tsa/keys.jsonl", "keys.jsonl").replace('"20/second"', '"20/day"'))
    commands = [each for block in BLOCKS for each in typed(block)]
    assert [shown[0][:12] for _, shown in commands] == ["HTTP/1.1 401", "HTTP/1.1 403", "200 applicat", "HTTP/1.1 429"]
    with ServerProcess(config) as server:
        for number, (command, shown) in enumerate(commands):
            if number == len(commands) - 1:
                spend(server, variables["KEY"])
            done = subprocess.run(
                command.replace("http://127.0.0.1:3000", server.url),
                shell=True,
                cwd=tmp_path,
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            # A limit of a second could be over meanwhile, so this server has one of a day, and other numbers.
            output = re.sub(r"(?m)^Retry-After: \d+$", "Retry-After: 1", done.stdout.replace("\r", ""))
            output = re.sub(r"20 per 1 day; try again in \d+ s", "20 per 1 second; try again in 1 s", output)
            position = 0
            for line in shown:
                if line not in {"...", ""}:
                    assert line in output[position:].splitlines(), f"{line!r} is not in:\n{done.stdout}"
                    position = output.index(line, position) + len(line)
