"""A whole server whose key is behind a program: it issues, refuses while the program fails, and recovers."""

from __future__ import annotations

import os
from pathlib import Path

from tsa_backends.kms_program import KmsProgram
from tsa_backends.timestamp_server import TimestampServer, run
from tsa_core.testing import IssuedToken, Pki, check_with_verifier, encode_request, shared_key, write_pem
from tsa_core.testing.waiting import wait_until

PIN = "4711-secret"


def test_a_server_issues_by_a_program_and_survives_its_failures(program: KmsProgram, tmp_path: Path) -> None:
    uri = program.make_key("ecdsa-p256")
    chain = Pki().chain(shared_key("ecdsa-p256").public_key())
    arguments = ["--timestamp-signer", "kms", "--kms-key-resource", uri]
    arguments += ["--certificate-chain-path", str(write_pem(tmp_path / "chain.pem", chain))]
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o600)
    config = tmp_path / "tsa.toml"
    config.write_text(
        '[profiles.default]\nsigner_timeout = "4s"\n[signer.demo]\nenvironment = { HSM_PIN = { file = "pin" } }\n'
    )
    arguments += ["--config", str(config)]
    environment = {"PATH": os.environ["PATH"]}
    request = encode_request(b"data")
    with TimestampServer(arguments, environment) as server:
        answer = server.ask(request)
        assert answer.granted
        check_with_verifier(IssuedToken(request=request, response=answer.response, data=b"data", chain=chain))
        for mood in ("refuse", "freeze"):
            program.act(mood)
            assert server.ask(request).failures == {"system_failure"}
            assert server.ready() == 503
            program.act(mood, on=False)
            wait_until(lambda: server.ask(request).granted, seconds=120, what="tokens come again")
    assert PIN not in server.log
    assert "the PIN *** did not help" in server.log
    killed = [int(word) for word in (program.folder / "frozen").read_text().split()]
    wait_until(lambda: not any(map(running, killed)), seconds=60, what="the frozen program is gone with its child")
    program.act("refuse")
    refused = run(["serve", "--port", "0", *arguments], environment)
    assert refused.returncode == 75
    [line] = refused.stderr.splitlines()
    assert line.startswith("timestamp-server: error: profiles.default.signer: ")
    assert PIN not in line


def running(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text()
