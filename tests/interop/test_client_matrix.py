"""Clients in five languages against a server with twelve kinds of keys; the documentation's table says what they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.builds import BuildFailed, NoToolchain, not_on_this_machine
from tests.interop.case_folder import KEYS, case_folder
from tests.interop.matrix import CLIENTS, YES, Row, cell, client_version, documented, observe, render
from tsa_core.testing.programs import missing

pytestmark = [pytest.mark.plugin("file"), pytest.mark.timeout(900)]  # cold builds of the other languages' clients

LANGUAGES = tuple(dict.fromkeys(client.language for client in CLIENTS))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with case_folder(tmp_path_factory.mktemp("tokens")) as folder:
        yield folder


@pytest.fixture(scope="module", params=LANGUAGES)
def rows(request: pytest.FixtureRequest, tokens: Path) -> list[Row]:
    """What the clients of one language say; without their toolchain there are none, on any machine."""
    try:
        return observe(request.param, tokens)
    except NoToolchain as reason:
        not_on_this_machine(str(reason))
    except BuildFailed as reason:
        missing(str(reason))


def test_clients_verify_the_keys_that_the_documentation_says(rows: list[Row]) -> None:
    table = documented()
    compared = {row.client.name: row for row in rows if row.version == table[row.client.name][1]}
    assert {name: row.cells() for name, row in compared.items()} == {name: table[name][2] for name in compared}
    if len(compared) < len(rows):
        others = [f"{row.client.name} {row.version}" for row in rows if row.client.name not in compared]
        not_on_this_machine(f"the table is of other versions than {', '.join(others)}")


def test_every_client_accepts_a_key(rows: list[Row]) -> None:
    """Of whatever version it is; else a client that is called wrongly would only seem to refuse."""
    for row in rows:
        assert None in row.right.values(), f"{row.client.name}: {row.right}"


def test_every_client_refuses_a_token_of_another_artifact(rows: list[Row]) -> None:
    for row in rows:
        assert None not in row.wrong.values(), f"{row.client.name}: {row.wrong}"


def test_the_table_has_a_row_for_each_client_of_the_version_that_is_pinned() -> None:
    table = documented()
    assert list(table) == [client.name for client in CLIENTS]
    for client in CLIENTS:
        if client.language in {"go", "node", "rust"}:
            assert table[client.name][1] == client_version(client)
        assert set(table[client.name][2]) == set(KEYS)


def test_a_row_that_is_written_is_read_again() -> None:
    table = documented()
    assert render(table).splitlines()[2:] == [
        f"| {title} | {number} | {' | '.join(cells.values())} |" for title, number, cells in table.values()
    ]


def test_words_of_clients_become_words_of_the_table() -> None:
    assert cell(None) == YES
    assert cell("Unsupported signature algorithm: 1.3.101.112") == "unknown"
    assert cell("the signature is not valid") == "no"
