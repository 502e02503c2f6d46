"""The table of flags of timestamp-server: which setting each gives, and its help.

Names and meanings are the Sigstore Timestamp Authority's; what is ours alone says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.spellings import AliasedOption
from tsa_core.values import Value

DEFAULT_PROFILE = "profiles.default"


class Flag(Value):
    """One flag, the setting that it gives and the type of its value."""

    name: str
    setting: str
    help: str
    type: Any = str
    metavar: str | None = None
    multiple: bool = False
    """Given more than once, or once with commas."""
    aliases: tuple[str, ...] = ()
    """Further spellings, which the help does not show."""

    @property
    def parameter(self) -> str:
        """The name under which click hands the value over."""
        return parameter_name(self.name)

    def option(self) -> Callable[[Any], Any]:
        """Return the click decorator."""
        if self.type is bool:
            return click.option(self.name, self.parameter, cls=BooleanFlag, default=None, help=self.help)
        return click.option(
            self.name,
            self.parameter,
            type=self.type,
            default=None,
            metavar=self.metavar,
            multiple=self.multiple,
            help=self.help,
            cls=AliasedOption,
            aliases=self.aliases,
        )

    def value(self, given: Any) -> Any:
        """Return what the setting gets from the value that click hands over; None when the flag was not given."""
        if self.multiple:
            words = [word.strip() for each in given or () for word in each.split(",")]
            return list(dict.fromkeys(words)) or None
        return given.absolute() if isinstance(given, Path) else given


def parameter_name(flag: str) -> str:
    """Return the name under which click hands a flag's value over."""
    return flag.removeprefix("--").replace("-", "_")


class _FilePath(click.Path):
    """A path in which `~` is a home directory, as in the configuration file: no shell sees to it in `--flag=~/file`."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; a usage error for the home directory of nobody."""
        try:
            return Path(os.fsdecode(super().convert(value, param, ctx))).expanduser()
        except RuntimeError:
            self.fail(f"the home directory of {value!r} is not known here; write the path from / on", param, ctx)


FILE = _FilePath()
OIDS = "OID[,OID...]"
_LOG_TYPES = ("dev", "prod")


def _switch(name: str, setting: str, words: str) -> Flag:
    return Flag(name=name, setting=setting, help=words, type=bool)


def _file(name: str, setting: str, words: str) -> Flag:
    return Flag(name=name, setting=setting, help=words, type=FILE, metavar="FILE")


def _port(name: str, setting: str, words: str) -> Flag:
    return Flag(name=name, setting=setting, help=words, type=click.IntRange(0, 65535), metavar="PORT")


def _duration(name: str, setting: str, words: str) -> Flag:
    return Flag(name=name, setting=setting, help=words, metavar="DURATION")


FLAGS: tuple[Flag, ...] = (
    Flag(
        name="--scheme",
        setting="server.schemes",
        help="What is served: http, https, unix; repeat it for several  [http]",
        metavar="SCHEME",
        multiple=True,
    ),
    Flag(
        name="--host",
        setting="server.host",
        help="Address to listen on; repeat it for several; :: for all, IPv4 too  [127.0.0.1]",
        metavar="ADDRESS",
        multiple=True,
    ),
    _port("--port", "server.port", "TCP port; 0 takes any free one and prints it  [3000]"),
    _file("--socket-path", "server.socket_path", "Unix socket of --scheme unix"),
    Flag(
        name="--tls-host",
        setting="server.tls_host",
        help="Address for https; repeat it for several  [as --host]",
        metavar="ADDRESS",
        multiple=True,
    ),
    _port("--tls-port", "server.tls_port", "TCP port for https; 0 takes any free one and prints it  [3443]"),
    _file(
        "--tls-certificate",
        "server.tls_certificate",
        "PEM file with the certificate for https and its chain; TLS 1.2 or newer",
    ),
    _file("--tls-key", "server.tls_key", "PEM file with that certificate's private key"),
    _file("--tls-ca", "server.tls_ca", "PEM file with CAs: clients must show a certificate of one of them"),
    _duration("--tls-read-timeout", "server.tls_read_timeout", "As --read-timeout, for https  [as --read-timeout]"),
    _duration("--tls-write-timeout", "server.tls_write_timeout", "As --write-timeout, for https  [as --write-timeout]"),
    _duration("--tls-keep-alive", "server.tls_keep_alive", "As --keep-alive, for https  [as --keep-alive]"),
    Flag(
        name="--tls-listen-limit",
        setting="server.tls_connection_limit",
        help="As --listen-limit, for https  [as --listen-limit]",
        type=click.IntRange(0, 1_000_000),
        metavar="N",
    ),
    _switch("--http-ping-only", "server.http_ping_only", "Without TLS, answer nothing but /ping  [false]"),
    Flag(
        name="--log-type",
        setting="log.type",
        help="Lines for people, or JSON  [dev]",
        type=click.Choice(_LOG_TYPES),
        aliases=("--log_type",),  # as Sigstore's Helm chart writes it
    ),
    _switch("--access-log", "log.access", "Log a line for each request  [true]"),
    _switch("--metrics", "metrics.enabled", "Serve Prometheus metrics at /metrics  [true]"),
    Flag(name="--metrics-host", setting="metrics.host", help="Address for metrics  [127.0.0.1]", metavar="ADDRESS"),
    _port("--metrics-port", "metrics.port", "TCP port of the metrics; 0 takes any free one and prints it  [2112]"),
    Flag(
        name="--server",
        setting="server.engine",
        help="HTTP server without TLS: waitress, or granian for throughput behind a proxy  [waitress]",
        type=click.Choice(["waitress", "granian"]),
    ),
    _switch(
        "--http2",
        "server.http2",
        "HTTP/2 beside HTTP/1.1: true, without TLS too with --server granian; false, nowhere  [over TLS]",
    ),
    Flag(
        name="--workers",
        setting="server.workers",
        help="Processes that answer requests; one per core is enough for keys in memory, which auto means  [1]",
        metavar="N",
    ),
    Flag(
        name="--threads",
        setting="server.threads",
        help="Threads that answer requests when a signer waits for a backend; at most so many signatures are in "
        "progress  [64]",
        type=click.IntRange(1, 1024),
        metavar="N",
    ),
    _file(
        "--certificate-chain-path",
        f"{DEFAULT_PROFILE}.certificate_chain",
        "PEM file with the TSA certificate, intermediates and root, in that order",
    ),
    Flag(
        name="--timestamp-signer-hash",
        setting=f"{DEFAULT_PROFILE}.signer_hash",
        help="Digest of the signature; follows the key unless given",
        type=click.Choice(["sha256", "sha384", "sha512"], case_sensitive=False),
    ),
    _switch(
        "--enforce-intermediate-eku",
        f"{DEFAULT_PROFILE}.enforce_intermediate_eku",
        "Intermediates must list timeStamping  [true]",
    ),
    _switch(
        "--allow-custom-extensions",
        f"{DEFAULT_PROFILE}.allow_custom_extensions",
        "Copy the request's extensions into the token  [false]",
    ),
    Flag(
        name="--rejections",
        setting="server.rejections",
        help="How refusals of DER requests are answered: HTTP 200 and a rejection (rfc3161), or HTTP 400 and "
        "JSON as Sigstore's TSA does (sigstore)  [rfc3161]",
        type=click.Choice(["rfc3161", "sigstore"]),
    ),
    _switch(
        "--use-http-201", "server.use_http_201", "Answer granted requests with 201; some clients then fail  [false]"
    ),
    Flag(
        name="--max-request-body-size",
        setting="server.max_request_body_size",
        help="Bytes; larger bodies are refused with 413, 0: no limit  [65536]",
        type=click.IntRange(0),
        metavar="BYTES",
    ),
    Flag(
        name="--http-request-id-header-name",
        setting="server.request_id_header",
        help="Header that carries the request id  [X-Request-Id]",
        metavar="NAME",
    ),
    Flag(
        name="--max-header-size",
        setting="server.max_header_size",
        help="Size of a request's head, 64KiB or 1MB for example; longer ones are refused  [16KiB]",
        metavar="SIZE",
    ),
    Flag(
        name="--listen-limit",
        setting="server.connection_limit",
        help="Connections open at once in each process, 0: as many as the system allows  [1000]",
        type=click.IntRange(0, 1_000_000),
        metavar="N",
    ),
    _duration("--read-timeout", "server.read_timeout", "Time for a request to arrive, 0: no limit  [30s]"),
    _duration(
        "--write-timeout", "server.write_timeout", "Time without progress for a reply to leave, 0: no limit  [30s]"
    ),
    _duration("--cleanup-timeout", "server.idle_timeout", "Closes connections that are idle this long  [620s]"),
    _duration("--keep-alive", "server.tcp_keep_alive", "Probes idle clients this often, by TCP; 0: never  [3m]"),
    _duration("--graceful-timeout", "server.graceful_timeout", "Time for requests in flight after SIGTERM  [15s]"),
    Flag(
        name="--ntp-on-failure",
        setting="clock.on_failure",
        help="While the clock cannot be trusted: refuse, or warn and issue as Sigstore's TSA does  [refuse]",
        type=click.Choice(["refuse", "warn"]),
    ),
    _file("--pid-file", "server.pid_file", "File that gets the process id, for timestamp-server reload  [none]"),
    _switch("--watch", "server.watch", "Reload when configuration, chain or key files have changed  [false]"),
    _switch(
        "--enable-pprof",
        "server.profiling",
        "Sampling profiles of this process on request, at 127.0.0.1:6060/debug/pprof/  [false]",
    ),
    Flag(
        name="--file-signer-passwd",
        setting="signer.file.password",
        help="Password of an encrypted key; ps shows it to every user of this machine, so prefer "
        "[signer.file] password = { file = ... } or TSA_SIGNER__FILE__PASSWORD",
        metavar="TEXT",
    ),
    Flag(
        name="--tink-key-resource",
        setting="signer.tink.key_resource",
        help="Key that decrypts the Tink keyset: gcp-kms://..., aws-kms://arn:... or hcvault://HOST/MOUNT/keys/NAME",
        metavar="URI",
    ),
    Flag(
        name="--tink-hcvault-token",
        setting="signer.tink.hcvault_token",
        help="Vault token for hcvault://; ps shows it to every user of this machine, so prefer VAULT_TOKEN or "
        "[signer.tink] hcvault_token = { file = ... }",
        metavar="TEXT",
    ),
)
