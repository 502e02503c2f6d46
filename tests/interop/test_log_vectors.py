"""Vectors that others publish with their Go modules, which stay outside the repository (decision 135).

transparency-dev/merkle has proofs, right ones and ones that are wrong by a little. torchwood has what a witness is
asked and must answer, as a script of requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.interop import builds
from tsa_core.api import RouteReply, RouteRequest
from tsa_core.protocol.transparency.merkle import is_consistent, root_of_inclusion
from tsa_core.protocol.transparency.note import SignatureType, VerifierKey
from tsa_core.protocol.transparency.signing import NoteSigner

pytestmark = pytest.mark.plugin("witness")


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder of the modules' sources."""
    try:
        return builds.built("tlogvectors")
    except builds.NoToolchain as error:
        builds.not_on_this_machine(str(error))


def vectors(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    found = [(str(path.relative_to(folder)), json.loads(path.read_text())) for path in sorted(folder.rglob("*.json"))]
    assert len(found) > 90
    assert any(each["wantErr"] for _, each in found)
    assert any(not each["wantErr"] for _, each in found)
    return found


def octets(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def path_of(vector: dict[str, Any]) -> list[bytes]:
    return [octets(each) for each in vector["proof"] or []]


def proves_inclusion(vector: dict[str, Any]) -> bool:
    try:
        root = root_of_inclusion(octets(vector["leafHash"]), vector["leafIdx"], vector["treeSize"], path_of(vector))
    except ValueError:
        return False
    return root == octets(vector["root"])


def proves_consistency(vector: dict[str, Any]) -> bool:
    roots = octets(vector["root1"]), octets(vector["root2"])
    return is_consistent(vector["size1"], roots[0], vector["size2"], roots[1], path_of(vector))


def test_proofs_of_inclusion(modules: Path) -> None:
    wrong = [
        name
        for name, vector in vectors(modules / "merkle" / "testdata" / "inclusion")
        if proves_inclusion(vector) == vector["wantErr"]
    ]
    assert wrong == []


def test_proofs_of_consistency(modules: Path) -> None:
    wrong = [
        name
        for name, vector in vectors(modules / "merkle" / "testdata" / "consistency")
        if proves_consistency(vector) == vector["wantErr"]
    ]
    # That an empty proof shows that every tree begins with the empty one is an error there; tlog-witness wants it so.
    assert wrong == ["additional/size1-is-zero-and-size2-is-not-zero.json"]


class Exchange(NamedTuple):
    """A request of the script, and what must come back."""

    body: bytes
    status: int
    expected: str


def exchanges(script: str) -> list[Exchange]:
    """Read the requests to add-checkpoint from a script for hurl."""
    wanted = re.compile(r"POST \S+/add-checkpoint\n```\n(.*?)```\nHTTP (\d+)\n\[Asserts\]\nbody (.*?)\n", re.DOTALL)
    found = [Exchange(body.encode(), int(status), asserted) for body, status, asserted in wanted.findall(script)]
    assert len(found) == script.count("POST ") > 8
    assert {each.status for each in found} >= {200, 403, 404, 409, 422}
    return found


def test_what_a_witness_is_asked_and_answers(modules: Path, tmp_path: Path) -> None:
    from tsa_log.options import WitnessRoutesOptions
    from tsa_log.witness_routes import open_witness

    script = (modules / "torchwood" / "cmd" / "litewitness" / "testdata" / "litewitness.txt").read_text()
    found = re.search(r"add-sigsum-log -key=([0-9a-f]{64})", script)
    assert found
    public = bytes.fromhex(found[1])
    log = VerifierKey(f"sigsum.org/v1/tree/{hashlib.sha256(public).hexdigest()}", SignatureType.ED25519, public)
    key = NoteSigner("example.com/witness", SignatureType.COSIGNATURE_ED25519, bytes(32))
    table = {"directory": str(tmp_path), "key": key.text(), "logs": [{"key": str(log)}]}
    [route] = [
        each
        for each in open_witness(WitnessRoutesOptions.model_validate(table)).routes()
        if each.path == "/witness/add-checkpoint"
    ]
    assert not isinstance(route.answer, RouteReply)
    for number, exchange in enumerate(exchanges(script)):
        reply = route.answer(RouteRequest(method="POST", path=route.path, body=exchange.body))
        assert reply.status == exchange.status, f"request {number}: {reply.body.decode()}"
        text = reply.body.decode()
        if exchange.status == 200:
            assert text.startswith("— example.com/witness ")
        elif exchange.status == 409:
            assert exchange.expected == f"== {json.dumps(text)}"
