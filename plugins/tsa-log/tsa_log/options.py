"""The settings of `[audit.tokenlog]`, `[routes.log]` and `[routes.witness]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from tsa_core.api import ConfigError, ConfigPath, Duration, PluginOptions, Secret
from tsa_core.api.transparency import EncodingError, parse_verifier_key

_WAIT: Final = "audit.tokenlog.wait"
_ORIGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]*(?:/[A-Za-z0-9._~-]+)*", re.ASCII)
STORAGE: Final = "audit.tokenlog.storage"
_URL: Final = re.compile(
    r"(?P<scheme>s3|gs)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/"
    r"(?P<prefix>[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)",
    re.ASCII,
)


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise ValueError("write the log's address without scheme and port, log.example.com/tsa for example")
    return text


def _vkey(text: str) -> str:
    try:
        parse_verifier_key(text)
    except EncodingError as error:
        raise ValueError(str(error)) from None
    return text


def web_address(text: str) -> str:
    """Return an http or https address that a path can be added to; raises ValueError."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("write https://HOST/PATH, without user, query and fragment")
    return text


Origin = Annotated[str, AfterValidator(_origin)]
VerifierKeyText = Annotated[str, AfterValidator(_vkey)]


WebAddress = Annotated[str, AfterValidator(web_address)]


class WitnessOptions(PluginOptions):
    """One of `[[audit.tokenlog.witnesses]]`."""

    url: WebAddress | None = Field(
        None,
        description="the witness's submission prefix; checkpoints are posted to add-checkpoint below it. "
        "Without it an engine asks the witness",
    )
    key: VerifierKeyText = Field(description="its verifier key, NAME+HASH+KEY")


class BucketPlace(NamedTuple):
    """A prefix in a bucket; `scheme` is s3 or gs."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        """Return the setting."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}"


def _checked(url: str) -> str:
    bucket_place(url)
    return url.rstrip("/")


def bucket_place(url: str) -> BucketPlace:
    """Return what a setting names; raises ValueError."""
    found = _URL.fullmatch(url.rstrip("/"))
    if found is None:
        raise ValueError("write s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, with a prefix of this log alone")
    return BucketPlace(found["scheme"], found["bucket"], found["prefix"])


StorageUrl = Annotated[str, AfterValidator(_checked)]


class S3Options(PluginOptions):
    """`[audit.tokenlog.s3]`."""

    region: str | None = Field(None, description="region; else AWS_REGION, AWS_DEFAULT_REGION or the AWS profile's")
    profile: str | None = Field(None, description="profile in the AWS configuration files; else AWS_PROFILE")
    endpoint_url: WebAddress | None = Field(
        None, description="URL of another S3-compatible store; else AWS_ENDPOINT_URL_S3, else AWS itself"
    )


class GcsOptions(PluginOptions):
    """`[audit.tokenlog.gcs]`."""

    endpoint: WebAddress | None = Field(
        None, description="URL of another endpoint; with http:// no credentials are sent"
    )
    credentials_file: ConfigPath | None = Field(
        None, description="a service account's key file; else Application Default Credentials"
    )


class StorageOptions(PluginOptions):
    """The part of `[audit.tokenlog]` that says where the public files lie."""

    directory: ConfigPath = Field(
        description="a directory of this log alone: `private` in it is for the server, `public` for everybody"
    )
    storage: StorageUrl | None = Field(
        None, description="where the public files lie instead of `public`: s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
    )
    storage_timeout: Duration = Field(
        timedelta(seconds=10),
        description="how long one round of requests to the bucket may take, repeated ones included",
    )
    s3: S3Options | None = Field(None, description="how S3 is reached")
    gcs: GcsOptions | None = Field(None, description="how Google Cloud Storage is reached")

    @property
    def place(self) -> BucketPlace | None:
        """The bucket; None for the directory."""
        return None if self.storage is None else bucket_place(self.storage)

    @property
    def public(self) -> Path:
        """The directory of the public files, when no bucket holds them."""
        return self.directory / "public"

    @property
    def private(self) -> Path:
        """The directory of what only servers read."""
        return self.directory / "private"

    @model_validator(mode="after")
    def _bucket_settings_have_an_effect(self) -> StorageOptions:
        scheme = self.place.scheme if self.place else None
        needs = {
            "storage_timeout": (self.place is not None, "storage"),
            "s3": (scheme == "s3", 'storage = "s3://..."'),
            "gcs": (scheme == "gs", 'storage = "gs://..."'),
        }
        for name, (there, other) in needs.items():
            if not there and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect without {other}")
        return self


class TesseraOptions(PluginOptions):
    """`[audit.tokenlog.tessera]`."""

    url: WebAddress = Field(description="the personality; entries are posted to add below it")
    log_url: WebAddress | None = Field(
        None, description="where its checkpoint and tiles are read, when that is elsewhere than `url`"
    )
    log_key: VerifierKeyText = Field(description="the log's verifier key, by which the engine signs checkpoints")
    token: Secret | None = Field(None, description="sent to `url` as a bearer token")
    connections: int = Field(64, ge=1, le=512, description="how many entries are on their way at once")
    timeout: Duration = Field(
        timedelta(seconds=5), description="how long one round of posting may take, and one round of reading"
    )


class LogOptions(StorageOptions):
    """`[audit.tokenlog]`."""

    origin: Origin = Field(description="the log's name: its address without scheme, log.example.com/tsa")
    backend: Literal["files", "tessera"] = Field(
        "files",
        description="who keeps the log: this server in files, or an engine, which `[audit.tokenlog.tessera]` names",
    )
    tessera: TesseraOptions | None = Field(None, description="the engine, a Tessera personality")
    key: Secret | None = Field(
        None, description="the log's Ed25519 key, as `timestamp-server log keygen` writes it; an engine has its own"
    )
    post_quantum_key: Secret | None = Field(None, description="an ML-DSA-44 key that signs checkpoints too")
    interval: Duration = Field(timedelta(seconds=1), description="how often waiting entries are integrated")
    max_disorder: Duration = Field(
        timedelta(seconds=10),
        description="how far genTime may go back between entries; more stops the log, and no token leaves",
    )
    witnesses: tuple[WitnessOptions, ...] = Field((), description="who is asked to cosign each checkpoint")
    witness_threshold: int = Field(
        0, ge=0, description="how many witnesses must have cosigned a checkpoint before it is published"
    )
    witness_timeout: Duration = Field(timedelta(seconds=5), description="how long a round of witnesses may take")
    wait: dict[str, Literal["integrated", "witnessed"]] = Field(
        default_factory=dict,
        description="profiles whose tokens leave only when they are in the tree, or in a published checkpoint",
    )
    wait_timeout: Duration = Field(timedelta(seconds=4), description="how long such a token waits before it is refused")
    required: bool = Field(
        True, description="no token leaves, and /readyz is red, while the log has published nothing new for max_delay"
    )
    max_delay: Duration = Field(
        timedelta(seconds=30), description="how long an entry may wait for a published checkpoint"
    )

    @property
    def longest_step(self) -> timedelta:
        """How long one round of integrating and publishing may take."""
        engine = timedelta() if self.tessera is None else 2 * self.tessera.timeout
        bucket = timedelta() if self.place is None else 2 * self.storage_timeout
        return engine + bucket + self.witness_timeout

    @model_validator(mode="after")
    def _fits_the_backend(self) -> LogOptions:
        if (self.tessera is None) == (self.backend == "tessera"):
            raise ValueError('backend = "tessera" and a table tessera belong together')
        if self.tessera is None:
            if self.key is None:
                raise ValueError("key is missing: `timestamp-server log keygen` makes one")
            if any(witness.url is None for witness in self.witnesses):
                raise ValueError("a witness has no url: only an engine asks witnesses by itself")
            return self
        if self.storage is not None:
            raise ValueError('storage has no effect with backend = "tessera": the engine serves the log')
        for name in ("key", "post_quantum_key"):
            if getattr(self, name) is not None:
                raise ValueError(f'{name} has no effect with backend = "tessera": the engine signs the log')
        if (name := parse_verifier_key(self.tessera.log_key).name) != self.origin:
            raise ValueError(f"the log's key is of {name}, and the origin is {self.origin}; they must be the same")
        return self

    @model_validator(mode="after")
    def _each_has_an_effect(self) -> LogOptions:
        needs = {
            "wait_timeout": (bool(self.wait), "wait"),
            "witness_timeout": (any(witness.url for witness in self.witnesses), "witnesses that have a url"),
            "max_delay": (self.required, "required = true"),
        }
        for name, (there, other) in needs.items():
            if not there and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect without {other}")
        if "witnessed" in self.wait.values() and not self.witness_threshold:
            raise ValueError('wait = "witnessed" needs witnesses and a witness_threshold of 1 or more')
        return self

    def check_profiles(self, profiles: Iterable[str], timeout: timedelta) -> None:
        """Raise ConfigError for a profile that waits and does not exist, or that would wait longer than the core."""
        known = set(profiles)
        for name in self.wait:
            if name not in known:
                raise ConfigError(f"there is no profile {name!r}; there are: {', '.join(sorted(known))}", path=_WAIT)
        if self.wait and self.wait_timeout >= timeout:
            raise ConfigError(
                f"it must be shorter than [audit] sink_timeout, {timeout.total_seconds():g} s", path=f"{_WAIT}_timeout"
            )

    @model_validator(mode="after")
    def _threshold_can_be_met(self) -> LogOptions:
        if self.witness_threshold > len(self.witnesses):
            raise ValueError(
                f"witness_threshold is {self.witness_threshold}, and there are {len(self.witnesses)} witnesses"
            )
        if len({witness.key for witness in self.witnesses}) != len(self.witnesses):
            raise ValueError("a witness is listed twice")
        if self.witnesses and not self.witness_threshold:
            raise ValueError("with witnesses, say with witness_threshold how many of them must cosign")
        return self


class LogRoutesOptions(PluginOptions):
    """`[routes.log]`."""

    origin: Origin = Field(description="the log's name, as in `[audit.tokenlog]`; it is served below /log/ORIGIN")
    directory: ConfigPath = Field(description="the log's directory, as in `[audit.tokenlog]`")


class WitnessedLog(PluginOptions):
    """One of `[[routes.witness.logs]]`."""

    key: VerifierKeyText = Field(description="the log's verifier key; its name is the log's origin")


class WitnessRoutesOptions(PluginOptions):
    """`[routes.witness]`."""

    directory: ConfigPath = Field(description="where the last checkpoint of each log is kept")
    key: Secret = Field(description="the witness's cosigning key, as `timestamp-server witness keygen` writes it")
    logs: tuple[WitnessedLog, ...] = Field(min_length=1, description="the logs whose checkpoints are cosigned")
