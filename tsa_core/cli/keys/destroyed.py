"""timestamp-server keys destroyed: a protocol of the end of a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from tsa_core.api import ConfigError, PluginError, PublicKey, TemporaryFailure, TsaError, describe_key, one_line
from tsa_core.api.trail.events import DESTROYED as EVENT
from tsa_core.certs import load_certificates
from tsa_core.cli.keys.protocol_parts import (
    FILE,
    NOT_CHECKED,
    Steps,
    attendees_of,
    check_before,
    content_of,
    opened_sinks,
    protocol_options,
    stamped,
    write_protocol,
)
from tsa_core.cli.keys.verifying import read_protocol
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.documents.ceremony.protocol import DESTROYED, BrokenProtocolError, Protocol, key_fields
from tsa_core.protocol.signatures import key_fingerprint, public_key_info
from tsa_core.secret_parts import without_secret_parts

_READ_THE_OUTCOME: Final = (
    "Whether what came of opening the key means that it is gone, and not that it may not be seen: a missing permission "
    "or a version that is disabled may say the same."
)


@click.command()
@protocol_options
@click.option("--ceremony", type=FILE, metavar="FILE", help="Which key: the protocol of its ceremony")
@click.option("--certificate", type=FILE, metavar="FILE", help="Which key: PEM file of its certificate")
@click.option("--how", metavar="TEXT", required=True, help="How it was destroyed, copies and backups included")
@click.option("--key", "key_uri", metavar="URI", help="Where it was: this is opened, and must no longer have the key")
def destroyed(
    *,
    config: Path | None,
    attendees: tuple[str, ...],
    reason: str,
    tsa: str | None,
    tsa_roots: Path | None,
    output: Path | None,
    ceremony: Path | None,
    certificate: Path | None,
    how: str,
    key_uri: str | None,
) -> None:
    """Write a protocol of the destruction of a key, after it was destroyed with the tools of its KMS or module.

    It says which key, who was there, when and how, and what came of trying to open it (--key). A key that can still be
    opened is not destroyed: then nothing is written, and the exit code is 1. No key signs this protocol; have another
    authority stamp it (--tsa). The audit sinks of the configuration record it.

    \b
    Examples:
      timestamp-server keys destroyed --config tsa.toml --ceremony ceremony-2026.json \\
          --key 'pkcs11:token=tsa;object=tsa-2026' --how 'pkcs11-tool --delete-object, backup card 3 shredded' \\
          --attendee 'Ada Lovelace=security officer' --attendee 'Grace Hopper=auditor' --output destroyed-2026.json
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    output = check_before(output, tsa, tsa_roots)
    public_key = _key(ceremony, certificate)
    present = attendees_of(attendees)
    steps = Steps()
    steps.add("destroy the key", how)
    not_checked = list(NOT_CHECKED[DESTROYED])
    details: dict[str, Any] = {}
    if key_uri is None:
        not_checked.append("Whether the key is gone: nothing was opened (--key URI).")
    else:
        details["uri"] = without_secret_parts(key_uri)
        outcome = _try_to_open(key_uri, config, public_key)
        steps.add("try to open the key where it was", outcome)
        not_checked.append(_READ_THE_OUTCOME)
    key = {**key_fields(public_key), "kind": describe_key(public_key), **details}
    protocol = Protocol(content=content_of(DESTROYED, steps, present, reason, key=key, not_checked=not_checked))
    with opened_sinks(config) as record:
        protocol, missing = stamped(protocol, tsa, tsa_roots)
        write_protocol(protocol, output)
        record(EVENT, protocol)
    if missing:
        raise click.ClickException(f"the protocol is written, but was not timestamped: {missing}")


def _key(ceremony: Path | None, certificate: Path | None) -> PublicKey:
    """Return the public half of the key that is meant."""
    if ceremony is not None and certificate is None:
        protocol = read_protocol(ceremony)
        try:
            protocol.check_signature()
            return protocol.public_key()
        except BrokenProtocolError as error:
            raise ConfigError(str(error), path=str(ceremony)) from None
    if certificate is None or ceremony is not None:
        raise click.UsageError("which key? --ceremony FILE, the protocol of its making, or --certificate FILE")
    try:
        found = load_certificates(certificate)[0].public_key()
    except ValueError:
        found = None
    if not isinstance(found, PublicKey):
        raise ConfigError("its key is of a kind that signs no timestamps", path=str(certificate))
    return found


def _try_to_open(uri: str, config: Path | None, public_key: PublicKey) -> str:
    """Return what came of opening the key; raises ClickException when it is still there."""
    with KeyOpener(config) as opener:
        try:
            # A URI without a version names the newest one, and after a rotation the others are there still.
            there = opener.signer(uri, option="--key", certified_key=public_key_info(public_key)).public_key
        except (TemporaryFailure, PluginError) as error:
            raise click.ClickException(
                f"whether the key is gone cannot be said, because its module cannot be asked now: {one_line(error)}"
            ) from None
        except TsaError as error:
            if _is_of_settings(error):
                raise click.ClickException(
                    f"whether the key is gone cannot be said, because it cannot be opened as it was: {one_line(error)}"
                ) from None
            return f"it cannot be opened: {one_line(error)}"
    if key_fingerprint(there) == key_fingerprint(public_key):
        raise click.ClickException("the key is still there and can be opened: it is not destroyed")
    return f"another key is there now, SHA-256 {key_fingerprint(there)}"


def _is_of_settings(error: TsaError) -> bool:
    """Whether an error is of a setting, such as the PIN, or of a file that is there: it says nothing of the key."""
    path = error.path if isinstance(error, ConfigError) else None
    return path is not None and (path.startswith("signer.") or Path(path).exists())
