"""Three authorities of somebody else's, and a trail for them to stamp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.service.anchored_trail import OtherTsa, write
from tsa_core.testing import Pki


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(scope="module")
def running(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OtherTsa]]:
    """Three authorities under one root."""
    folder = tmp_path_factory.mktemp("others")
    others = [OtherTsa(pki, folder / str(number)) for number in range(3)]
    with ExitStack() as stack:
        for other in others:
            stack.enter_context(other.http)
        yield others


@pytest.fixture
def others(running: list[OtherTsa]) -> list[OtherTsa]:
    for other in running:
        other.http.answer = other.stamp
        other.http.received.clear()
    return running


@pytest.fixture
def config(tmp_path: Path, pki: Pki, others: list[OtherTsa]) -> Path:
    """A configuration with three other authorities, of which two must answer, and a trail of five tokens."""
    path = tmp_path / "tsa.toml"
    (tmp_path / "roots.pem").write_bytes(pki.root.public_bytes(Encoding.PEM))
    urls = ", ".join(f'"{other.http.url}"' for other in others)
    path.write_text(
        f'[audit]\nsinks = ["auditfile"]\nanchor_urls = [{urls}]\nanchor_roots = "roots.pem"\nanchor_threshold = 2\n'
        'anchor_deadline = "20s"\n[audit.auditfile]\npath = "trail/audit.jsonl"\nprobe_interval = "none"\n'
    )
    write(path, range(1, 6))
    return path
