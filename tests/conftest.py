"""Fixtures of the core's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gates import Gate

_MAX_OCTETS_IN_NAMES = 32


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test by its argument where that is many octets: what is signed differs in each of the runner's workers."""
    return argname if isinstance(val, bytes) and len(val) > _MAX_OCTETS_IN_NAMES else None


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return what plugins wait at; it is open again when the test has ended."""
    made = Gate()
    yield made
    made.go.set()


@pytest.fixture
def fake_plugin(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that installs a plugin of one module into a folder for PYTHONPATH, and returns the folder."""
    return _installer(tmp_path / "site")


@pytest.fixture(scope="session")
def fake_plugin_in() -> Callable[[Path], Callable[..., Path]]:
    """Return a function that returns what `fake_plugin` is, for a folder that outlives the test."""
    return lambda folder: _installer(folder / "site")


def _installer(site: Path) -> Callable[..., Path]:
    def install(
        name: str,
        source: str,
        *,
        distribution: str = "",
        requires: str = "tsa-core>=0.1,<0.2",
        command: bool = False,
    ) -> Path:
        distribution = distribution or f"tsa-signer-{name}"
        module = f"{distribution.replace('-', '_')}_plugin"
        metadata = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (site / f"{module}.py").write_text(source)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: The plugin {name}\n"
            f"Requires-Dist: {requires}\n"
        )
        groups = ("tsa_core.plugins", "tsa_core.commands") if command else ("tsa_core.plugins",)
        (metadata / "entry_points.txt").write_text("".join(f"[{group}]\n{name} = {module}\n" for group in groups))
        return site

    return install
