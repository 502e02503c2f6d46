"""BouncyCastle reads the TimeStampedData that extend writes, and we read BouncyCastle's (RFC 5544)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.builds import LANGUAGES, NoToolchain, built, not_on_this_machine
from tsa_core.client.extend import wrap
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.timestamped_data import Layer, TimeStampedData, read_timestamped_data
from tsa_core.protocol.token_material import with_material
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.testing.forged_revocation import crl
from tsa_core.verify import TrustStore
from tsa_core.verify.layers import verify_timestamped_data

CHAIN = make_chain()
TRUST = TrustStore.from_chain(CHAIN.pem)
CONTENT = b"what was signed in 2025\n" * 200


def stamped(digest: bytes) -> bytes:
    content = forge.tst_info(digest=digest)
    return forge.token(CHAIN.signer, content, certificates=sorted([CHAIN.signer.der, CHAIN.intermediate.der]))


class Judge:
    """BouncyCastle in one process, which is asked one question after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *words: str | Path) -> list[str]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("\t".join(map(str, words)) + "\n")
        stdin.flush()
        lines = []
        while (line := stdout.readline()) != ".\n":
            assert line, "BouncyCastle's process has ended"
            lines.append(line.rstrip("\n"))
        return lines


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    try:
        folder = built("timestampeddata")
    except NoToolchain as error:
        not_on_this_machine(str(error))
    program, *start = LANGUAGES["timestampeddata"].start
    command = [shutil.which(program) or program, *start]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:  # type: ignore[call-overload]  # a dict of words
        try:
            yield Judge(process)
        finally:
            process.kill()


def test_bouncycastle_reads_ours(judge: Judge, tmp_path: Path) -> None:
    first = stamped(SHA256.digest(CONTENT))
    rich = with_material(
        first, certificates=[CHAIN.root.der], crls=[crl(CHAIN.intermediate, this_update=forge.GEN_TIME)]
    )
    layers = [Layer(token=rich)]
    for _ in range(2):
        layers.append(Layer(token=stamped(SHA256.digest(layers[-1].encoded))))
    whole = TimeStampedData(layers=tuple(layers), content=CONTENT)
    beside = Layer(token=first, crl=crl(CHAIN.intermediate, this_update=forge.GEN_TIME))
    with_crl = (beside, Layer(token=stamped(SHA256.digest(beside.encoded))))
    files = {
        "whole": whole,
        "without the middle": whole.with_layers((layers[0], layers[2])),
        "other content": TimeStampedData(layers=tuple(layers), content=CONTENT + b"x"),
        "other evidence": whole.with_layers((Layer(token=first), *layers[1:])),
        "crl beside": TimeStampedData(layers=with_crl, content=CONTENT),
    }
    for name, file in files.items():
        (tmp_path / name).write_bytes(file.encode())
    said = dict(zip(files, judge("judge", *(tmp_path / name for name in files)), strict=True))
    assert said == {
        "whole": f"valid 3 {len(CONTENT)}",
        "without the middle": "refused ImprintDigestInvalidException",
        "other content": "refused ImprintDigestInvalidException",
        "other evidence": "refused ImprintDigestInvalidException",
        "crl beside": f"valid 2 {len(CONTENT)}",
    }
    assert verify_timestamped_data(whole, trust=TRUST).proof is not None


def test_we_read_bouncycastles(judge: Judge, tmp_path: Path) -> None:
    """With metadata that the timestamp is over too, indefinite lengths and the content in pieces."""
    content, token, one, two = (tmp_path / name for name in ("content", "token", "one.tsd", "two.tsd"))
    content.write_bytes(CONTENT)
    (digest,) = judge("make", one, content)
    token.write_bytes(stamped(bytes.fromhex(digest)))
    judge("make", one, content, token)
    (following,) = judge("next", one)
    token.write_bytes(stamped(bytes.fromhex(following)))
    judge("add", two, one, token)
    archive = read_timestamped_data(two.read_bytes())
    assert archive.metadata is not None
    assert (archive.metadata.file_name, archive.metadata.media_type) == ("contract.txt", "text/plain")
    assert archive.content == CONTENT
    verdict = verify_timestamped_data(two.read_bytes(), trust=TRUST)
    assert verdict.proof is not None
    assert wrap(archive.layers[0].token).layers == archive.layers[:1]
