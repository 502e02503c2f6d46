"""Files that are written have their mode and owner from the moment at which they are there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tsa_core.cli.output_file import write_file


@pytest.mark.needs(os.geteuid() == 0, "gives a file to another user, as root")
def test_a_file_has_its_owner_and_mode_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed between the two would leave a file that the server cannot read."""
    path = tmp_path / "tsa.toml"
    path.write_text("old")
    seen: list[tuple[int, int, int]] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        status = self.stat()
        seen.append((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    write_file(path, b"new", mode=0o640, owner=(4242, 4343))
    assert seen == [(4242, 4343, 0o640)]
    assert path.read_text() == "new"
