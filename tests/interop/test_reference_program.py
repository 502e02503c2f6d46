"""The table of the reference system's commands and flags is what its own programs say."""

from __future__ import annotations

import pytest

from tests.interop import reference_commands
from tests.interop.builds import NoToolchain, not_on_this_machine


@pytest.mark.timeout(900)
def test_the_table_is_what_the_programs_print() -> None:
    try:
        found = reference_commands.read()
    except NoToolchain as error:
        not_on_this_machine(str(error))
    assert reference_commands.rendered(found) == reference_commands.TABLE.read_text(encoding="utf-8"), (
        "the reference system has changed: python -m tests.interop.reference_commands --write"
    )
