"""The flags of timestamp-server: one table from flag to setting.

Names and meanings are the Sigstore Timestamp Authority's; what is ours alone says so. A flag that is not given leaves
its setting to environment, file and default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tsa_core.cli.boolean_flag import BooleanFlag
from tsa_core.cli.flag_groups import group_of

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
        return _parameter(self.name)

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


def _parameter(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


_FILE = click.Path(path_type=Path)
_OIDS = "OID[,OID...]"
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
        type=_FILE,
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
        type=_FILE,
        metavar="FILE",
    ),
    Flag(
        name="--tls-key",
        setting="server.tls_key",
        help="PEM file with that certificate's private key",
        type=_FILE,
        metavar="FILE",
    ),
    Flag(
        name="--tls-ca",
        setting="server.tls_ca",
        help="PEM file with CAs: clients must show a certificate of one of them",
        type=_FILE,
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
        type=_FILE,
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
        help="Asks silent clients this often, by TCP, whether they are still there; 0: never  [3m]",
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
        type=_FILE,
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
    click.option("--kms-key-resource", metavar="URI", help="Key URI; its scheme names the signer plugin"),
    click.option("--file-signer-key-path", type=_FILE, metavar="FILE", help="Private key, PEM or DER"),
    click.option("--tink-keyset-path", type=_FILE, metavar="FILE", help="Encrypted Tink keyset, JSON or binary"),
)
_PROFILE_OPTIONS = (
    click.option(
        "--include-chain-in-response",
        cls=BooleanFlag,
        help="Certificates in a token that asks for them: all with the root (true), the TSA's alone (false)  "
        "[not given: all but the root]",
    ),
    click.option("--default-policy-oid", metavar="OID", help="Policy of tokens that ask for none"),
    click.option("--accepted-policy-oids", metavar=_OIDS, help="Further policies that may be asked for"),
)
_GROUPS_OF_OTHERS = {
    "timestamp_signer": ":signer",
    "kms_key_resource": ":signer",
    "file_signer_key_path": ":signer",
    "ntp_monitoring": ":clock",
    "disable_ntp_monitoring": ":clock",
    "include_chain_in_response": ":policy",
    "default_policy_oid": ":policy",
    "accepted_policy_oids": ":policy",
}
_CONFIG_OPTION = click.option(
    "--config", type=_FILE, metavar="FILE", envvar="TSA_CONFIG", help="Configuration file, tsa.toml"
)


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --config and all flags of the table to a command; they arrive as one dict of parameters."""
    for option in reversed(
        (_CONFIG_OPTION, *_SIGNER_OPTIONS, *(flag.option() for flag in FLAGS), *_CLOCK_OPTIONS, *_PROFILE_OPTIONS)
    ):
        command = option(command)
    return command


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
        _put(values, f"{_DEFAULT_PROFILE}.signer", signer)
    _put_clock(values, parameters)
    if (whole := parameters.get("include_chain_in_response")) is not None:
        _put(values, f"{_DEFAULT_PROFILE}.include_chain", "full" if whole else "leaf")
    default, accepted = parameters.get("default_policy_oid"), parameters.get("accepted_policy_oids")
    if accepted and not default:
        raise click.UsageError("--accepted-policy-oids needs --default-policy-oid, which is accepted too")
    if default:
        policies = [default, *(part.strip() for part in (accepted or "").split(",") if part.strip())]
        _put(values, f"{_DEFAULT_PROFILE}.policies", policies)
    return values


def _put_clock(values: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Put the reference system's NTP flags: disabled wins, as there."""
    if parameters.get("disable_ntp_monitoring"):
        _put(values, "clock.disabled_monitors", ["ntp"])
    elif source := parameters.get("ntp_monitoring"):
        _put(values, "clock.monitors", ["ntp"])
        _put(values, "clock.ntp.file", source if source == "default" else str(Path(source).absolute()))


_KEY_FLAGS = {"kms": "--kms-key-resource", "file": "--file-signer-key-path", "tink": "--tink-keyset-path"}
"""The signers of the reference system, and the flag that names the key of each."""


def _signer_uri(parameters: dict[str, Any]) -> str | None:
    """Return the key URI that the reference system's flags mean."""
    signer: str | None = parameters.get("timestamp_signer")
    keys = {name: key for name, flag in _KEY_FLAGS.items() if (key := parameters.get(_parameter(flag)))}
    if len(keys) > 1:
        raise click.UsageError(f"{' and '.join(_KEY_FLAGS[name] for name in keys)} name {len(keys)} keys; give one")
    for name in keys:
        signer = signer or name
        if signer != name:
            raise click.UsageError(f"{_KEY_FLAGS[name]} goes with --timestamp-signer {name}, not {signer}")
    for flag in ("--tink-key-resource", "--tink-hcvault-token"):
        if signer not in {None, "tink"} and parameters.get(_parameter(flag)):
            raise click.UsageError(f"{flag} goes with --timestamp-signer tink, not {signer}")
    if signer is None or signer == "memory":
        return f"{signer}:" if signer else None
    if signer not in keys:
        raise click.UsageError(f"--timestamp-signer {signer} needs {_KEY_FLAGS[signer]}")
    return str(keys[signer]) if signer == "kms" else f"{signer}:{quote(str(keys[signer].absolute()))}"


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *tables, key = path.split(".")
    for table in tables:
        values = values.setdefault(table, {})
    values[key] = value
