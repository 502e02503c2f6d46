"""Which client verifies which key: the table of docs/verify/clients.md.

python -m tests.interop.matrix            prints the table of what is on this machine
python -m tests.interop.matrix --write    writes it into the documentation; a client that is not here keeps its row
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Final

from tests.interop.builds import HERE, LANGUAGES, BuildFailed, NoToolchain, built, tool_version
from tests.interop.case_folder import ARTIFACT, KEYS, OTHER, case_folder
from tests.interop.program_clients import PROGRAM_CLIENTS, version
from tests.interop.python_clients import PYTHON_CLIENTS

PAGE: Final = HERE.parents[1] / "docs" / "verify" / "clients.md"
BEGIN, END = "<!-- made by python -m tests.interop.matrix --write -->\n", "<!-- end -->\n"

YES, NO, UNKNOWN = "yes", "no", "unknown"

_UNKNOWN_ALGORITHM = re.compile(
    r"unsupported|unknown signature alg|do not know how|cannot decrypt|unable to find message digest|"
    r"positional arguments|Unknown\w*Algorithm|not supported",
    re.IGNORECASE,
)
"""What clients say of an algorithm that they do not have. rfc3161ng calls every key as if it were RSA's; a Go library
tells an unknown digest from an unknown cipher by no other words than these."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A row of the table. `manifest` is the name under which the language's manifest pins the client."""

    name: str
    title: str
    language: str
    manifest: str


CLIENTS: Final = (
    Client(name="tsa-core", title="timestamp-cli, tsa_core.verify", language="python", manifest="tsa-core"),
    Client(name="openssl", title="openssl ts", language="program", manifest="openssl"),
    Client(name="osslsigncode", title="osslsigncode", language="program", manifest="osslsigncode"),
    Client(name="rfc3161-client", title="rfc3161-client", language="python", manifest="rfc3161-client"),
    Client(name="sigstore-python", title="sigstore-python", language="python", manifest="sigstore"),
    Client(name="pyhanko", title="pyHanko", language="python", manifest="pyHanko"),
    Client(name="rfc3161ng", title="rfc3161ng [^path]", language="python", manifest="rfc3161ng"),
    Client(name="sigstore-go", title="sigstore-go", language="go", manifest="github.com/sigstore/sigstore-go"),
    Client(
        name="timestamp-authority",
        title="sigstore/timestamp-authority",
        language="go",
        manifest="github.com/sigstore/timestamp-authority/v2",
    ),
    Client(name="digitorus", title="digitorus/timestamp", language="go", manifest="github.com/digitorus/timestamp"),
    Client(
        name="tspclient-go",
        title="tspclient-go (notation)",
        language="go",
        manifest="github.com/notaryproject/tspclient-go",
    ),
    Client(name="relic", title="relic", language="go", manifest="github.com/sassoftware/relic/v8"),
    Client(name="ietf-cms", title="ietf-cms (smimesign)", language="go", manifest="github.com/github/smimesign"),
    Client(name="sigstore-rust", title="sigstore-tsa (sigstore-rust)", language="rust", manifest="sigstore-tsa"),
    Client(name="sigstore-js", title="sigstore-js", language="node", manifest="@sigstore/verify"),
    Client(name="sigstore-js-1", title="sigstore-js, of 2024", language="node", manifest="sigstore-verify-1"),
    Client(name="pkijs", title="PKI.js", language="node", manifest="pkijs"),
    Client(name="jarsigner", title="jarsigner", language="java", manifest="jdk"),
    Client(name="bouncycastle", title="Bouncy Castle", language="java", manifest="bcpkix-jdk18on"),
    Client(name="dss", title="DSS (European Commission)", language="java", manifest="dss-spi"),
    Client(name="jsign", title="Jsign [^signature]", language="java", manifest="jsign-core"),
    Client(
        name="cryptographic-message-syntax",
        title="cryptographic-message-syntax (Rust) [^path]",
        language="rust",
        manifest="cryptographic-message-syntax",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a client says of each key's token, None when it accepts; `wrong`: of another artifact's."""

    client: Client
    version: str
    right: Mapping[str, str | None]
    wrong: Mapping[str, str | None]

    def cells(self) -> dict[str, str]:
        """Return yes, no or unknown for each key."""
        return {key: cell(self.right[key]) for key in KEYS}


def cell(error: str | None) -> str:
    """Return the word of the table for what a client said."""
    if error is None:
        return YES
    return UNKNOWN if _UNKNOWN_ALGORITHM.search(error) else NO


def observe(language: str, folder: Path) -> list[Row]:
    """Ask the clients of one language about the tokens of a folder; those that are not installed have no row.

    Raises NoToolchain and BuildFailed.
    """
    if language in LANGUAGES:
        verdicts = verdicts_of_program(language, folder)
    else:
        verdicts = _from_python(folder) if language == "python" else _from_programs(folder)
    rows = []
    for client in CLIENTS:
        if client.language != language or (number := client_version(client)) is None:
            continue
        said = {
            artifact: {key: verdicts[client.name, key, artifact] for key in KEYS} for artifact in ("artifact", "other")
        }
        rows.append(Row(client=client, version=number, right=said["artifact"], wrong=said["other"]))
    return rows


Verdicts = dict[tuple[str, str, str], str | None]


def verdicts_of_program(language: str, folder: Path) -> Verdicts:
    """Run the built program of a language once, for all its clients and keys."""
    command = [*LANGUAGES[language].start, str(folder.resolve())]
    done = subprocess.run(command, cwd=built(language), capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        raise BuildFailed(f"the {language} clients stopped: {done.stderr[-1500:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(line["client"], line["key"], line["artifact"]): line["error"] for line in lines}


def _from_python(folder: Path) -> Verdicts:
    verdicts: Verdicts = {}
    for client in CLIENTS:
        if client.language == "python" and client_version(client) is not None:
            _, verify = PYTHON_CLIENTS[client.name]
            for key in KEYS:
                for artifact, data in (("artifact", ARTIFACT), ("other", OTHER)):
                    try:
                        verify(folder / key, data)
                        error = None
                    except Exception as caught:  # noqa: BLE001 - whatever a client raises is its verdict
                        error = f"{type(caught).__name__}: {caught}"
                    verdicts[client.name, key, artifact] = error
    return verdicts


def _from_programs(folder: Path) -> Verdicts:
    verdicts: Verdicts = {}
    for client in CLIENTS:
        if client.language == "program" and client_version(client) is not None:
            _, verify = PROGRAM_CLIENTS[client.name]
            for key in KEYS:
                for artifact in ("artifact", "other"):
                    try:
                        verify(folder / key, artifact == "artifact")
                        error = None
                    except Exception as caught:  # noqa: BLE001 - as above
                        error = str(caught)
                    verdicts[client.name, key, artifact] = error
    return verdicts


@cache
def client_version(client: Client) -> str | None:
    """Return a client's version here, or the one that its manifest pins; None when it is not installed."""
    match client.language:
        case "python":
            try:
                return distribution_version(client.manifest)
            except PackageNotFoundError:
                return None
        case "program":
            return version(client.manifest)
        case "go":
            return _pinned("go/go.mod", rf"\s{re.escape(client.manifest)} v([^\s-]+(?:-0\.)?(?:\d{{8}}|[^\s])*)")
        case "node":
            dependencies = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
            return str(dependencies[client.manifest]).rpartition("@")[2]
        case "rust":
            return _pinned("rust/Cargo.toml", rf'{client.manifest} = {{ version = "=([^"]+)"')
    if client.manifest == "jdk":
        found = tool_version("java", ("--version",))
        return f"JDK {found[0]}" if found else None
    return _pinned("java/pom.xml", rf"<artifactId>{client.manifest}</artifactId>\s*<version>([^<]+)<")


def _pinned(path: str, pattern: str) -> str:
    found = re.search(pattern, (HERE / path).read_text())
    if found is None:
        raise ValueError(f"{path} does not pin {pattern}")
    return found[1]


def render(rows: Mapping[str, tuple[str, str, Mapping[str, str]]]) -> str:
    """Return the table: rows by client's name are title, version and cells."""
    lines = [
        f"| client | version | {' | '.join(KEYS.values())} |",
        f"|---|---|{'---|' * len(KEYS)}",
    ]
    for title, number, cells in rows.values():
        lines.append(f"| {title} | {number} | {' | '.join(cells[key] for key in KEYS)} |")
    return "\n".join(lines) + "\n"


def documented() -> dict[str, tuple[str, str, Mapping[str, str]]]:
    """Return the rows that the documentation has, by client's name."""
    text = PAGE.read_text()
    titles = {client.title: client.name for client in CLIENTS}
    rows: dict[str, tuple[str, str, Mapping[str, str]]] = {}
    for line in text[text.index(BEGIN) + len(BEGIN) : text.index(END)].splitlines()[2:]:
        title, number, *cells = (part.strip() for part in line.strip("|").split("|"))
        rows[titles[title]] = (title, number, dict(zip(KEYS, cells, strict=True)))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write it into docs/verify/clients.md")
    write: bool = parser.parse_args(arguments).write
    rows = documented() if write else {}
    with tempfile.TemporaryDirectory() as place, case_folder(Path(place)) as folder:
        for language in dict.fromkeys(client.language for client in CLIENTS):
            try:
                found = observe(language, folder)
            except (NoToolchain, BuildFailed) as error:
                sys.stderr.write(f"no {language} clients: {error}\n")
                continue
            for row in found:
                rows[row.client.name] = (row.client.title, row.version, row.cells())
    rows = {client.name: rows[client.name] for client in CLIENTS if client.name in rows}
    if not write:
        sys.stdout.write(render(rows))
        return 0
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + render(rows) + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
