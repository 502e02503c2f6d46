"""Commands that are given a certificate open the version of a key that it is for, after a rotation too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.timestamp_server import run
from tsa_core.certs import load_certificates
from tsa_core.testing import write_pem


@pytest.mark.plugin("hashivault", "file")
def test_a_certificate_finds_its_key_after_a_rotation(openbao: OpenBao, tmp_path: Path) -> None:
    """The newest version is another key than the one that was certified: of the parent, of the leaf, at a ceremony."""
    parent, leaf = (f"hashivault://{openbao.make_key(name)}" for name in ("rotated-parent", "rotated-leaf"))
    environment = {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": ROOT_TOKEN, "HOME": str(tmp_path)}

    def make(*arguments: str | Path) -> None:
        done = run(["--org-name", "example.com", *arguments], environment, program="fetch-tsa-certs")
        assert done.returncode == 0, done.stderr

    def rotate() -> None:
        for name in ("rotated-parent", "rotated-leaf"):
            openbao.call("POST", f"transit/keys/{name}/rotate")

    first, request, issued, chain = (tmp_path / f"{name}.pem" for name in ("first", "request", "issued", "chain"))
    make("--parent-kms-resource", parent, "--leaf-kms-resource", leaf, "--output", first)
    make("--leaf-kms-resource", leaf, "--csr-out", request)
    rotate()
    parents = tmp_path / "parents.pem"
    write_pem(parents, load_certificates(first)[1:])
    make("--csr-in", request, "--parent-kms-resource", parent, "--parent-chain", parents, "--output", issued)
    make("--leaf-kms-resource", leaf, "--chain-in", issued, "--chain-in", first, "--output", chain)
    assert load_certificates(chain)[0] in {*load_certificates(issued), *load_certificates(first)}
    words = ["keys", "ceremony", "--attendee", "Ada=officer", "--attendee", "Grace=auditor", "--key", leaf]
    held = run([*words, "--certificate", chain, "--output", tmp_path / "ceremony.json"], environment)
    assert held.returncode == 0, held.stderr
