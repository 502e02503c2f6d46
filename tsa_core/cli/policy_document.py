"""timestamp-server policy-document: the statements that an authority publishes, filled from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api import TsaError
from tsa_core.authority import parse_chain
from tsa_core.cli import console
from tsa_core.cli.maker_keys import key_file
from tsa_core.cli.output_document import FORMATS, document_text, put_out
from tsa_core.cli.reference_settings import Loaded, load
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.setting_origins import DEFAULT, effective_settings
from tsa_core.config import Settings
from tsa_core.documents.statements import (
    STATEMENTS,
    Plugin,
    Statement,
    Subject,
    facts_of,
    fill,
    gaps_of,
    questions_text,
    read_answers,
    template_text,
)
from tsa_core.host import (
    AUDIT_SINK,
    CLOCK,
    CLOCK_MONITOR,
    GUARD,
    HEALTH_CHECK,
    OBSERVER,
    POLICY_SELECTOR,
    RESPONSE_PROCESSOR,
    ROUTES,
    SIGNER,
    Kind,
    PluginHost,
)
from tsa_core.service import selection
from tsa_core.service.material import read_material

_TOLD: Final = frozenset({"audit", "clock", "policy", "profiles"})
"""The sections whose settings a statement shows: those of what it promises, not how the server is run."""
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_KINDS: Final[Mapping[str, Kind[Any]]] = {
    "signers": SIGNER,
    "clock": CLOCK,
    "clock_monitors": CLOCK_MONITOR,
    "policy_selectors": POLICY_SELECTOR,
    "response_processors": RESPONSE_PROCESSOR,
    "audit_sinks": AUDIT_SINK,
    "observers": OBSERVER,
    "health_checks": HEALTH_CHECK,
    "routes": ROUTES,
    "guards": GUARD,
}
"""The kinds of plugins by their names in `selection`."""


@click.command("policy-document")
@click.option("--config", type=_FILE, metavar="FILE", help="The server's configuration  [TSA_CONFIG]")
@click.option(
    "--kind",
    type=click.Choice(STATEMENTS),
    default="practice",
    show_default=True,
    help="practice: the practice statement; disclosure: the TSA disclosure statement.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="markdown", show_default=True, help="What to write."
)
@click.option("--answers", "answers_file", type=_FILE, metavar="FILE", help="TOML file with what only you know.")
@click.option("--questions", is_flag=True, help="Print a file of answers that has all questions, and no document.")
@click.option("--complete", is_flag=True, help="Exit code 1 while anything is to be completed.")
@click.option("--output", type=_FILE, metavar="FILE", help="Where the document goes  [stdout]")
def policy_document(
    *,
    config: Path | None,
    kind: Statement,
    form: str,
    answers_file: Path | None,
    questions: bool,
    complete: bool,
    output: Path | None,
) -> None:
    """Write the practice statement, or the disclosure statement, that goes with the configuration.

    Policies, accuracy, hash algorithms, keys, certificates, clock, records and who may ask are taken from the
    configuration and the certificates. What these do not tell is marked TO BE COMPLETED BY THE AUTHORITY, and listed on
    stderr; --answers FILE completes it. The signing keys are not opened, and no secret is written.

    The texts follow RFC 3628 and EN 319 421. Whether what they say is enough is for your auditor to judge.

    \b
    Examples:
      timestamp-server policy-document --config tsa.toml --questions > answers.toml
      timestamp-server policy-document --config tsa.toml --answers answers.toml --format html --output practice.html
      timestamp-server policy-document --config tsa.toml --kind disclosure | pandoc -f gfm -o disclosure.pdf
    """  # noqa: D301 - the backslash is click's mark
    if questions and (answers_file or output or complete):
        raise click.UsageError("--questions prints a file of answers and nothing else; leave the other flags away")
    loaded = load({"config": config})
    if output is not None:
        inputs: list[tuple[str, str | Path | None]] = [
            ("--config", loaded.settings.config_file),
            ("--answers", answers_file),
        ]
        for profile in loaded.settings.profiles.values():
            inputs += [("certificate_chain", profile.certificate_chain), ("signer", key_file(profile.signer))]
        refuse_inputs("--output", output, inputs)
    facts = facts_of(_subject(loaded))
    gaps = gaps_of(template_text(kind), facts)
    asked: dict[str, str] = {}
    for each in STATEMENTS:
        asked |= gaps_of(template_text(each), facts)
    if questions:
        console.echo(questions_text(asked).rstrip("\n"))
        return
    answers = read_answers(answers_file, asked) if answers_file else {}
    put_out(document_text(fill(template_text(kind), facts, answers), form), output)
    left = {key: question for key, question in gaps.items() if key not in answers}
    for key, question in left.items():
        console.tell(f"to be completed: {key}: {question}")
    if left:
        console.tell(
            f"{len(left)} of {len(gaps)} gaps are to be completed (--answers FILE; --questions prints them all)"
        )
    if left and complete:
        raise click.ClickException("the statement is not complete")


def _subject(loaded: Loaded) -> Subject:
    settings = loaded.settings
    chains = {
        name: parse_chain(pem, where=str(settings.profiles[name].certificate_chain))
        for name, pem in read_material(settings).chains.items()
    }
    rows = [
        (row.path, row.value)
        for row in effective_settings(loaded)
        if row.origin != DEFAULT and row.path.partition(".")[0] in _TOLD
    ]
    return Subject(settings=settings, chains=chains, plugins=_plugins(settings), rows=rows, now=datetime.now(UTC))


def _plugins(settings: Settings) -> list[Plugin]:
    """Return what is selected; of a plugin that cannot be loaded, its name."""
    host = PluginHost.for_settings(settings)
    found = []
    for group, names in selection(settings).items():
        for name in names:
            try:
                provider = host.provider(_KINDS[group], name)
            except TsaError as error:
                summary, chained = f"not installed here: {error}", False
            else:
                summary, chained = provider.summary, provider.open_trail is not None
            distribution = host.distribution(name)
            found.append(Plugin(kind=group, name=name, summary=summary, distribution=distribution, chained=chained))
    return found
