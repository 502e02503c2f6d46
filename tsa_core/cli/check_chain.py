"""timestamp-server check-chain: a certificate chain against named rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from tsa_core.certs import load_chain
from tsa_core.cli import console
from tsa_core.config import load_settings
from tsa_core.conformance.chains import PROFILES, ChainCase, Finding, Outcome, judge
from tsa_core.paths.chains import subject_text

_FILE = click.Path(path_type=Path)
_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.WARN: "yellow", Outcome.NOT_JUDGED: "dim"}


@click.command("check-chain")
@click.argument("file", type=_FILE)
@click.option("--key", "key_uri", metavar="URI", help="Key URI of the signer, to compare its key with the certificate")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    type=click.Choice(sorted(PROFILES)),
    help="Judge by these rules too: " + "; ".join(f"{p.name}: {p.title}" for p in PROFILES.values()) + ". Repeatable",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--config",
    type=_FILE,
    metavar="FILE",
    envvar="TSA_CONFIG",
    help="Configuration: plugins' settings, and profiles that use FILE",
)
def check_chain(
    file: Path, *, key_uri: str | None, profiles: Sequence[str], as_json: bool, config: Path | None
) -> None:
    """Judge the certificate chain in FILE, PEM, TSA's certificate first, rule by rule.

    Exit code 0 when every rule that demands something is fulfilled; 1 when one fails. A recommendation that is not
    followed is a warning. The first rules are those by which the server refuses to start.

    \b
    Example:
      timestamp-server check-chain chain.pem --key file:key.pem --profile etsi --profile acrobat
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    chain = load_chain(file)
    digits = _fraction_digits(file, config)
    if key_uri is None:
        case = ChainCase(certificates=chain.certificates, at=datetime.now(UTC), fraction_digits=digits)
    else:
        from tsa_core.cli.signing_keys import KeyOpener

        with KeyOpener(config) as opener:
            signer = opener.signer(key_uri, option="--key", certified_key=chain.certified_key())
            case = ChainCase(
                certificates=chain.certificates,
                at=datetime.now(UTC),
                public_key=signer.public_key,
                algorithm=signer.algorithm,
                fraction_digits=digits,
            )
    findings = judge(case, profiles)
    failed = [finding for finding in findings if finding.outcome is Outcome.FAIL]
    if as_json:
        console.print_json(
            {
                "file": str(file),
                "profiles": list(profiles),
                "certificates": [subject_text(certificate) for certificate in chain.certificates],
                "passed": not failed,
                "rules": [_document(finding) for finding in findings],
            }
        )
    else:
        _print(findings)
    if failed:
        click.get_current_context().exit(console.EXIT_FAILURE)


def _fraction_digits(file: Path, config: Path | None) -> list[int] | None:
    """Return fraction_digits of the profiles of a configuration that issue with the chain in `file`, None for none."""
    if config is None:
        return None
    chain = file.resolve()
    profiles = load_settings(config, whole=False).profiles.values()
    with_it = [p for p in profiles if p.certificate_chain is not None and p.certificate_chain.resolve() == chain]
    return [profile.fraction_digits for profile in with_it] or None


def _document(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.name,
        "outcome": finding.outcome.value,
        "level": rule.level,
        "clause": rule.clause,
        "demand": rule.demand,
        "reason": finding.reason,
    }


def _print(findings: Sequence[Finding]) -> None:
    """Print a line for each rule, and on a terminal a last one that counts."""
    screen = console.stdout()
    styled = screen.is_terminal
    rows = []
    for finding in findings:
        outcome = finding.outcome.value
        explained = finding.reason or finding.rule.demand
        rows.append(
            (
                finding.rule.name,
                f"[{_STYLES[finding.outcome]}]{outcome}[/]" if styled else outcome,
                escape(finding.rule.clause) if styled else finding.rule.clause,
                escape(explained) if styled else explained,
            )
        )
    console.print_table(("RULE", "OUTCOME", "CLAUSE", "REASON"), rows, fixed=2)
    if styled:
        count = {outcome: sum(f.outcome is outcome for f in findings) for outcome in Outcome}
        screen.print("\n" + ", ".join(f"{number} {outcome.value}" for outcome, number in count.items() if number))
