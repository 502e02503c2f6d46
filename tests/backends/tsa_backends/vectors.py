"""Where the test vectors are that others published: never in this repository, but in a folder beside or elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsa_core.testing import missing

VARIABLE = "TSA_TEST_VECTORS"
BESIDE = Path(__file__).parents[4] / "shared" / "vectors"
"""Read when the variable is not set: `../shared/vectors`, as seen from the checkout."""


def vectors_folder() -> Path | None:
    """Return the folder of the vectors, or None when there is none; raises UsageError for a variable that names none.

    Usable while tests are collected, to parametrize them with what is in the folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return BESIDE if BESIDE.is_dir() else None
    if not Path(named).is_dir():
        raise pytest.UsageError(f"{VARIABLE} names {named}, which is not a folder")
    return Path(named)


def vectors(name: str) -> Path:
    """Return the vectors' folder `name`, and skip the running test when there are no vectors on this machine.

    That skip is one even with TSA_TEST_REQUIRE=all, because nobody has to own the vectors. Where they are, all of
    them are required: a folder that they lack is skipped or fails as `missing` does.
    """
    folder = vectors_folder()
    if folder is None:
        pytest.skip(f"no published test vectors here: {VARIABLE} is not set, and ../shared/vectors does not exist")
    if not (folder / name).is_dir():
        missing(f"the test vectors in {folder} lack the folder {name}")
    return folder / name
