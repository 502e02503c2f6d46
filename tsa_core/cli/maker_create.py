"""The commands of certificate-maker: `create` and `template`."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tsa_core.api.fields import parse_duration
from tsa_core.certs.maker import default_template
from tsa_core.cli import console
from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.logs import set_up_logging

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)


def _lifetime(value: str | timedelta) -> timedelta:
    try:
        lifetime = parse_duration(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a duration; write 8760h or 365d") from None
    if lifetime < timedelta(minutes=10):
        raise click.BadParameter("a certificate is valid for 10 minutes at least")
    return lifetime


def _option(name: str, *variables: str, **attributes: Any) -> Callable[[FunctionT], FunctionT]:
    """Return an option that is also read from variables, as the reference reads it: its own name's, and others."""
    own = name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, envvar=[own, *variables], **attributes)


def _role_options(role: str, lifetime: str) -> Callable[[FunctionT], FunctionT]:
    """Return the options about the certificate of one role."""
    options = [
        _option(f"--{role}-key-id", f"KMS_{role.upper()}_KEY_ID", metavar="KEY", help=f"Key of the {role}"),
        _option(f"--{role}-template", type=_FILE, metavar="FILE", help=f"Template of the {role}  [the default one]"),
        _option(
            f"--{role}-cert",
            type=_FILE,
            metavar="FILE",
            default=f"{role}.pem",
            show_default=True,
            help=f"Where to write the {role}'s certificate",
        ),
        _option(
            f"--{role}-lifetime",
            type=_lifetime,
            metavar="DURATION",
            default=lifetime,
            show_default=True,
            help=f"How long the {role}'s certificate is valid",
        ),
        click.option(
            f"--{role}-setting",
            f"{role}_settings",
            multiple=True,
            metavar="NAME=VALUE",
            help=f"Setting of the signer plugin for the {role}'s key alone; repeatable",
        ),
    ]

    def add(function: FunctionT) -> FunctionT:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@click.command("create")
@click.argument("common_name", metavar="[COMMON-NAME]", default="")
@_option("--kms-type", metavar="NAME", help="Backend of keys that are not written as key URIs: awskms, gcpkms, ...")
@_role_options("root", "87600h")
@_role_options("intermediate", "43800h")
@_role_options("leaf", "8760h")
@_option("--existing-root-cert", type=_FILE, metavar="FILE", help="The root's certificate, which exists already")
@_option(
    "--existing-intermediate-cert", type=_FILE, metavar="FILE", help="The intermediate's certificate, which exists"
)
@click.option("--chain", type=_FILE, metavar="FILE", help="Write the chain too, PEM, TSA's certificate first")
@click.option(
    "--refuse-mixed-keys", is_flag=True, help="Refuse a chain that has both post-quantum (ML-DSA) and classical keys"
)
@click.option(
    "--enforce-intermediate-eku",
    cls=BooleanFlag,
    help="Demand that intermediates list timeStamping, as servers do  [true]",
)
@click.option("--aws-region", metavar="REGION", help="AWS region  [as the plugin finds it]")
@click.option("--azure-tenant-id", metavar="ID", help="Azure tenant  [as the plugin finds it]")
@_option("--gcp-credentials-file", type=_FILE, metavar="FILE", help="Google credentials  [as the plugin finds them]")
@click.option("--vault-address", metavar="URL", help="Vault's or OpenBao's address  [VAULT_ADDR]")
@click.option("--vault-token", metavar="TOKEN", help="Its token, which ps shows: VAULT_TOKEN hides it  [VAULT_TOKEN]")
@click.option("--vault-namespace", metavar="NAME", help="Its namespace  [VAULT_NAMESPACE]")
@click.option("--config", type=_FILE, metavar="FILE", envvar="TSA_CONFIG", help="Configuration with plugins' settings")
@click.pass_context
def create(ctx: click.Context, /, common_name: str, **flags: Any) -> None:
    """Make the certificates of a root, an intermediate and a TSA, from templates.

    A KEY is a key URI of any signer plugin, or with --kms-type the backend's own name of it. Without the
    intermediate's key, the root issues the TSA's certificate; without the leaf's, the CAs' certificates are made.
    COMMON-NAME is what templates call .Subject.CommonName. Files are written when the whole chain has passed the
    rules by which a server starts, all of them or none.

    \b
    Examples:
      certificate-maker create tsa.example.com --chain chain.pem \\
          --root-key-id 'pkcs11:token=root;object=ca' --intermediate-key-id awskms:///alias/issuing \\
          --leaf-key-id hashivault://tsa
      certificate-maker create tsa.example.com --kms-type hashivault --root-key-id root \\
          --existing-root-cert root.pem --leaf-key-id tsa --leaf-template leaf.json
      certificate-maker template leaf > leaf.json
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    from tsa_core.cli.maker_order import MakerOrder
    from tsa_core.cli.signing_keys import KeyOpener

    order = MakerOrder(common_name, flags, _given(ctx, ParameterSource.COMMANDLINE))
    order.check()
    set_up_logging()
    if variables := [_variable(ctx, name) for name in sorted(_given(ctx, ParameterSource.ENVIRONMENT))]:
        console.tell(f"read from the environment: {', '.join(variables)}")
    if "vault_token" in order.typed:
        console.tell("--vault-token shows the token to everybody who can run ps on this machine; VAULT_TOKEN does not")
    with KeyOpener(flags["config"]) as opener:
        made = order.make(opener)
    for line in made.write():
        click.echo(line)


def _given(ctx: click.Context, source: ParameterSource) -> frozenset[str]:
    """Return the names of the parameters whose values come from there."""
    return frozenset(name for name in ctx.params if ctx.get_parameter_source(name) is source)


def _variable(ctx: click.Context, name: str) -> str:
    """Return the variable that gave a parameter its value."""
    [option] = [each for each in ctx.command.params if each.name == name]
    variables = [option.envvar] if isinstance(option.envvar, str) else option.envvar or ()
    return next(variable for variable in variables if os.environ.get(variable))


@click.command("template")
@click.argument("role", type=click.Choice(["root", "intermediate", "leaf"]))
def template(role: Any) -> None:
    """Print the default template of a ROLE, to begin one's own with."""
    click.echo(default_template(role), nl=False)
