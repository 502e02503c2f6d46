"""Flags of timestamp-cli about the connection: each reaches the client, and credentials reach nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.timestamp_shell import Shell, honest
from tests.client.lying_server import Certificates, Lie, LyingServer
from tsa_core.testing.http_tsa import Answer, HttpTsa

SECRET = "s3cret"


def test_headers_and_a_token_are_sent(shell: Shell, tsa: HttpTsa) -> None:
    Path("token").write_text(f"{SECRET}\n")
    arguments = ("--header", "X-One: 1", "--header", "X-Two:a:b", "--token-file", "token")
    assert shell("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, *arguments).code == 0
    sent = tsa.received[0].headers
    assert (sent["X-One"], sent["X-Two"], sent["Authorization"]) == ("1", "a:b", f"Bearer {SECRET}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--header", SECRET), "NAME:VALUE"),
        (("--header", f": {SECRET}"), "NAME:VALUE"),
        (("--header", f"X-A: {SECRET}", "--header", f"x-a: {SECRET}"), "twice"),
        (("--header", f"X-A: {SECRET}\n\x1b"), "cannot be sent"),
        (("--header", "Host: x"), "by the client itself"),
        (("--token-file", "missing"), "cannot be read"),
        (("--token-file", "a.txt", "--header", f"Authorization: {SECRET}"), "give one of them"),
        (("--token-over-http",), "no bearer token"),
        (("--ca", "missing.pem"), "cannot be read"),
        (("--ca", "a.txt"), "no PEM certificate"),
        (("--client-key", "a.txt"), "needs a client certificate"),
        (("--client-certificate", "a.txt"), "PEM certificate"),
        (("--retries", "-1"), "--retries"),
        (("--clock-window", "soon"), "duration"),
    ],
)
def test_flags_that_cannot_be_used(shell: Shell, tsa: HttpTsa, arguments: tuple[str, ...], said: str) -> None:
    message = shell.fails(2, "timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, *arguments)
    assert said in message
    assert SECRET not in message
    assert tsa.received == []


def test_a_bearer_token_needs_https(shell: Shell, tsa: HttpTsa) -> None:
    Path("token").write_text(SECRET)
    command = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url, "--token-file", "token", "--force")
    other = (*command, "--timestamp_server", "http://tsa.invalid/")
    message = shell.fails(2, *other)
    assert "tsa.invalid over plain http" in message
    assert "--token-over-http" in message
    assert tsa.received == []
    assert shell(*other, "--token-over-http", "--threshold", "1").code == 0
    no_url = (*command, "--timestamp_server", "ftp://tsa.invalid/", "--threshold", "1")
    assert "not an http or https URL" in shell(*no_url).err


@pytest.mark.parametrize("flag", ["--header", "--token-file", "--client-certificate"])
def test_credentials_are_not_for_the_public_default_server(shell: Shell, flag: str) -> None:
    message = shell.fails(2, "timestamp", "--artifact", "a.txt", flag, "X: y")
    assert f"{flag} needs --timestamp_server" in message


def test_the_server_may_stand_before_the_command_and_in_the_configuration(
    shell: Shell, tsa: HttpTsa, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("timestamp", "--artifact", "a.txt", "--header", "X-A: b", "--force")
    assert shell("--timestamp_server", tsa.url, *command).code == 0
    Path("c.json").write_text(json.dumps({"timestamp_server": tsa.url, "timestamp": {"retries": 1}}))
    assert shell(*command, "--config", "c.json").code == 0
    monkeypatch.setenv("TIMESTAMP_TIMESTAMP_SERVER", tsa.url)
    assert shell(*command).code == 0
    assert [received.headers["X-A"] for received in tsa.received] == ["b", "b", "b"]


def test_a_client_certificate_and_a_ca_file(shell: Shell, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.client()

    def act(connection: Any) -> None:
        connection.answer("200 OK", connection.reply())

    with LyingServer(Lie(act=act, error=None, tls="demanding"), certificates) as server:
        command = ("timestamp", "--artifact", "a.txt", "--timestamp_server", server.url)
        assert "--ca" in shell.fails(1, *command)
        assert "--client-certificate" in shell.fails(1, *command, "--ca", str(certificates.ca))
        shown = ("--client-certificate", str(certificate), "--client-key", str(key))
        assert shell(*command, "--ca", str(certificates.ca), *shown).code == 0


def test_retries(shell: Shell, tsa: HttpTsa) -> None:
    tsa.answer = lambda request: (
        honest(request) if len(tsa.received) > 1 else Answer(status=503, headers={"Retry-After": "0"})
    )
    command = ("timestamp", "--artifact", "a.txt", "--timestamp_server", tsa.url)
    assert "503" in shell.fails(1, *command)
    tsa.received.clear()
    assert shell(*command, "--retries", "1").code == 0


def test_the_same_server_twice_is_one_server(shell: Shell, tsa: HttpTsa) -> None:
    twice = ("--timestamp_server", tsa.url, "--timestamp_server", tsa.url)
    assert shell("timestamp", "--artifact", "a.txt", *twice).code == 0
    assert len(tsa.received) == 1
    assert Path("response.tsr").exists()
    assert "only 1 server" in shell.fails(2, "timestamp", "--artifact", "a.txt", *twice, "--threshold", "2")
