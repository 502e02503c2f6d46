"""A mounted secret is exchanged as Kubernetes does it: a symbolic link leads elsewhere, and its old target is gone."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.rotation import ENGINES, TsaDirectory
from tests.tls_material import TlsMaterial
from tsa_core.testing import wait_until


def exchange(mount: Path, files: Mapping[str, bytes]) -> None:
    """Let `NAME -> ..data/NAME` and `..data -> ..VERSION` lead to new files, and remove the old ones."""
    data = mount / "..data"
    old = data.resolve() if data.is_symlink() else None
    new = mount / f"..version-{len(list(mount.iterdir()))}-{old.name if old else ''}"
    new.mkdir()
    for name, content in files.items():
        (new / name).write_bytes(content)
        (new / name).chmod(0o600)
        if not (mount / name).is_symlink():
            (mount / name).symlink_to(f"..data/{name}")
    (mount / "..data_tmp").symlink_to(new.name)
    (mount / "..data_tmp").replace(data)
    if old is not None:
        shutil.rmtree(old)


@pytest.mark.plugin("file")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_server_goes_on_with_the_new_tls_files(tmp_path: Path, engine: str) -> None:
    """granian, which does TLS for both engines, opened the old target again and ended the process."""
    mount, place = tmp_path / "mount", tmp_path / "tls"
    mount.mkdir()
    place.mkdir()
    tls = TlsMaterial(place)
    pairs = [tuple(path.read_bytes() for path in tls.write(name)) for name in ("first", "second")]
    exchange(mount, dict(zip(("tls.crt", "tls.key"), pairs[0], strict=True)))
    server = 'schemes = ["http", "https"]\ntls_certificate = "mount/tls.crt"\ntls_key = "mount/tls.key"\n'
    directory = TsaDirectory(tmp_path, server=server)
    with directory.served(engine, "--tls-port", "0", "--metrics-port", "0") as served:

        def shows(pair: tuple[bytes, ...]) -> bool:
            try:
                return ssl.get_server_certificate(served.address("https")).encode() in pair[0]
            except OSError:  # a connection to the listener that ends
                return False

        wait_until(lambda: shows(pairs[0]), seconds=60, what="the first certificate is shown")
        exchange(mount, dict(zip(("tls.crt", "tls.key"), pairs[1], strict=True)))
        assert directory.reload().succeeded
        wait_until(lambda: shows(pairs[1]), seconds=60, what="the second certificate is shown")
        assert "ended by itself" not in served.log
