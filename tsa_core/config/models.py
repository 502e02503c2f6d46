"""The models of the core's settings, but for the sections that select plugins. Unknown keys are errors."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ByteSize, Field, WrapValidator, field_validator, model_validator

from tsa_core.api.fields import ConfigPath, Duration, Oid, TextList, split_text
from tsa_core.config.accuracy import AccuracySettings
from tsa_core.config.cores import OnePerCore, has_spare_cpu, one_per_core
from tsa_core.config.networks import Networks
from tsa_core.config.sections import PluginTable, Table, refuse_twice
from tsa_core.protocol import oids
from tsa_core.protocol.hashes import DEFAULT_IMPRINT_HASHES, hash_by_name

DEFAULT_POLICY = oids.SIGSTORE_TIMESTAMP_POLICY
"""The Sigstore Timestamp Authority's policy, so that its users need not change anything."""
_OWN_PATHS = ("/api/", "/tsa/", "/ping", "/healthz", "/readyz", "/docs", "/openapi.json", "/swagger.json")
_HEADERS_OF_HTTP = frozenset(
    {
        "accept",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "host",
        "keep-alive",
        "retry-after",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "www-authenticate",
    }
)
_OF_SCHEME = {
    **dict.fromkeys(("tls_certificate", "tls_key", "tls_ca"), "https"),
    **dict.fromkeys(("tls_host", "tls_port", "tls_read_timeout", "tls_write_timeout"), "https"),
    **dict.fromkeys(("tls_keep_alive", "tls_connection_limit"), "https"),
    **dict.fromkeys(("socket_path", "socket_mode"), "unix"),
}
"""Settings of one scheme; `host` and `port` are left out, because container images and platforms set them for all."""


class ServerSettings(Table):
    """`[server]`: the HTTP server."""

    schemes: Annotated[list[Literal["http", "https", "unix"]], BeforeValidator(split_text)] = Field(
        default=["http"], min_length=1, description="what is served: http, https, unix, or several of them"
    )
    host: TextList = Field(
        default=["127.0.0.1"],
        min_length=1,
        description="address or name to listen on, or a list of them; :: stands for all addresses, IPv4 among them",
    )
    port: int = Field(3000, ge=0, le=65535, description="TCP port; 0 takes any free one and prints it")
    socket_path: ConfigPath | None = Field(None, description="Unix socket of the scheme unix")
    socket_mode: str = Field("0660", pattern=r"^0?[0-7]{3}$", description="permissions of the Unix socket, octal")
    tls_host: TextList | None = Field(
        None, min_length=1, description="address of the scheme https, or a list of them; as host unless given"
    )
    tls_port: int = Field(3443, ge=0, le=65535, description="TCP port of the scheme https; 0 takes any free one")
    tls_certificate: ConfigPath | None = Field(None, description="PEM file: the HTTPS certificate and its chain")
    tls_key: ConfigPath | None = Field(None, description="PEM file: the HTTPS certificate's private key")
    tls_ca: ConfigPath | None = Field(
        None, description="PEM file: clients must show a certificate that one of these CAs has issued"
    )
    tls_read_timeout: Duration | None = Field(
        None, description="time for a request to arrive over TLS; as read_timeout unless given"
    )
    tls_write_timeout: Duration | None = Field(
        None, description="time for a reply to be sent over TLS; as write_timeout unless given"
    )
    tls_keep_alive: Duration | None = Field(
        None, description="probes idle TLS clients this often, by TCP; as tcp_keep_alive unless given"
    )
    tls_connection_limit: int | None = Field(
        None, ge=0, le=1_000_000, description="TLS connections open at once; as connection_limit unless given"
    )
    http_ping_only: bool = Field(False, description="without TLS, answer nothing but /ping")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?$",
        description="this server's address as clients see it, for its web pages; else what a browser asked for",
    )
    trial_key: bool = Field(
        True,
        description="without any configuration of a signer, sign with a key that is made at start; the container image "
        "sets false",
    )
    profiling: bool = Field(False, description="sampling profiles of each process on request, on loopback")
    profiling_port: int = Field(6060, ge=0, le=65535, description="TCP port of the profiling listener")
    core_dumps: bool = Field(
        False,
        description="let core dumps and debuggers (gdb, py-spy) have this process's memory, which holds keys",
    )
    rejections: Literal["rfc3161", "sigstore"] = Field(
        "rfc3161",
        description="rfc3161: a refused DER request gets HTTP 200 and a rejection with failInfo; "
        "sigstore: HTTP 400 and JSON, as the Sigstore Timestamp Authority answers",
    )
    use_http_201: bool = Field(False, description="answer granted requests with 201; breaks several clients")
    max_request_body_size: int = Field(65_536, ge=0, description="bytes; larger bodies get 413; 0: no limit")
    max_header_size: ByteSize = Field(
        ByteSize(16_384), ge=8192, le=16 * 1024 * 1024, description="bytes of a request's head; longer ones are refused"
    )
    engine: Literal["waitress", "granian"] = Field(
        "waitress",
        description="HTTP server without TLS; https is granian's with either, but waitress's with tls_ca and guards",
    )
    http2: bool | None = Field(
        None,
        description="HTTP/2 beside HTTP/1.1; not given: over TLS; true: without TLS too, where granian listens; "
        "false: nowhere",
    )
    workers: Annotated[int, WrapValidator(one_per_core)] = Field(
        1, ge=1, le=256, description="processes that answer requests on the same addresses; auto: one for each CPU"
    )
    worker_timeout: Duration = Field(
        timedelta(seconds=30),
        description="with several workers: one whose loop has not run for so long is killed and replaced; 0: never",
    )
    pin_workers: bool = Field(True, description="with granian and keys in memory, keep each worker on a CPU of its own")
    second_thread: bool = Field(
        True,
        description="with slow keys in memory (P-384, RSA, ML-DSA) and fewer workers than CPUs, a second thread of "
        "each worker makes half of its signatures",
    )
    threads: int = Field(
        64,
        ge=1,
        le=1024,
        description="threads of each profile whose signer waits for a backend, which bounds its signatures in "
        "progress; with keys in memory requests run on the I/O thread",
    )
    queue_limit: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="requests of a profile that may wait for its threads; more are refused with systemFailure",
    )
    queue_timeout: Duration = Field(
        timedelta(seconds=5),
        description="a request that waited longer than this for a thread is refused with systemFailure",
    )
    connection_limit: int = Field(
        1000, ge=0, le=1_000_000, description="connections open at once; 0: as many as the system allows"
    )
    connection_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="the part of connection_limit that one address (IPv6: one /64 network) may hold; 1: no such limit",
    )
    trusted_proxies: Networks = Field(
        default=[],
        description="reverse proxies, which may hold more connections than connection_share allows; nothing else is "
        "believed of them",
    )
    read_timeout: Duration = Field(timedelta(seconds=30), description="time for a request to arrive; 0: no limit")
    write_timeout: Duration = Field(timedelta(seconds=30), description="time for a reply to be sent; 0: no limit")
    idle_timeout: Duration = Field(
        timedelta(seconds=620),
        description="closes connections that are idle this long; must be longer than a load balancer keeps them",
    )
    tcp_keep_alive: Duration = Field(
        timedelta(minutes=3), description="probes idle clients this often, by TCP; 0: never"
    )
    start: Literal["fail", "wait"] = Field(
        "fail",
        description="fail: what cannot be had at the start, such as a signer's backend or a port, ends it with exit "
        "code 75; wait: the server starts unready, refuses requests and tries again",
    )
    open_timeout: Duration = Field(
        timedelta(seconds=30),
        gt=timedelta(0),
        description="time for each plugin to be imported and to open, at start and at a reload",
    )
    graceful_timeout: Duration = Field(timedelta(seconds=15), description="time for requests in flight after SIGTERM")
    request_id_header: str = Field(
        "X-Request-Id", pattern=r"^[A-Za-z0-9-]{1,64}$", description="header that carries the request id"
    )
    watch: bool = Field(False, description="reload when the configuration, a chain or a key file has changed")
    pid_file: ConfigPath | None = Field(
        None, description="file that gets the server's process id; timestamp-server reload finds it there"
    )
    state_directory: ConfigPath | None = Field(
        None,
        description="directory that remembers earlier certificate chains across restarts, and the audit trail's head",
    )

    @field_validator("request_id_header")
    @classmethod
    def _header_has_no_other_meaning(cls, name: str) -> str:
        if name.lower() in _HEADERS_OF_HTTP:
            raise ValueError(f"{name} has a meaning in HTTP already; choose another name, X-Request-Id for example")
        return name

    @model_validator(mode="after")
    def _each_scheme_has_what_it_needs(self) -> Self:
        if "unix" in self.schemes and self.socket_path is None:
            raise ValueError("schemes has unix, which needs socket_path (--socket-path FILE)")
        if "https" in self.schemes and (self.tls_certificate is None or self.tls_key is None):
            raise ValueError(
                "schemes has https, which needs tls_certificate and tls_key (--tls-certificate FILE, --tls-key FILE)"
            )
        refuse_twice("schemes", self.schemes)
        refuse_twice("host", self.host)
        refuse_twice("tls_host", self.tls_host or ())
        for name, scheme in _OF_SCHEME.items():
            if scheme not in self.schemes and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect without the scheme {scheme} (--scheme {scheme})")
        if not self.profiling and self.profiling_port != type(self).model_fields["profiling_port"].default:
            raise ValueError("profiling_port has no effect without profiling = true (--enable-pprof)")
        if self.http_ping_only and "https" not in self.schemes:
            raise ValueError(
                "http_ping_only leaves nothing that issues timestamps without the scheme https (--scheme https)"
            )
        one_given = self.workers == 1 and not isinstance(self.workers, OnePerCore)
        if one_given and self.worker_timeout != type(self).model_fields["worker_timeout"].default:
            raise ValueError(
                "worker_timeout has no effect with one process, which has no parent: ask for more (workers), or let "
                "the service manager watch it (systemd's WatchdogSec=)"
            )
        if self.http2 and self.engine == "waitress" and "https" not in self.schemes:
            raise ValueError(
                "http2 needs granian, because waitress speaks HTTP/1.1 only: serve https (--scheme https), or plain "
                "HTTP with --server granian"
            )
        return self

    @property
    def spare_cpu(self) -> bool:
        """Whether a second thread of each worker may sign."""
        return self.second_thread and has_spare_cpu(self.workers)

    def over_tls(self) -> ServerSettings:
        """Return the settings that hold for connections with TLS: its own limits, and HTTP/2 unless it is off."""
        limits = {
            "read_timeout": self.tls_read_timeout,
            "write_timeout": self.tls_write_timeout,
            "tcp_keep_alive": self.tls_keep_alive,
            "connection_limit": self.tls_connection_limit,
        }
        given = {name: limit for name, limit in limits.items() if limit is not None}
        return self.model_copy(update={**given, "http2": self.http2 is not False})


class ProfileSettings(AccuracySettings):
    """`[profiles.NAME]`: one TSA identity."""

    signer: str = Field(min_length=1, description="key URI; its scheme names the signer plugin", repr=False)
    signer_options: PluginTable = Field(
        default_factory=dict,
        repr=False,
        description="settings of the signer for this profile alone, over those of [signer.NAME]",
    )
    signer_hash: Literal["sha256", "sha384", "sha512"] | None = Field(
        None, description="digest of the signature; follows the key unless given"
    )
    rsa_pss: bool = Field(False, description="sign with RSA-PSS; openssl ts and other clients cannot verify it")
    signer_timeout: Duration = Field(timedelta(seconds=5), gt=timedelta(0), description="time for one signature")
    verify_signatures: bool | None = Field(
        None,
        description="verify every signature before it is sent; unless given, all but those of keys in memory",
    )
    certificate_chain: ConfigPath | None = Field(
        None, description="PEM file with the TSA certificate, intermediates and root, in that order"
    )
    issue_until: Literal["key-usage", "certificate"] = Field(
        "key-usage",
        description="last time of tokens: key-usage: the end of the certificates or of the TSA certificate's private "
        "key usage period, whichever comes first; certificate: the end of the certificates alone",
    )
    enforce_intermediate_eku: bool = Field(True, description="intermediates must list timeStamping")
    policies: Annotated[list[Oid], BeforeValidator(split_text)] = Field(
        default=[DEFAULT_POLICY], min_length=1, description="accepted policy OIDs; the first is the default"
    )
    ordering: bool = Field(False, description="issue strictly increasing times and say so in the token")
    hashes: TextList = Field(default=list(DEFAULT_IMPRINT_HASHES), min_length=1, description="accepted imprint hashes")
    accept_sha1: bool = Field(False, description="accept SHA-1 imprints, for old clients that cannot do better")
    include_chain: Literal["none", "leaf", "intermediates", "full"] = Field(
        "intermediates",
        description="certificates in a token when certReq asks for them; none breaks RFC 3161 2.4.1 to save space",
    )
    paths: TextList = Field(default=[], description="further paths at which this profile answers POST")
    tsa_name: bool = Field(True, description="write the TSA's name into the token")
    conformance: Annotated[list[Literal["etsi", "csbr", "sigstore"]], BeforeValidator(split_text)] = Field(
        default=[],
        description="standards whose demands are enforced at start, at a reload and for each token: etsi (EN 319 421 "
        "and 422), csbr (CA/Browser Forum code signing), sigstore; a list of them",
    )
    qualified: bool = Field(
        False, description='mark tokens as qualified timestamps (EN 319 422 9.1); needs conformance = ["etsi"]'
    )
    algorithm_protection: bool = Field(False, description="add the cms-algorithm-protection attribute (RFC 6211)")
    allow_custom_extensions: bool = Field(False, description="copy the request's extensions into the token")

    @field_validator("hashes")
    @classmethod
    def _known_hashes(cls, names: list[str]) -> list[str]:
        result = []
        for name in names:
            try:
                algorithm = hash_by_name(name)
            except KeyError:
                raise ValueError(f"{name!r} is not a hash; choose among {', '.join(DEFAULT_IMPRINT_HASHES)}") from None
            if algorithm.weak:
                hint = "; accept_sha1 = true accepts it for this profile" if algorithm.name == "sha1" else ""
                raise ValueError(f"{algorithm.name} is too weak to be timestamped{hint}")
            result.append(algorithm.name)
        refuse_twice("hashes", result)
        return result

    @field_validator("paths")
    @classmethod
    def _usable_paths(cls, paths: list[str]) -> list[str]:
        for path in paths:
            if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path) or path.startswith(_OWN_PATHS):
                raise ValueError(f"{path!r} cannot be a path; write /like/this, and not below {', '.join(_OWN_PATHS)}")
        refuse_twice("paths", paths)
        return paths

    @field_validator("policies")
    @classmethod
    def _policies_once(cls, policies: list[str]) -> list[str]:
        refuse_twice("policies", policies)
        return policies

    @model_validator(mode="after")
    def _ordering_needs_fractions(self) -> Self:
        if self.ordering and self.fraction_digits < 3:
            raise ValueError(
                "ordering = true needs fraction_digits = 3 or more: "
                "with fewer, tokens would have to wait for each other"
            )
        return self

    @model_validator(mode="after")
    def _conforms(self) -> Self:
        for name in self.conformance:
            if self.conformance.count(name) > 1:
                raise ValueError(f"conformance lists {name!r} twice")
        if self.qualified and "etsi" not in self.conformance:
            raise ValueError(
                'qualified = true needs conformance = ["etsi"], because a qualified timestamp must follow EN 319 421 '
                "and EN 319 422"
            )
        return self

    @property
    def scheme(self) -> str:
        """The scheme of the key URI, which is the signer plugin's name."""
        return self.signer.partition(":")[0].lower()
