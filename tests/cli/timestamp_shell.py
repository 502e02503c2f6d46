"""timestamp-cli in this process, and a TSA for it to ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tsa_core.cli import timestamp as timestamp_cli
from tsa_core.protocol.request import read_request
from tsa_core.protocol.tstinfo import Accuracy
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import make_chain
from tsa_core.testing.http_tsa import Answer

CHAIN = make_chain()


def honest(request: bytes, gen_time: datetime | None = None) -> Answer:
    parsed = read_request(request)
    assert parsed.hash_algorithm is not None
    content = forge.tst_info(
        hash_algorithm=parsed.hash_algorithm,
        digest=parsed.digest,
        nonce=parsed.nonce,
        policy=parsed.policy or forge.POLICY,
        # Without a nonce only a recent reply counts (rule V6).
        gen_time=gen_time or (forge.GEN_TIME if parsed.nonce is not None else datetime.now(UTC)),
        accuracy=Accuracy(microseconds=1_000_000),
    )
    certificates = [CHAIN.signer.der, CHAIN.intermediate.der] if parsed.cert_req else []
    return Answer(body=forge.reply(forge.token(CHAIN.signer, content, certificates=certificates)))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str


class Shell:
    """Runs timestamp-cli in this process, in a folder of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Outcome:
        self._capsys.readouterr()
        code = timestamp_cli.run(arguments)
        captured = self._capsys.readouterr()
        return Outcome(code=code, out=captured.out, err=captured.err)

    def fails(self, code: int, *arguments: str) -> str:
        outcome = self(*arguments)
        assert outcome.code == code, outcome
        assert outcome.out == ""
        assert outcome.err.startswith("timestamp-cli: ")
        assert outcome.err.count("\n") == 1
        return outcome.err


@contextmanager
def piped(file: str) -> Iterator[str]:
    """Give the name of a pipe that holds what is in a file, as the shell's <(cat FILE) does."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as end:
            end.write(Path(file).read_bytes())
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)


def names(reply: str) -> set[str]:
    return {line.partition(":")[0] for line in reply.splitlines()}
