"""timestamp-cli probe: whom it asks, what it prints, how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.timestamp_shell import Shell
from tests.probe.faulty_authority import CHAIN, FaultyAuthority, serving
from tsa_core.probe import CHECKS
from tsa_core.protocol import der
from tsa_core.testing import forge

FAST = ("--rate", "50")


@pytest.fixture
def authority() -> FaultyAuthority:
    return FaultyAuthority()


@pytest.fixture
def url(authority: FaultyAuthority) -> Iterator[str]:
    with serving(authority) as address:
        yield address


def test_a_good_authority_is_told_in_lines(shell: Shell, url: str) -> None:
    Path("chain.pem").write_bytes(CHAIN.pem)
    outcome = shell("probe", url, *FAST, "--certificate-chain", "chain.pem", "--clock-bound", "500ms")
    assert (outcome.code, outcome.err) == (0, "")
    lines = [line.split("\t") for line in outcome.out.splitlines()]
    assert ["grade", "A+"] in lines
    assert ["check", "granted", "holds", "critical", "S17"] in lines
    assert ["client", "openssl ts", "works"] in lines
    assert ["authority", url] in lines
    outcome = shell("probe", url, *FAST, "--conformance", "etsi", "--check", "granted")
    assert "conformance\tetsi\tetsi-accuracy\tpass\t" in outcome.out


def test_json_and_the_page(shell: Shell, url: str) -> None:
    outcome = shell("probe", url, *FAST, "--json", "--html", "report.html", "--check", "granted", "--check", "nonce")
    document = json.loads(outcome.out)
    assert outcome.code == 0
    assert document["Grade"] == "A+"
    assert document["URL"] == url
    assert [each["Check"] for each in document["Checks"]] == ["granted", "nonce"]
    assert document["Exchanges"][0]["Request"] == "plain"
    assert document["Requests"] == len(document["Exchanges"])
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert f"2 checks; {len(CHECKS) - 2} others were not asked for" in page
    again = shell("--format", "json", "probe", url, *FAST, "--html", "report.html", "--check", "granted")
    assert json.loads(again.out)["Checks"][0]["Outcome"] == "holds"


def test_the_grade_decides_how_it_ends(shell: Shell, authority: FaultyAuthority, url: str) -> None:
    authority.statement = lambda _request, fields: fields.update(ordering=der.boolean(False))
    arguments = ("probe", url, *FAST, "--check", "ordering-form")
    assert shell(*arguments).code == 0
    assert shell(*arguments, "--fail-under", "A").code == 0
    outcome = shell(*arguments, "--fail-under", "A+")
    assert outcome.code == 1
    assert "ordering FALSE is left out: " in outcome.out


def test_a_refusing_authority_gets_f_after_three_requests(shell: Shell, authority: FaultyAuthority, url: str) -> None:
    authority.dislikes = lambda _: True
    outcome = shell("probe", url, *FAST)
    assert outcome.code == 1
    assert "grade\tF" in outcome.out
    assert "none of the first requests was granted" in outcome.out
    assert len(authority.received) == 3


def test_credentials_and_headers_go_to_the_authority(shell: Shell, authority: FaultyAuthority, url: str) -> None:
    Path("token").write_text("abc")
    arguments = ("--header", "X-Tenant: seven", "--token-file", "token", "--check", "keep-alive")
    assert shell("probe", url, *FAST, *arguments).code == 0
    assert {each.headers["x-tenant"] for each in authority.received} == {"seven"}
    assert {each.headers["authorization"] for each in authority.received} == {"Bearer abc"}
    assert len(authority.received) == 3


def test_an_authority_of_the_configuration_file(shell: Shell, url: str) -> None:
    Path("root.pem").write_bytes(CHAIN.pem)
    Path("own.toml").write_text(f'[authorities.acme]\nurl = "{url}"\ntrust = "root.pem"\n')
    outcome = shell("probe", "--config", "own.toml", "--tsa", "acme", *FAST, "--check", "path")
    assert "check\tpath\tholds" in outcome.out, outcome
    Path("bare.toml").write_text(f'[authorities.acme]\nurl = "{url}"\n')
    outcome = shell("probe", "--config", "bare.toml", "--tsa", "acme", *FAST, "--check", "path")
    assert "check\tpath\tnot seen" in outcome.out
    chain = ("--certificate-chain", "root.pem")
    outcome = shell("probe", "--config", "bare.toml", "--tsa", "acme", *FAST, "--check", "path", *chain)
    assert "check\tpath\tholds" in outcome.out, "--tsa says whom to ask, the chain whom to trust"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "whom to probe"),
        (("http://127.0.0.1:1", "http://127.0.0.1:2"), "one authority at a time"),
        (("http://127.0.0.1:1", "--tsa", "digicert"), "give one of them"),
        (("http://127.0.0.1:1", "--timestamp_server", "http://127.0.0.1:2"), "give one of them"),
        (("http://127.0.0.1:1", "--check", "nothing"), "there is no check 'nothing'"),
        (("http://127.0.0.1:1", "--max-requests", "101"), "--max-requests"),
        (("http://127.0.0.1:1", "--rate", "0"), "--rate"),
        (("http://127.0.0.1:1", "--rate", "fast"), "--rate"),
        (("http://127.0.0.1:1", "--fail-under", "G"), "--fail-under"),
        (("http://127.0.0.1:1", "--html", "-"), "needs a file"),
        (("http://127.0.0.1:1", "--rate", "51"), "up to 50"),
        (("http://127.0.0.1:1", "--html", "missing/report.html"), "no file that can be written"),
        (("http://127.0.0.1:1", "--html", "ca.pem", "--ca", "ca.pem"), "would destroy"),
        (("http://192.0.2.1:1", "--token-file", "token"), "over plain http"),
    ],
)
def test_mistakes_in_the_command_line(shell: Shell, arguments: tuple[str, ...], told: str) -> None:
    Path("ca.pem").write_bytes(CHAIN.pem)
    Path("token").write_text("abc")
    assert told in shell.fails(2, "probe", *arguments)


def test_an_authority_that_is_not_there(shell: Shell) -> None:
    assert "refused" in shell.fails(1, "probe", "http://127.0.0.1:9/tsa")
    assert "it is not an http or https URL" in shell.fails(1, "probe", "ftp://127.0.0.1/tsa")


@pytest.mark.package("rich")
def test_a_terminal_gets_a_table_and_no_sequence_of_the_authority(
    shell: Shell, authority: FaultyAuthority, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "\x1b]0;owned\x07[bold]x[/bold]\u202e"
    authority.refusal = lambda failure, _: forge.reply(status=2, texts=[hostile], failures=[failure])
    authority.dislikes = lambda request: request.nonce is None
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    outcome = shell("probe", url, *FAST, "--check", "no-nonce", "--check", "foreign-policy")
    assert " C " in outcome.out
    assert "A request without a nonce is granted" in outcome.out
    assert "[bold]x[/bold]" in outcome.out
    assert "\x1b]0;" not in outcome.out
    assert "\u202e" not in outcome.out
    assert "known clients should work" in outcome.out
    assert f"1 hold, 1 fail; {len(CHECKS) - 2} others were" in outcome.out


@pytest.mark.package("rich")
def test_lines_that_a_terminal_breaks_stay_indented(shell: Shell, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    outcome = shell("probe", url, *FAST, "--check", "clock-accuracy", "--check", "path")
    lines = outcome.out.partition("Not seen")[2].partition("known clients")[0].splitlines()
    wrapped = [line for line in lines[1:-1] if line.strip()]
    assert len(wrapped) > 2, outcome.out
    assert all(re.sub(r"\x1b\[[\d;]*m", "", line).startswith("  ") for line in wrapped)
    assert "1 hold" not in outcome.out
    assert "2 not seen" in outcome.out
