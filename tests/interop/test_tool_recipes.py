"""docs/signing-tools.md: what it says to type is typed, in its order, where the program is a package."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from tests.cli.timestamp_shell import CHAIN, honest
from tests.documentation.shell_blocks import ROOT, Block, blocks
from tests.extract.signed_files import blank_pdf, coder, pem_files
from tests.interop.builds import NoToolchain, not_on_this_machine
from tests.interop.builds import program as java_program
from tests.interop.program_clients import portable_executable
from tsa_core.testing.http_tsa import HttpTsa
from tsa_core.testing.programs import require_package, require_program

PAGE = ROOT / "docs" / "signing-tools.md"
BLOCKS = list(blocks(PAGE))
TYPED = [block for block in BLOCKS if block.reason and "test_tool_recipes.py" in block.reason]
PACKAGES = {"jarsigner": "a JDK", "osslsigncode": "osslsigncode", "openssl": "openssl"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HttpTsa(honest) as server:
        yield server.origin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the page takes for granted: a key, a program, a JAR, the authority's chain."""
    ca, signer = coder()
    (tmp_path / "chain.pem").write_bytes(CHAIN.pem)
    (tmp_path / "password.txt").write_text("secret\n")
    (tmp_path / "setup.exe").write_bytes(portable_executable())
    pem_files(tmp_path, signer)
    encryption = BestAvailableEncryption(b"secret")
    assert isinstance(signer.key, RSAPrivateKey)
    chain = [ca.certificate]
    store = pkcs12.serialize_key_and_certificates(b"coder", signer.key, signer.certificate, chain, encryption)
    (tmp_path / "coder.p12").write_bytes(store)
    with zipfile.ZipFile(tmp_path / "app.jar", "w") as archive:
        archive.writestr("hello.txt", "hello")
    (tmp_path / "contract.pdf").write_bytes(b"%PDF-1.7")
    return tmp_path


def typed(block: Block, folder: Path, url: str) -> None:
    """Type a block; each line that it shows must be one that is printed, but for what `...` stands for."""
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIMESTAMP_")},
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), str(folder / "bin"), os.environ["PATH"])),
        "HOME": str(folder),
        "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
    }
    for step in block.steps():
        command = step.command.replace("http://127.0.0.1:3000", url)
        words = ["bash", "-e", "-o", "pipefail", "-c", command]
        done = subprocess.run(
            words, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        for line in filter(None, map(str.strip, step.output)):
            pattern = ".*".join(map(re.escape, line.split("...")))
            assert re.search(pattern, done.stdout), f"{command}\nprinted nothing like {line!r}, but\n{done.stdout}"


def first_program(block: Block) -> str:
    return next(iter(block.steps())).command.split()[0]


@pytest.mark.parametrize("block", [each for each in TYPED if first_program(each) in PACKAGES], ids=first_program)
def test_what_the_page_types(block: Block, folder: Path, url: str) -> None:
    program = first_program(block)
    require_program("bash")
    require_program(program, package=PACKAGES[program])
    typed(block, folder, url)


def test_what_the_page_types_for_jsign(folder: Path, url: str) -> None:
    require_program("bash")
    try:
        command = java_program("jsign")
    except NoToolchain as error:
        not_on_this_machine(str(error))
    (folder / "bin").mkdir()
    script = folder / "bin" / "jsign"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    script.chmod(0o700)
    (block,) = [each for each in TYPED if first_program(each) == "jsign"]
    typed(block, folder, url)


def test_the_program_for_pyhanko(folder: Path, url: str) -> None:
    require_package("pyhanko", install="pyHanko")
    (folder / "contract.pdf").write_bytes(blank_pdf())
    (python,) = [block.text for block in BLOCKS if block.language == "python"]
    subprocess.run(
        [sys.executable, "-c", python.replace("http://127.0.0.1:3000", url)], cwd=folder, check=True, timeout=120
    )
    (block,) = [each for each in TYPED if first_program(each) == "timestamp-cli"]
    typed(block, folder, url)


def test_the_configuration_for_maven_is_xml_with_the_address() -> None:
    (xml,) = [block.text for block in BLOCKS if block.language == "xml"]
    assert ElementTree.fromstring(xml).findtext("configuration/tsa") == "http://127.0.0.1:3000"


def test_every_block_of_a_package_is_typed() -> None:
    assert {first_program(block) for block in TYPED} == {*PACKAGES, "jsign", "timestamp-cli"}
