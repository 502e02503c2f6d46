"""timestamp-server init: from nothing to a timestamp authority on this machine."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tsa_core.api import ConfigError
from tsa_core.certs import KEY_KINDS, Publication
from tsa_core.cli import console
from tsa_core.cli.init_profiles import POLICY_TEXT, Wishes, complete, new_policy, published_at
from tsa_core.cli.init_targets import TARGETS
from tsa_core.config import DEFAULT_POLICY
from tsa_core.conformance.chains import PROFILES
from tsa_core.conformance.etsi import BEST_PRACTICES_POLICY
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError

if TYPE_CHECKING:
    from tsa_core.cli.init_files import NewAuthority

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_MAX_DAYS = 36_500
_DEFAULT_ORGANIZATION = "Timestamp Authority"
_WHO_REFUSES = {
    "ed25519": "openssl ts, osslsigncode, rfc3161-client, sigstore-python, notation and others",
    "ed448": "openssl ts, osslsigncode, Sigstore's clients and nearly all others",
    "ml": "openssl ts, osslsigncode, jarsigner, Sigstore's clients and nearly all others",
}
"""Clients that refuse a kind of key, by the beginning of its name: docs/verify/clients.md."""


def _country(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value and not re.fullmatch("[A-Za-z]{2}", value):
        raise click.BadParameter(f"{value!r} is no country; write its two letters, DE for example")
    return value.upper() if value else None


def _policy(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value == "uuid":
        return new_policy()
    if value is not None:
        try:
            der.oid(value)
        except EncodingError as error:
            raise click.BadParameter(f"{error}; write an OID, 1.3.6.1.4.1.99999.1 for example, or uuid") from None
    return value


def _secret_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value):
        raise click.BadParameter(f"{value!r} names no Secret; use lower-case letters, digits and hyphens, at most 63")
    return value


def _days(default: int, flag: str, text: str) -> Callable[[FunctionT], FunctionT]:
    return click.option(
        flag, type=click.IntRange(1, _MAX_DAYS), default=default, show_default=True, metavar="DAYS", help=text
    )


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--algorithm",
    type=click.Choice(list(KEY_KINDS)),
    default="ecdsa-p256",
    show_default=True,
    help="Kind of the key that is made; the CAs' follow it, so that one digest goes through the whole chain. Nearly "
    "every client verifies ECDSA and RSA, few Ed25519, fewer Ed448 and ML-DSA",
)
@click.option("--org", metavar="NAME", help=f"Organization in the certificates  [asked for; {_DEFAULT_ORGANIZATION}]")
@click.option("--country", metavar="CC", callback=_country, help="Country in the certificates, two letters  [none]")
@click.option("--common-name", metavar="NAME", default="Timestamp Authority", show_default=True, help="The TSA's name")
@click.option(
    "--key",
    "key_uri",
    metavar="URI",
    help="Sign with this key, which exists already, instead of an encrypted file: pkcs11:..., awskms:... and so on",
)
@click.option(
    "--signer-setting",
    "signer_settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Setting of the signer of --key, written into tsa.toml; module=/usr/lib/softhsm/libsofthsm2.so for pkcs11",
)
@click.option(
    "--password-env",
    metavar="NAME",
    help="Encrypt the key with the password in this environment variable, which the server then needs too  "
    "[a random one in a file of mode 0600]",
)
@_days(7300, "--root-days", "Validity of the root")
@_days(5475, "--intermediate-days", "Validity of the intermediate")
@_days(3650, "--days", "Validity of the TSA's certificate, within which its tokens can be verified")
@_days(396, "--private-key-days", "How long the TSA's key may sign; then it is replaced")
@click.option(
    "--crl-url",
    "crl_urls",
    multiple=True,
    metavar="URL",
    help="Where CRLs will be, http://.../{issuer}.crl: {issuer} becomes root or intermediate; repeatable",
)
@click.option("--ocsp-url", "ocsp_urls", multiple=True, metavar="URL", help="Where OCSP responders are; repeatable")
@click.option(
    "--issuer-url",
    "issuer_urls",
    multiple=True,
    metavar="URL",
    help="Where the issuers' certificates will be, http://.../{issuer}.cer; repeatable",
)
@click.option("--policy-oid", "certificate_policies", multiple=True, metavar="OID", help="Certificate policy")
@click.option(
    "--publish-at",
    metavar="URL",
    help="Short for --crl-url URL/{issuer}.crl and --issuer-url URL/{issuer}.cer",
)
@click.option(
    "--timestamp-policy",
    metavar="OID",
    callback=_policy,
    help="Policy that tokens state, your own; uuid makes one under 2.25 that nobody else has, which clients written in "
    f"Go, and sigstore-rust, cannot read  [asked for; Sigstore's, {DEFAULT_POLICY}]",
)
@click.option(
    "--for",
    "target",
    type=click.Choice(list(TARGETS)),
    default="here",
    show_default=True,
    help="Where the server will run: files, modes, owner, addresses and pid file are as deploy/ expects them",
)
@click.option(
    "--offline",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Where the CAs' keys go  [DIRECTORY/offline; with --for systemd and container DIRECTORY-offline]",
)
@click.option(
    "--profile",
    "profiles",
    type=click.Choice(list(PROFILES)),
    multiple=True,
    help="Make a chain that passes these rules of check-chain, or none, and with etsi, csbr and sigstore a server that "
    "enforces the standard (conformance in tsa.toml); repeatable",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="The server's address as clients see it; etsi demands that it is https://..., where a proxy does TLS",
)
@click.option(
    "--kubernetes-secret",
    metavar="NAME",
    callback=_secret_name,
    help="Write secret.yaml as well: a Secret of this name with key, password and chain, as the Helm chart expects it",
)
def init(directory: Path, key_uri: str | None, signer_settings: Sequence[str], **flags: Any) -> None:
    """Make a timestamp authority in DIRECTORY: keys, certificates and tsa.toml.

    It asks for what is missing when it runs on a terminal, and for nothing otherwise. The directory must be empty or
    not exist. The key that signs timestamps is encrypted; its password is in a file that only you can read.

    \b
    Examples:
      timestamp-server init ./tsa --org 'Example Ltd' --country DE
      timestamp-server init /etc/tsa --for systemd --profile etsi --org 'Example Ltd' --country DE \\
          --publish-at http://pki.example.org --policy-oid 1.3.6.1.4.1.99999.1 --public-url https://tsa.example.org
      timestamp-server init ./tsa --key 'pkcs11:token=tsa;object=tsa?pin-source=/etc/tsa/pin' \\
          --signer-setting module=/usr/lib/softhsm/libsofthsm2.so
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    from tsa_core.cli.init_files import NewAuthority, write_authority

    if signer_settings and key_uri is None:
        raise click.UsageError("--signer-setting is for the signer that --key names")
    if key_uri is not None and flags["password_env"]:
        raise click.UsageError("--password-env is for the key that is made here; with --key none is")
    if key_uri is not None and flags["kubernetes_secret"]:
        raise click.UsageError("--kubernetes-secret holds the key that is made here; with --key none is")
    for flag, urls in (("--crl-url", flags["crl_urls"]), ("--issuer-url", flags["issuer_urls"])):
        if any("{issuer}" not in url for url in urls):
            raise click.UsageError(
                f"{flag}: root and intermediate need an address each; write {{issuer}} for their name"
            )
    _refuse_what_is_there(directory)
    offline = flags["offline"] or TARGETS[flags["target"]].offline(directory)
    _refuse_what_is_there(offline)
    wishes = _wishes(flags)
    authority = NewAuthority(
        directory=directory,
        algorithm=flags["algorithm"],
        organization=wishes.organization or _DEFAULT_ORGANIZATION,
        country=wishes.country,
        common_name=flags["common_name"],
        key_uri=key_uri,
        signer_settings=_settings(signer_settings),
        password=_password(flags["password_env"]),
        password_variable=flags["password_env"],
        root_validity=timedelta(days=flags["root_days"]),
        intermediate_validity=timedelta(days=flags["intermediate_days"]),
        tsa_validity=timedelta(days=flags["days"]),
        key_use=timedelta(days=flags["private_key_days"]),
        publication=wishes.publication,
        timestamp_policy=wishes.timestamp_policy,
        public_url=wishes.public_url,
        kubernetes_secret=flags["kubernetes_secret"],
        target=TARGETS[flags["target"]],
        offline=flags["offline"],
        profiles=flags["profiles"],
    )
    written = write_authority(authority)
    for path, meaning in written:
        click.echo(f"{path}  {meaning}")
    if key_uri is None and (who := _WHO_REFUSES.get(authority.algorithm.partition("-")[0])):
        note = (
            f"NOTE: {who} do not verify {authority.algorithm}; the page 'Which client verifies which key' has a table."
        )
        console.stderr().print(note, markup=False, soft_wrap=True)
    policy = wishes.timestamp_policy or DEFAULT_POLICY
    if whose := {DEFAULT_POLICY: "Sigstore's", BEST_PRACTICES_POLICY: "that of EN 319 421"}.get(policy):
        note = (
            f"NOTE: tokens state the policy {policy}, which is {whose}; policies = [...] in tsa.toml, or "
            "--timestamp-policy, states your own."
        )
        console.stderr().print(note, markup=False, soft_wrap=True)
    _print_next(authority)


def _refuse_what_is_there(directory: Path) -> None:
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise ConfigError("it exists already and is not empty; name another directory", path=str(directory))
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror}", path=str(directory)) from None


def _wishes(flags: Mapping[str, Any]) -> Wishes:
    """Return what goes into certificates and tokens; ask for what is missing, on a terminal only."""
    publication = Publication(
        crl_urls=flags["crl_urls"],
        ocsp_urls=flags["ocsp_urls"],
        issuer_urls=flags["issuer_urls"],
        policies=flags["certificate_policies"],
    )
    if flags["publish_at"]:
        publication = published_at(flags["publish_at"], publication)
    wishes = Wishes(
        organization=flags["org"],
        country=flags["country"],
        publication=publication,
        timestamp_policy=flags["timestamp_policy"],
        public_url=flags["public_url"],
    )
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    if interactive and wishes.organization is None:
        wishes = replace(wishes, organization=click.prompt("Organization", default=_DEFAULT_ORGANIZATION, err=True))
        if wishes.country is None:
            wishes = replace(wishes, country=_country(*_here(), _prompt("Country, two letters, or nothing")))
        if wishes.timestamp_policy is None:
            console.stderr().print(POLICY_TEXT, markup=False, soft_wrap=True)
            wishes = replace(wishes, timestamp_policy=_policy(*_here(), _prompt("Policy OID") or None))
    return complete(wishes, flags["profiles"], ask=_prompt if interactive else None)


def _here() -> tuple[click.Context, click.Parameter]:
    return click.get_current_context(), init.params[0]


def _prompt(text: str) -> str:
    answer: str = click.prompt(text, default="", show_default=False, err=True)
    return answer.strip()


def _password(variable: str | None) -> str | None:
    if variable is None:
        return None
    password = os.environ.get(variable, "")
    if len(password) < 8:
        raise ConfigError(f"--password-env: the variable {variable} is not set, or has fewer than 8 characters")
    return password


def _settings(texts: Sequence[str]) -> dict[str, str]:
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch("[a-z][a-z0-9_]*", name):
            # What was written may hold a PIN.
            raise click.UsageError("--signer-setting is NAME=VALUE, a setting that 'plugins show' prints")
        settings[name] = value
    return settings


def _print_next(authority: NewAuthority) -> None:
    lines = [
        "",
        f"The keys of root and intermediate are in {authority.offline_directory}, encrypted, their password beside",
        "them. The server does not need them: move that directory to a medium that you lock away, and delete it here.",
        "Without it nobody can issue the next TSA certificate; whoever has it can issue one in your name.",
        "",
        *authority.target.next_steps(authority.directory, trail=authority.needs_trust),
    ]
    console.stderr().print("\n".join(lines), markup=False, soft_wrap=True)
