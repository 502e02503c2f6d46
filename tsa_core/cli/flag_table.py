"""The table of flags of timestamp-server: which setting each gives, and its help.

Names and meanings are the Sigstore Timestamp Authority's; what is ours alone says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tsa_core.cli.boolean_flag import BooleanFlag

_DEFAULT_PROFILE = "profiles.default"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag, the setting that it gives and the type of its value."""

    name: str
    setting: str
    help: str
    type: Any = str
    metavar: str | None = None
    multiple: bool = False
    """Given more than once, or once with commas."""

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


FILE = click.Path(path_type=Path)
OIDS = "OID[,OID...]"
_LOG_TYPES = ("dev", "prod")

FLAGS: tuple[Flag, ...] = (
    Flag(
        name="--scheme",
        setting="server.schemes",
        help="What is served: http, https (pip install 'tsa-core[granian]'), unix; repeat it for several  [http]",
        metavar="SCHEME",
        multiple=True,
    ),
    Flag(name="--host", setting="server.host", help="Address to listen on  [127.0.0.1]", metavar="ADDRESS"),
    Flag(
        name="--port",
        setting="server.port",
        help="TCP port; 0 takes any free one and prints it  [3000]",
        type=click.IntRange(0, 65535),
        metavar="PORT",
    ),
    Flag(
        name="--socket-path",
        setting="server.socket_path",
        help="Unix socket of --scheme unix",
        type=FILE,
        metavar="FILE",
    ),
    Flag(name="--tls-host", setting="server.tls_host", help="Address for https  [as --host]", metavar="ADDRESS"),
    Flag(
        name="--tls-port",
        setting="server.tls_port",
        help="TCP port for https; 0 takes any free one and prints it  [3443]",
        type=click.IntRange(0, 65535),
        metavar="PORT",
    ),
    Flag(
        name="--tls-certificate",
        setting="server.tls_certificate",
        help="PEM file with the certificate for https and its chain; TLS 1.2 or newer",
        type=FILE,
        metavar="FILE",
    ),
    Flag(
        name="--tls-key",
        setting="server.tls_key",
        help="PEM file with that certificate's private key",
        type=FILE,
        metavar="FILE",
    ),
    Flag(
        name="--tls-ca",
        setting="server.tls_ca",
        help="PEM file with CAs: clients must show a certificate of one of them",
        type=FILE,
        metavar="FILE",
    ),
    Flag(
        name="--http-ping-only",
        setting="server.http_ping_only",
        help="Without TLS, answer nothing but /ping  [false]",
        type=bool,
    ),
    Flag(name="--log-type", setting="log.type", help="Lines for people, or JSON  [dev]", type=click.Choice(_LOG_TYPES)),
    Flag(name="--access-log", setting="log.access", help="Log a line for each request  [true]", type=bool),
    Flag(name="--metrics", setting="metrics.enabled", help="Serve Prometheus metrics at /metrics  [true]", type=bool),
    Flag(name="--metrics-host", setting="metrics.host", help="Address for metrics  [127.0.0.1]", metavar="ADDRESS"),
    Flag(
        name="--metrics-port",
        setting="metrics.port",
        help="TCP port of the metrics; 0 takes any free one and prints it  [2112]",
        type=click.IntRange(0, 65535),
        metavar="PORT",
    ),
    Flag(
        name="--server",
        setting="server.engine",
        help="HTTP server: waitress, or granian for throughput (pip install 'tsa-core[granian]')  [waitress]",
        type=click.Choice(["waitress", "granian"]),
    ),
    Flag(
        name="--http2",
        setting="server.http2",
        help="HTTP/2 beside HTTP/1.1: for https, and without TLS with --server granian  [false]",
        type=bool,
    ),
    Flag(
        name="--workers",
        setting="server.workers",
        help="Processes that answer requests; one per core is enough for keys in memory  [1]",
        type=click.IntRange(1, 256),
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
    Flag(
        name="--certificate-chain-path",
        setting=f"{_DEFAULT_PROFILE}.certificate_chain",
        help="PEM file with the TSA certificate, intermediates and root, in that order",
        type=FILE,
        metavar="FILE",
    ),
    Flag(
        name="--timestamp-signer-hash",
        setting=f"{_DEFAULT_PROFILE}.signer_hash",
        help="Digest of the signature; follows the key unless given",
        type=click.Choice(["sha256", "sha384", "sha512"], case_sensitive=False),
    ),
    Flag(
        name="--enforce-intermediate-eku",
        setting=f"{_DEFAULT_PROFILE}.enforce_intermediate_eku",
        help="Intermediates must list timeStamping  [true]",
        type=bool,
    ),
    Flag(
        name="--allow-custom-extensions",
        setting=f"{_DEFAULT_PROFILE}.allow_custom_extensions",
        help="Copy the request's extensions into the token  [false]",
        type=bool,
    ),
    Flag(
        name="--rejections",
        setting="server.rejections",
        help="How refusals of DER requests are answered: HTTP 200 and a rejection (rfc3161), or HTTP 400 and "
        "JSON as Sigstore's TSA does (sigstore)  [rfc3161]",
        type=click.Choice(["rfc3161", "sigstore"]),
    ),
    Flag(
        name="--use-http-201",
        setting="server.use_http_201",
        help="Answer granted requests with 201; some clients then fail  [false]",
        type=bool,
    ),
    Flag(
        name="--max-request-body-size",
        setting="server.max_request_body_size",
        help="Bytes; larger bodies are refused with 413, 0: no limit  [1048576]",
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
        help="Size of a request's head, 64KiB or 1MB for example; longer ones are refused  [64KiB]",
        metavar="SIZE",
    ),
    Flag(
        name="--listen-limit",
        setting="server.connection_limit",
        help="Connections open at once in each process, 0: as many as the system allows  [1000]",
        type=click.IntRange(0, 1_000_000),
        metavar="N",
    ),
    Flag(
        name="--read-timeout",
        setting="server.read_timeout",
        help="Time for a request to arrive, 0: no limit  [30s]",
        metavar="DURATION",
    ),
    Flag(
        name="--write-timeout",
        setting="server.write_timeout",
        help="Time without progress for a reply to leave, 0: no limit  [30s]",
        metavar="DURATION",
    ),
    Flag(
        name="--cleanup-timeout",
        setting="server.idle_timeout",
        help="Closes connections that are idle this long  [620s]",
        metavar="DURATION",
    ),
    Flag(
        name="--keep-alive",
        setting="server.tcp_keep_alive",
        help="Probes idle clients this often, by TCP; 0: never  [3m]",
        metavar="DURATION",
    ),
    Flag(
        name="--graceful-timeout",
        setting="server.graceful_timeout",
        help="Time for requests in flight after SIGTERM  [15s]",
        metavar="DURATION",
    ),
    Flag(
        name="--pid-file",
        setting="server.pid_file",
        help="File that gets the process id, for timestamp-server reload  [none]",
        type=FILE,
        metavar="FILE",
    ),
    Flag(
        name="--watch",
        setting="server.watch",
        help="Reload when configuration, chain or key files have changed  [false]",
        type=bool,
    ),
    Flag(
        name="--enable-pprof",
        setting="server.profiling",
        help="Sampling profiles of this process on request, at 127.0.0.1:6060/debug/pprof/  [false]",
        type=bool,
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
