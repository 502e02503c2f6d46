"""Builds clients in Go, JavaScript, Java and Rust, the reference system and judges of KMS clients, once, into a cache.

A build is named by its sources and its toolchain's version; a change of either makes a new one. Exact versions are in
the manifests beside the sources. `python -m tests.interop.builds` builds all that this machine has toolchains for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import pytest

HERE: Final = Path(__file__).parent
_SECONDS: Final = 800
REFERENCE_PROGRAMS: Final = ("timestamp-server", "timestamp-cli", "fetch-tsa-certs")
"""The programs of the Sigstore Timestamp Authority, which `built("reference")` has in its folder `bin`."""
KMS_PLUGIN: Final = "sigstore-kms-goplugin"
_REFERENCE: Final = "github.com/sigstore/timestamp-authority/v2"
_JVM: Final = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp")
"""What starts a program of Java that runs for a second, in which better code and more threads do not pay."""
_COPY_DEPENDENCIES: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class NoToolchain(Exception):
    """A program is not here, or too old for these clients; the text says which and what would do."""


def not_on_this_machine(reason: str) -> NoReturn:
    """Skip a test that needs a toolchain, or a version, which no machine has to have (decision 158)."""
    pytest.skip(reason)


class BuildFailed(Exception):
    """A toolchain that is here did not build its clients; the text is the end of what it printed."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """How the clients of one language are built.

    `tools` are programs, with the lowest version that does and how they are asked for theirs. `build` gets the folder
    to build in, which has a copy of the sources. `start` are the arguments that run the result, from that folder.
    """

    name: str
    tools: dict[str, tuple[tuple[int, int], Sequence[str]]]
    build: Callable[[Path], None]
    start: Sequence[str]


def _run(*command: str, folder: Path, **environment: str) -> None:
    """Run one step of a build; BuildFailed when it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BuildFailed(f"{command[0]} did not end within {_SECONDS} s") from None
    if done.returncode:
        raise BuildFailed(f"{' '.join(command[:2])}: {done.stdout.strip()[-1500:]}")


def _go(output: str, *packages: str) -> Callable[[Path], None]:
    """Return what builds Go packages into a program, or into a folder where `output` ends with a slash."""
    flags = ("-trimpath", "-mod=readonly", "-ldflags=-s -w")

    def build(folder: Path) -> None:
        if output.endswith("/"):
            (folder / output).mkdir()
        command = ("go", "build", *flags, "-o", output, *packages)
        _run(*command, folder=folder, GOTOOLCHAIN="local", GOFLAGS="-buildvcs=false")

    return build


def _sources(folder: Path) -> None:
    """Unpack the Go modules that go.mod requires, each into a folder of its repository's name; nothing is compiled.

    Go compares each with the sum in go.sum.
    """
    manifest = (folder / "go.mod").read_text(encoding="utf-8")
    for module, version in re.findall(r"^\t(\S+) (v\S+)$", manifest, re.MULTILINE):
        command = ("go", "mod", "download", "-json", f"{module}@{version}")
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "GOTOOLCHAIN": "local"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BuildFailed(f"{' '.join(command)}: {(done.stdout + done.stderr).strip()[-1500:]}")
        repository = re.sub(r"/v\d+$", "", module).rpartition("/")[2]
        shutil.copytree(json.loads(done.stdout)["Dir"], folder / repository, copy_function=shutil.copyfile)


def _node(folder: Path) -> None:
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)


def _java(folder: Path) -> None:
    _jars(folder)
    _run("javac", "-cp", "lib/*", "-d", "classes", "Interop.java", folder=folder)


def _jars(folder: Path) -> None:
    _run("mvn", "-q", "-B", _COPY_DEPENDENCIES, "-DoutputDirectory=lib", folder=folder)


def _java_judge(program: str) -> Callable[[Path], None]:
    """Return what builds a judge that is one Java file."""

    def build(folder: Path) -> None:
        _jars(folder)
        _run("javac", "-cp", "lib/*", "-d", "classes", f"{program}.java", folder=folder)

    return build


def _rust(folder: Path) -> None:
    _run("cargo", "build", "--quiet", folder=folder, CARGO_TARGET_DIR="target")
    shutil.copy2(folder / "target" / "debug" / "interop", folder / "interop")
    shutil.rmtree(folder / "target")


_GO: Final[dict[str, tuple[tuple[int, int], Sequence[str]]]] = {"go": ((1, 25), ("version",))}

LANGUAGES: Final[dict[str, Language]] = {
    language.name: language
    for language in (
        Language(name="go", tools=_GO, build=_go("interop", "."), start=("./interop",)),
        Language(name="certmaker", tools=_GO, build=_sources, start=()),
        Language(name="helm", tools=_GO, build=_go("helm", "helm.sh/helm/v3/cmd/helm"), start=("./helm",)),
        Language(name="kms", tools=_GO, build=_go("kms", "."), start=("./kms",)),
        Language(name="tlogvectors", tools=_GO, build=_sources, start=()),
        Language(name="tlog", tools=_GO, build=_go("tlog", "."), start=("./tlog",)),
        Language(name="kmsplugin", tools=_GO, build=_go(KMS_PLUGIN, "."), start=(f"./{KMS_PLUGIN}",)),
        Language(
            name="reference",
            tools=_GO,
            build=_go("bin/", *(f"{_REFERENCE}/cmd/{name}" for name in REFERENCE_PROGRAMS)),
            start=("bin/timestamp-server",),
        ),
        Language(
            name="node",
            tools={"node": ((20, 19), ("--version",)), "npm": ((9, 0), ("--version",))},
            build=_node,
            start=("node", "interop.js"),
        ),
        Language(
            name="java",
            tools={"javac": ((17, 0), ("--version",)), "mvn": ((3, 6), ("--version",))},
            build=_java,
            start=(*_JVM, "classes" + os.pathsep + "lib/*", "Interop"),
        ),
        Language(
            name="timestampeddata",
            tools={"javac": ((17, 0), ("--version",)), "mvn": ((3, 6), ("--version",))},
            build=_java_judge("TimestampedData"),
            start=(*_JVM, "classes" + os.pathsep + "lib/*", "TimestampedData"),
        ),
        Language(
            name="ers",
            tools={"javac": ((17, 0), ("--version",)), "mvn": ((3, 6), ("--version",))},
            build=_java_judge("EvidenceJudge"),
            start=(*_JVM, "classes" + os.pathsep + "lib/*", "EvidenceJudge"),
        ),
        Language(
            name="jsign",
            tools={"java": ((17, 0), ("--version",)), "mvn": ((3, 6), ("--version",))},
            build=_jars,
            start=(*_JVM, "lib/*", "net.jsign.JsignCLI"),
        ),
        Language(
            name="qualified",
            tools={"javac": ((17, 0), ("--version",)), "mvn": ((3, 6), ("--version",))},
            build=_java_judge("QualifiedJudge"),
            start=(*_JVM, "classes" + os.pathsep + "lib/*", "QualifiedJudge"),
        ),
        Language(name="rust", tools={"cargo": ((1, 85), ("--version",))}, build=_rust, start=("./interop",)),
    )
}


def tool_version(tool: str, arguments: Sequence[str]) -> tuple[int, int] | None:
    """Return the first two numbers of a program's version, None when it is not here or says none."""
    if (path := shutil.which(tool)) is None:
        return None
    said = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def built(name: str) -> Path:
    """Return the folder of a language's built clients; build them when they are not there yet.

    Raises NoToolchain or BuildFailed.
    """
    language = LANGUAGES[name]
    key = hashlib.sha256(Path(__file__).read_bytes())
    for tool, (least, arguments) in language.tools.items():
        found = tool_version(tool, arguments)
        if found is None or found < least:
            here = "is not here" if found is None else f"is {found[0]}.{found[1]}"
            raise NoToolchain(f"{tool} {here}; {name} clients are built with {least[0]}.{least[1]} or newer")
        key.update(f"{tool} {found}\n".encode())
    sources = HERE / name
    for path in sorted(sources.rglob("*")):
        if path.is_file():
            key.update(str(path.relative_to(sources)).encode() + b"\0" + path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tsa-core-interop"
    target = cache / f"{name}-{key.hexdigest()[:16]}"
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f".{name}.lock"):
            if not target.is_dir():
                _build(language, sources, target)
    return target


def program(name: str) -> tuple[str, ...]:
    """Return the command that starts a program of Java from any folder; raises NoToolchain or BuildFailed."""
    folder = built(name)
    return tuple(str(folder / "lib") + "/*" if word == "lib/*" else word for word in LANGUAGES[name].start)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock between processes: the test runner's workers come for the same clients at the same time."""
    with lock.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _build(language: Language, sources: Path, target: Path) -> None:
    """Build in a folder beside the target, which appears when all is done."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{language.name}-") as place:
        folder = Path(place) / "build"
        shutil.copytree(sources, folder)
        language.build(folder)
        folder.rename(target)


def main() -> None:
    """Build every language's clients; a toolchain that is not here is named."""
    for name in LANGUAGES:
        try:
            sys.stderr.write(f"{name}: {built(name)}\n")
        except NoToolchain as error:
            sys.stderr.write(f"{name}: {error}\n")
        except BuildFailed as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
