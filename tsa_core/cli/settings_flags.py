"""From the flags of timestamp-server to settings: those of the table, and those that mean more than one setting.

A flag that is not given leaves its setting to environment, file and default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.flag_groups import group_of
from tsa_core.cli.flag_table import DEFAULT_PROFILE, FILE, FLAGS, OIDS, parameter_name
from tsa_core.protocol.oids import SIGSTORE_TIMESTAMP_POLICY as DEFAULT_POLICY

_CLOCK_OPTIONS = (
    click.option(
        "--ntp-monitoring",
        metavar="FILE|default",
        help="Compare the clock with NTP servers, and refuse when it is wrong: a YAML file as Sigstore's TSA has it, "
        "or 'default' for its servers  [off]",
    ),
    click.option(
        "--disable-ntp-monitoring", cls=BooleanFlag, help="Ask no NTP servers, whatever file and flags say  [false]"
    ),
)
_SIGNER_OPTIONS = (
    click.option(
        "--timestamp-signer",
        type=click.Choice(["memory", "file", "kms", "tink"]),
        help="memory: a new key at every start, for trial; file: --file-signer-key-path; kms: --kms-key-resource; "
        "tink: --tink-keyset-path and --tink-key-resource",
    ),
    click.option(
        "--kms-key-resource",
        metavar="URI",
        help="Key URI; its scheme names the signer plugin, or a program sigstore-kms-SCHEME (tsa-signer-cliplugin)",
    ),
    click.option("--file-signer-key-path", type=FILE, metavar="FILE", help="Private key, PEM or DER"),
    click.option("--tink-keyset-path", type=FILE, metavar="FILE", help="Encrypted Tink keyset, JSON or binary"),
)
_PROFILE_OPTIONS = (
    click.option(
        "--include-chain-in-response",
        cls=BooleanFlag,
        help="Certificates in a token that asks for them: all with the root (true), the TSA's alone (false)  "
        "[not given: all but the root]",
    ),
    click.option("--default-policy-oid", metavar="OID", help=f"Policy of tokens that ask for none  [{DEFAULT_POLICY}]"),
    click.option(
        "--accepted-policy-oids",
        metavar=OIDS,
        multiple=True,
        help="Further policies that may be asked for; repeat it for several",
    ),
)
_SIGNER_PARAMETERS = ("timestamp_signer", "kms_key_resource", "file_signer_key_path", "tink_keyset_path")
_CLOCK_PARAMETERS = ("ntp_monitoring", "disable_ntp_monitoring")
_POLICY_PARAMETERS = ("default_policy_oid", "accepted_policy_oids")
_GROUPS_OF_OTHERS = {
    **dict.fromkeys(_SIGNER_PARAMETERS, ":signer"),
    **dict.fromkeys(_CLOCK_PARAMETERS, ":clock"),
    **dict.fromkeys(("include_chain_in_response", *_POLICY_PARAMETERS), ":policy"),
}
SETTING_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    **{flag.setting: (flag.parameter,) for flag in FLAGS},
    f"{DEFAULT_PROFILE}.signer": _SIGNER_PARAMETERS,
    f"{DEFAULT_PROFILE}.include_chain": ("include_chain_in_response",),
    f"{DEFAULT_PROFILE}.policies": _POLICY_PARAMETERS,
    "clock.monitors": _CLOCK_PARAMETERS,
    "clock.ntp.file": _CLOCK_PARAMETERS,
    "clock.disabled_monitors": _CLOCK_PARAMETERS,
}
"""Every setting that flags give, and the parameters of the flags that have a part in it."""
_CONFIG_OPTION = click.option(
    "--config",
    type=FILE,
    metavar="FILE",
    envvar="TSA_CONFIG",
    help="Configuration file, tsa.toml, or timestamp-server.yaml as Sigstore's server has it",
)


def flag_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all flags that give settings to a command; they arrive as one dict of parameters."""
    options = (*_SIGNER_OPTIONS, *(flag.option() for flag in FLAGS), *_CLOCK_OPTIONS, *_PROFILE_OPTIONS)
    for option in reversed(options):
        command = option(command)
    return command


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --config and all flags that give settings to a command; they arrive as one dict of parameters."""
    decorated: Callable[..., Any] = _CONFIG_OPTION(flag_options(command))
    return decorated


def flag_groups() -> dict[str, str]:
    """Return the group of the help text for each parameter of a command with `settings_options`."""
    settings = {**{flag.parameter: flag.setting for flag in FLAGS}, **_GROUPS_OF_OTHERS}
    return {parameter: group_of(setting) for parameter, setting in settings.items()}


def overrides(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that were given as nested settings; raises UsageError for flags that need each other."""
    values: dict[str, Any] = {}
    for flag in FLAGS:
        value = flag.value(parameters.get(flag.parameter))
        if value is not None:
            _put(values, flag.setting, value)
    if (signer := _signer_uri(parameters)) is not None:
        _put(values, f"{DEFAULT_PROFILE}.signer", signer)
    _put_clock(values, parameters)
    if (whole := parameters.get("include_chain_in_response")) is not None:
        _put(values, f"{DEFAULT_PROFILE}.include_chain", "full" if whole else "leaf")
    default, accepted = parameters.get("default_policy_oid"), parameters.get("accepted_policy_oids")
    if default or accepted:
        words = [part.strip() for each in accepted or () for part in each.split(",")]
        policies = dict.fromkeys([default or DEFAULT_POLICY, *filter(None, words)])
        _put(values, f"{DEFAULT_PROFILE}.policies", list(policies))
    return values


def flag_names(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what the flags that were given are called, by the setting that they have a part in."""
    given = {
        setting: [f"--{name.replace('_', '-')}" for name in names if parameters.get(name) not in (None, ())]
        for setting, names in SETTING_PARAMETERS.items()
    }
    return {setting: ", ".join(names) for setting, names in given.items() if names}


def _put_clock(values: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Put the reference system's NTP flags: disabled wins, as there."""
    if parameters.get("disable_ntp_monitoring"):
        _put(values, "clock.disabled_monitors", ["ntp"])
    elif source := parameters.get("ntp_monitoring"):
        _put(values, "clock.monitors", ["ntp"])
        _put(values, "clock.ntp.file", source if source == "default" else str(Path(source).absolute()))


_KEY_FLAGS = {"kms": "--kms-key-resource", "file": "--file-signer-key-path", "tink": "--tink-keyset-path"}
"""The signers of the reference system, and the flag that names the key of each."""


def signer_parameters(*, other_than: str) -> frozenset[str]:
    """Return the parameters that name the keys of the other signers of the reference system."""
    others = {parameter_name(flag) for name, flag in _KEY_FLAGS.items() if name != other_than}
    return frozenset(others | ({"tink_key_resource", "tink_hcvault_token"} if other_than != "tink" else set()))


def _signer_uri(parameters: dict[str, Any]) -> str | None:
    """Return the key URI that the reference system's flags mean."""
    signer: str | None = parameters.get("timestamp_signer")
    keys = {name: key for name, flag in _KEY_FLAGS.items() if (key := parameters.get(parameter_name(flag)))}
    if len(keys) > 1:
        raise click.UsageError(f"{' and '.join(_KEY_FLAGS[name] for name in keys)} name {len(keys)} keys; give one")
    for name in keys:
        signer = signer or name
        if signer != name:
            raise click.UsageError(f"{_KEY_FLAGS[name]} goes with --timestamp-signer {name}, not {signer}")
    for flag in ("--tink-key-resource", "--tink-hcvault-token"):
        if signer not in {None, "tink"} and parameters.get(parameter_name(flag)):
            raise click.UsageError(f"{flag} goes with --timestamp-signer tink, not {signer}")
    if signer is None or signer == "memory":
        return f"{signer}:" if signer else None
    if signer not in keys:
        raise click.UsageError(f"--timestamp-signer {signer} needs {_KEY_FLAGS[signer]}")
    return str(keys[signer]) if signer == "kms" else f"{signer}:{quote(os.fsencode(keys[signer].absolute()))}"


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *tables, key = path.split(".")
    for table in tables:
        values = values.setdefault(table, {})
    values[key] = value
