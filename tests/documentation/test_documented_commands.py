"""Every shell block of README and documentation is typed, or says why not and still names what there is."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.documentation.our_commands import PROGRAMS, calls, complaints
from tests.documentation.page_shell import PageShell, _like
from tests.documentation.shell_blocks import PAGES, ROOT, Block, Step, blocks, shell_blocks
from tsa_core.testing import ServerProcess, require_program

BLOCKS = {page: shell_blocks(page) for page in PAGES}
RUN = {page: [block for block in found if block.reason is None] for page, found in BLOCKS.items()}
_CODE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def trial_port() -> Iterator[Callable[[], int]]:
    """Start what `make serve` starts, when the first page asks for it."""
    started = ExitStack()

    def port() -> int:
        if not servers:
            servers.append(started.enter_context(ServerProcess(None, "--port", "0", "--metrics-port", "0")))
        return servers[0].port

    servers: list[ServerProcess] = []
    with started:
        yield port


@pytest.mark.plugin("memory")
@pytest.mark.plugin("file")
@pytest.mark.parametrize("page", [page for page, found in RUN.items() if found], ids=name)
def test_what_a_page_types_works_and_prints_what_it_shows(
    page: Path, tmp_path: Path, trial_port: Callable[[], int]
) -> None:
    for program in ("bash", "curl", "openssl"):
        require_program(program)
    folder = tmp_path / "page"
    folder.mkdir()
    shell = PageShell(folder, trial_port)
    try:
        for block in RUN[page]:
            shell.run(block)
    finally:
        shell.close()


@pytest.mark.plugin("archive")
@pytest.mark.plugin("auditfile")
@pytest.mark.plugin("tink")
@pytest.mark.plugin("auditfile")
@pytest.mark.plugin("archive")
@pytest.mark.plugin("tink")
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_our_programs_have_the_commands_and_flags_that_a_page_names(page: Path) -> None:
    lines = [step.command for block in BLOCKS[page] for step in block.steps()]
    text = page.read_text(encoding="utf-8")
    lines += [" ".join(found.split()) for found in _CODE.findall(text)]
    wrong = [f"{line}: {each}" for line in lines for call in calls(line) for each in complaints(call)]
    assert not wrong, f"{name(page)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_are_fenced_with_their_language_and_can_be_read(page: Path) -> None:
    for block in blocks(page):
        assert block.language, f"{block.place}: say which language it is, so that it is highlighted"
        assert block.language not in {"shell", "sh", "bash"}, f"{block.place}: console, with `$ ` before what is typed"
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "python":
            ast.parse(block.text)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_command_is_in_an_indented_block(page: Path) -> None:
    """Such a block is neither highlighted nor run."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^    +(?:\$ |make |pip |curl |(?:" + "|".join(PROGRAMS) + r") ).*$", text, re.MULTILINE) == []


def test_a_wrong_command_flag_or_choice_is_found() -> None:
    found = [
        complaint
        for line in (
            "timestamp-server server --config tsa.toml",
            "cat x | timestamp-cli verify --artefact x",
            "timestamp-server --port 3000 serve --timestamp-signer=hsm && true",
            "fetch-tsa-certs --output chain.pem; timestamp-server plugins new acme --kind nothing",
        )
        for call in calls(line)
        for complaint in complaints(call)
    ]
    assert [complaint.partition(" takes ")[0] for complaint in found] == [
        "timestamp-server has no command server",
        "timestamp-cli verify has no flag --artefact",
        "--timestamp-signer",
        "--kind",
    ]


def test_commands_and_what_they_print_are_told_apart() -> None:
    text = "$ first \\\n    --flag\nprinted\n\n$ cat > file <<'EOF'\n$ not typed\nEOF\n$ last"
    block = Block(page=ROOT / "README.md", line=1, language="console", text=text)
    assert list(block.steps()) == [
        Step("first \\\n    --flag", ("printed", "")),
        Step("cat > file <<'EOF'\n$ not typed\nEOF"),
        Step("last"),
    ]


@pytest.mark.parametrize(
    ("documented", "printed", "same"),
    [
        ("Time: 2026-11-29T03:24:32Z", "Time: 2027-01-02T13:04:05Z", True),
        ("Signer: CN=A,...", "Signer: CN=A,O=B", True),
        ("Signer: CN=A", "Signer: CN=B", False),
        ("Verification: OK", "Verification: FAILED", False),
    ],
)
def test_figures_may_differ_and_nothing_else(documented: str, printed: str, same: bool) -> None:
    assert _like(documented, printed) is same
