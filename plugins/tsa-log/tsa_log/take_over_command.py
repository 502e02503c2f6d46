"""`timestamp-server log take-over`: goes on with a log in a bucket whose machine is lost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from tsa_core.api import ConfigError
from tsa_core.api.setting_errors import setting_error
from tsa_core.api.transparency import EncodingError, parse_verifier_key
from tsa_log.objects import ObjectStorage
from tsa_log.opening import open_bucket
from tsa_log.options import StorageOptions
from tsa_log.take_over import take_over


@click.command("take-over")
@click.option("--origin", required=True, help="The log's name: [audit.tokenlog] origin.")
@click.option(
    "--directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The new server's directory: [audit.tokenlog] directory. It must have no log.",
)
@click.option("--storage", required=True, help="The bucket: [audit.tokenlog] storage, s3://... or gs://...")
@click.option("--endpoint", help="[audit.tokenlog.s3] endpoint_url, or [audit.tokenlog.gcs] endpoint.")
@click.option("--log-key", "key_text", required=True, help="The log's verifier key, NAME+HASH+KEY.")
def take_over_log(origin: str, directory: Path, storage: str, endpoint: str | None, key_text: str) -> None:
    """Go on, on this machine, with a log in a bucket whose machine is lost. Switch that one off first.

    Entries that the lost machine had not yet integrated are not in the log, and their tokens have no proof.

    \b
    Example:
      timestamp-server log take-over --origin log.example.com/tsa --directory /var/lib/tsa/log \\
        --storage s3://example-log/tsa --log-key VKEY
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    options = storage_options(directory, storage, endpoint)
    try:
        key = parse_verifier_key(key_text)
    except EncodingError as error:
        raise ConfigError(str(error), path="--log-key") from None
    if options.place is None:
        raise ConfigError("it names no bucket", path="--storage")
    seconds = options.storage_timeout.total_seconds()
    with closing(ObjectStorage(open_bucket(options, options.place), seconds=seconds)) as opened:
        try:
            state = take_over(options.private, opened, origin, key)
        except OSError as error:
            raise ConfigError(error.strerror or str(error), path="--storage") from None
    click.echo(f"{origin} goes on here behind entry {state.size}")


def storage_options(directory: Path, storage: str, endpoint: str | None) -> StorageOptions:
    """Return the settings of a bucket; raises ConfigError, which names the option."""
    table: dict[str, Any] = {"directory": str(directory), "storage": storage}
    if endpoint is not None:
        table |= {"gcs": {"endpoint": endpoint}} if storage.startswith("gs:") else {"s3": {"endpoint_url": endpoint}}
    try:
        return StorageOptions.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "--endpoint" if first["loc"][:1] in {("s3",), ("gcs",)} else "--storage"
        raise ConfigError(setting_error(first), path=name) from None
