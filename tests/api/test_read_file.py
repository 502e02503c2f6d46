"""Files that operators name are read whole, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsa_core.api import ConfigError, read_file


def test_file_up_to_the_limit_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for size in (0, 1, 2048):
        path.write_bytes(b"k" * size)
        assert read_file(path, "private key", limit=2048) == b"k" * size


def test_larger_file_is_refused_and_never_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"k" * 2049)
    # A device has no end: reading all of it would fill the memory.
    for large in (path, Path("/dev/zero")):
        with pytest.raises(ConfigError) as caught:
            read_file(large, "private key", limit=2048)
        assert str(caught.value) == f"{large}: the file is larger than any private key (2 KiB)"


def test_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.pem: the private key cannot be read: No such file or directory$"):
        read_file(tmp_path / "nope.pem", "private key", limit=1)
    with pytest.raises(ConfigError, match=r"the private key cannot be read: Is a directory; name the file itself$"):
        read_file(tmp_path, "private key", limit=1)
