"""timestamp-server renew: next year's key and certificate, and the change to them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tsa_core.api import ConfigError, Signer
from tsa_core.certs import KEY_KINDS, load_certificates, load_request, lowest_key, order_chain
from tsa_core.cli import console
from tsa_core.cli.maker_keys import key_file
from tsa_core.cli.output_file import write_file
from tsa_core.cli.reference_settings import load
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.reload import report_of_reload
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.config import DEFAULT_PROFILE
from tsa_core.conformance.chains import PROFILES
from tsa_core.logs import set_up_logging

if TYPE_CHECKING:
    from tsa_core.certs import CertificateChain
    from tsa_core.cli.renewal import Present

EXIT_NOTHING_TO_DO: Final = 3
_FILE = click.Path(path_type=Path, dir_okay=False)
_OFFLINE_KEY: Final = "file:intermediate.key"
_CA_NAMES: Final = frozenset({"root", "intermediate", "chain", "ca"})


@click.command()
@click.option("--config", type=_FILE, metavar="FILE", envvar="TSA_CONFIG", help="The server's configuration file")
@click.option(
    "--of", "profile", default=DEFAULT_PROFILE, show_default=True, metavar="NAME", help="Profile of the configuration"
)
@click.option(
    "--days-before",
    type=click.IntRange(0),
    metavar="N",
    help="Do nothing, with exit code 3, while the present key may sign for more than N days",
)
@click.option("--key", "key_uri", metavar="URI", help="The next key, which exists already in a KMS or token")
@click.option("--algorithm", type=click.Choice(list(KEY_KINDS)), help="Kind of the next key  [that of the present one]")
@click.option("--common-name", metavar="NAME", help="The next certificate's name  [that of the present one]")
@click.option(
    "--offline",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIRECTORY",
    help="The CAs' keys that init made: the intermediate there issues",
)
@click.option(
    "--ca-key",
    metavar="URI",
    help="The key that issues, anywhere; its plugin's settings are those of [certificate_signer.SCHEME]",
)
@click.option("--ca-chain", type=_FILE, metavar="FILE", help="The issuer's certificate and those above  [as now]")
@click.option("--csr-out", type=_FILE, metavar="FILE", help="Step 1 of 3: make the next key and a request for it")
@click.option("--csr-in", type=_FILE, metavar="FILE", help="Step 2 of 3, where the CA's key is: issue for a request")
@click.option("--chain-out", type=_FILE, metavar="FILE", help="With --csr-in: where the next chain goes")
@click.option(
    "--chain-in",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="Step 3 of 3: take key and certificate into use; certificates in any order; repeatable",
)
@click.option(
    "--profile",
    "rules",
    type=click.Choice(list(PROFILES)),
    multiple=True,
    help="Refuse a certificate that breaks these rules of check-chain, beside those of `conformance`; repeatable",
)
@click.option("--wait", default=150.0, show_default=True, metavar="SECONDS", type=float, help="For the server's reload")
def renew(config: Path | None, **flags: Any) -> None:
    """Make the next key and certificate of a running authority, and change to them.

    The certificate says what the present one says and is valid as long. The new files are written beside the old ones
    (tsa-2.key, chain-2.pem), then tsa.toml is replaced in one step, then the server reloads; when it refuses, tsa.toml
    is as before. Tokens of the former key stay valid; its chain stays in /api/v1/timestamp/certchain?all=true.

    Exit code 0: the next key is in use. 3: nothing to do yet. 1: the server refused. 2: something is wrong, and nothing
    has changed.

    \b
    Examples:
      The CAs' keys are on a medium that is mounted for the day:
        timestamp-server renew --config /etc/tsa/tsa.toml --offline /mnt/tsa-offline
      The intermediate's key is in a KMS; from a timer, every day:
        timestamp-server renew --config /etc/tsa/tsa.toml --days-before 30 --ca-key awskms:///alias/tsa-ca
      Step by step, on two machines:
        timestamp-server renew --config tsa.toml --csr-out tsa.csr
        timestamp-server renew --offline ./offline --csr-in tsa.csr --chain-out next.pem
        timestamp-server renew --config tsa.toml --chain-in next.pem
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    from tsa_core.cli import renewal

    # Root, who renews, owns keys that the service reads by its group; a warning of that mode would mislead.
    set_up_logging(level=logging.ERROR)
    _refuse_contradictions(config, flags)
    with ExitStack() as stack:
        if flags["csr_in"]:
            _issue(stack, config, flags)
            return
        assert config is not None  # noqa: S101 - seen to above
        loaded = load({"config": config}).settings
        if flags["profile"] not in loaded.profiles:
            raise ConfigError(f"there is no profile {flags['profile']!r}", path=str(config))
        stack.enter_context(renewal.alone(config.parent))
        present = renewal.read_present(config, flags["profile"], loaded)
        _stop_when_too_early(present, flags["days_before"])
        opener = stack.enter_context(KeyOpener(config))
        if flags["csr_out"]:
            _request(present, opener, flags)
            return
        if flags["chain_in"]:
            keys = renewal.waiting_keys(present, opener)
            issued = [certificate for path in flags["chain_in"] for certificate in load_certificates(path)]
            open_it = partial(renewal.open_own, present, opener, option="--key", certified_key=lowest_key(issued))
            if flags["key_uri"]:
                keys[flags["key_uri"]] = open_it(flags["key_uri"]).public_key
            uri, chain = renewal.collected_chain(issued, keys, where=flags["chain_in"][0])
            signer = open_it(uri)
        else:
            parent, parents = _issuer(stack, config, flags, present.chain.certificates[1:])
            uri, signer = _next_key(present, opener, flags)
            chain = renewal.next_chain(
                present.chain.certificates, parents, parent, signer.public_key, common_name=flags["common_name"]
            )
        renewal.check(present, chain, signer, flags["rules"])
        _change(present, uri, chain, flags["wait"])


def _refuse_contradictions(config: Path | None, flags: dict[str, Any]) -> None:
    steps = [name for name in ("csr_out", "csr_in", "chain_in") if flags[name]]
    if len(steps) > 1:
        raise click.UsageError("--csr-out, --csr-in and --chain-in are three steps; give one")
    if bool(flags["csr_in"]) != bool(flags["chain_out"]):
        raise click.UsageError("--csr-in and --chain-out go together")
    if flags["offline"] and flags["ca_key"]:
        raise click.UsageError("--offline and --ca-key both name the key that issues; give one")
    issues = not flags["csr_out"] and not flags["chain_in"]
    if issues and not (flags["offline"] or flags["ca_key"]):
        raise click.UsageError(
            "which key issues? Give --offline DIRECTORY or --ca-key URI; or begin with --csr-out FILE, where the CA's "
            "key is on another machine"
        )
    if not issues and (flags["offline"] or flags["ca_key"] or flags["ca_chain"]):
        raise click.UsageError("--csr-out and --chain-in need no key of a CA; leave --offline and --ca-key out")
    if config is None and not flags["csr_in"]:
        raise click.UsageError("which authority? Give --config FILE")
    if flags["csr_in"]:
        kept = flags["offline"].glob("*") if flags["offline"] else ()
        inputs: list[tuple[str, str | Path | None]] = [
            ("--csr-in", flags["csr_in"]),
            ("--config", config),
            ("--ca-key", key_file(flags["ca_key"])),
            ("--ca-chain", flags["ca_chain"]),
            # What a former issue has written there may be written again.
            *(("--offline", path) for path in kept if path.suffix != ".pem" or path.stem in _CA_NAMES),
        ]
        refuse_inputs("--chain-out", flags["chain_out"], inputs)


def _stop_when_too_early(present: Present, days: int | None) -> None:
    left = (present.ends() - datetime.now(UTC)).days
    if days is not None and left >= days:
        name, until = present.profile, f"{present.ends():%Y-%m-%d}"
        click.echo(f"nothing to do: the key of the profile {name} signs until {until}, for {left} days")
        click.get_current_context().exit(EXIT_NOTHING_TO_DO)


def _issuer(
    stack: ExitStack, config: Path | None, flags: dict[str, Any], issuers: Sequence[Any]
) -> tuple[Signer, Sequence[Any]]:
    """Return the key that issues, and its certificate with those above."""
    if flags["offline"]:
        opener = stack.enter_context(KeyOpener(flags["offline"] / "offline.toml"))
        signer = opener.signer(_OFFLINE_KEY, option="--offline")
        issuers = issuers or load_certificates(flags["offline"] / "chain.pem")[1:]
    else:
        opener = stack.enter_context(KeyOpener(config))
        above = load_certificates(flags["ca_chain"]) if flags["ca_chain"] else issuers
        signer = opener.signer(flags["ca_key"], option="--ca-key", certified_key=lowest_key(above))
    if flags["ca_chain"]:
        issuers = order_chain(load_certificates(flags["ca_chain"]), signer.public_key).certificates
    if not issuers:
        raise click.UsageError("--ca-chain FILE is missing: the issuer's certificate and those above")
    return signer, issuers


def _next_key(present: Present, opener: KeyOpener, flags: dict[str, Any]) -> tuple[str, Signer]:
    from tsa_core.cli.renewal import make_key, open_own

    uri = flags["key_uri"]
    if uri is None:
        now = open_own(present, opener, present.signer, option="--config")
        uri = make_key(present, flags["algorithm"], signer=now)
    return uri, open_own(present, opener, uri, option="--key")


def _request(present: Present, opener: KeyOpener, flags: dict[str, Any]) -> None:
    """Make the next key and a request, unless that has been done."""
    from tsa_core.cli.renewal import next_request, open_own, waiting_keys
    from tsa_core.protocol.signatures import public_key_info

    path: Path = flags["csr_out"]
    if path.exists():
        asked = public_key_info(load_request(path).public_key)
        if any(public_key_info(key) == asked for key in waiting_keys(present, opener).values()):
            click.echo(f"nothing to do: the request {path} waits for its certificate; then renew --chain-in FILE")
            click.get_current_context().exit(EXIT_NOTHING_TO_DO)
        if asked != public_key_info(open_own(present, opener, present.signer, option="--config").public_key):
            raise ConfigError("it exists already, and is no request for a key that waits here", path=str(path))
        # Last year's, whose key is in use.
    uri, signer = _next_key(present, opener, flags)
    write_file(path, next_request(present, signer, common_name=flags["common_name"]), mode=0o644)
    click.echo(f"{path}  request for the next key, {uri}")
    console.tell(
        f"Have it issued: timestamp-server renew --offline DIRECTORY --csr-in {path.name} --chain-out next.pem, or by "
        "your CA with extendedKeyUsage = critical, timeStamping and nothing else.\n"
        f"Then: timestamp-server renew --config {present.config} --chain-in next.pem"
    )


def _issue(stack: ExitStack, config: Path | None, flags: dict[str, Any]) -> None:
    """Issue a certificate for a request, where the key of the CA is."""
    from tsa_core.cli.renewal import next_chain

    like = load_certificates(flags["offline"] / "chain.pem") if flags["offline"] else ()
    if not like and flags["ca_chain"]:
        like = load_certificates(flags["ca_chain"])
    if not like:
        raise click.UsageError("--ca-chain FILE is missing: the present chain, whose first certificate is the model")
    request = load_request(flags["csr_in"])
    parent, parents = _issuer(stack, config, {**flags, "ca_chain": None}, like[1:])
    names = [attribute.value for attribute in request.subject if attribute.oid.dotted_string == "2.5.4.3"]
    common_name = flags["common_name"] or (str(names[0]) if names else None)
    chain = next_chain(like, parents, parent, request.public_key, common_name=common_name)
    write_file(flags["chain_out"], chain.pem(), mode=0o644)
    click.echo(f"{flags['chain_out']}  {chain.leaf.subject.rfc4514_string()}, until {_until(chain)}")


def _until(chain: CertificateChain) -> str:
    from tsa_core.authority import issuing_period

    return f"{issuing_period(chain.certificates, until='key-usage').not_after:%Y-%m-%d}"


def _change(present: Present, uri: str, chain: CertificateChain, wait: float) -> None:
    """Write the chain, let tsa.toml name both, and let the server reload; put tsa.toml back when it refuses."""
    from tsa_core.cli import renewal

    chain_name = renewal.write_chain(present, chain)
    renewal.remember(present)
    former = renewal.change(present, uri, chain_name)
    click.echo(f"{present.config}  names {uri} and {chain_name}, which sign until {_until(chain)}")
    pid_file = present.settings.server.pid_file
    try:
        report = report_of_reload(pid_file, wait) if pid_file else None
    except ConfigError as error:
        report = None
        if not present.settings.server.watch:
            console.tell(str(error))
    if report is not None and not report.succeeded:
        renewal.change_back(present, former)
        console.tell(f"the server refused, and {present.config} is as before: {report.message}")
        click.get_current_context().exit(console.EXIT_FAILURE)
    if report is not None:
        click.echo(f"reloaded: {report.message}")
    elif present.settings.server.watch:
        console.tell("a server that runs elsewhere takes them into use by itself (watch = true)")
    else:
        console.tell("no server was told; the next start, or systemctl reload tsa, takes them into use")
    for path in renewal.renew_secrets(present, uri, chain):
        click.echo(f"{path}  has the next key and chain; apply it: kubectl -n tsa apply -f {path}")
    if present.key_name and uri != present.signer:
        console.tell(f"Destroy the former key when the server signs with the next one: {present.key_name}")
