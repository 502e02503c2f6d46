"""What a plugin registers: typed descriptions that cost nothing until one of them is selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from tsa_core.api.fields import SettingsTable
from tsa_core.protocol.encodings import Encoding, PublicFormat
from tsa_core.protocol.signatures import PublicKey

if TYPE_CHECKING:
    import click

    from tsa_core.api.trail import Trail

T = TypeVar("T", covariant=True)  # noqa: PLC0105 - one letter, as typing's own generics have


class PluginOptions(SettingsTable):
    """Base of a plugin's settings: unknown keys are errors, values do not change.

    Give every field a `Field(description=...)`: `timestamp-server plugins show NAME` prints it.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True, defer_build=True
    )


class SignerOptions(PluginOptions):
    """Base of a signer plugin's settings.

    The four fields here are filled in by the profile that selects the signer; the `[signer.NAME]` table cannot
    set them.
    """

    uri: str = Field("", repr=False)
    """The profile's key URI as written, `awskms:///alias/tsa` for example; some kinds may hold a PIN."""
    signature_digest: Literal["sha256", "sha384", "sha512"] | None = None
    """The digest that the operator demands; None: it follows the key."""
    rsa_pss: bool = False
    """Sign with RSA-PSS instead of PKCS #1 v1.5."""
    certified_key: bytes | None = Field(None, repr=False)
    """The SubjectPublicKeyInfo, DER, that the profile's certificate certifies; None where there is none yet."""

    def is_certified(self, public_key: PublicKey) -> bool:
        """Whether the profile's certificate certifies this key; any key is where there is no certificate yet.

        For a URI that may name several keys, such as the versions of one: the signer takes the one that is certified.
        """
        if self.certified_key is None:
            return True
        return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == self.certified_key


class CertificateAuthorityOptions(PluginOptions):
    """Base of the settings of a certificate authority's plugin; `[certificate_authority.NAME]` cannot set its field."""

    uri: str = Field("", repr=False)
    """What `fetch-tsa-certs --parent-ca` was told, `gcp:projects/P/locations/L/caPools/POOL` for example."""


class KekOptions(PluginOptions):
    """Base of the settings of a key encryption key; they stand in a table of the plugin that uses the key.

    The three fields here are filled in by the core; no settings table can set them.
    """

    uri: str = Field("", repr=False)
    """The key's URI as written, `aws-kms://arn:aws:kms:...` for example."""
    uri_setting: str = ""
    """The setting that the URI stands in, for messages."""
    settings_prefix: str = ""
    """What stands before the settings' names in the configuration file, for messages."""

    def setting(self, name: str) -> str:
        """Return the full name of a setting of this table: the `path` of a ConfigError about it."""
        return f"{self.settings_prefix}{name}"


class NoOptions(PluginOptions):
    """For a provider without settings."""


def fields_of_the_core(options: type[BaseModel]) -> frozenset[str]:
    """Return the fields that the core fills in, which no settings table can set and no listing shows."""
    for base in (SignerOptions, CertificateAuthorityOptions, KekOptions):
        if issubclass(options, base):
            return frozenset(base.model_fields)
    return frozenset()


@dataclass(frozen=True, kw_only=True)
class Provider(Generic[T]):
    """One thing that a plugin can provide.

    `name` is what the configuration selects it by and equals the entry point's name; for a signer and for a key
    encryption key it is the scheme of the key URI. `summary` is one line for people. `options` is the model of the
    plugin's own settings table. `open` is called once, in the serving process, with validated options; SDKs are
    imported there and nowhere earlier. It may raise ConfigError, and for signers SignerError.
    """

    name: str
    summary: str
    options: type[PluginOptions] = NoOptions
    open: Callable[..., T]
    open_for_check: Callable[..., T] | None = None
    """Called by `timestamp-server check` in place of `open`, for a provider whose `open` changes something on a disk.

    What it returns changes nothing, is asked for its `health` and its facts, and is given no request or record. It
    raises what `open` would raise. None: `open` itself changes nothing."""
    uses_keks: bool = False
    """Whether `open` also gets the keyword argument `open_kek`, an OpenKek, by which it reaches other plugins' KEKs."""
    fork_safe: bool = False
    """Whether what `open` returns also works in processes forked afterwards: no connections, no threads. The server
    then opens it once and its workers share it; otherwise each worker opens its own."""
    keep_on_reload: bool | None = None
    """Whether a reload keeps what is open when its settings are the same, instead of opening it again. None leaves it
    to the kind: signers and policy selectors are opened again, because key files, key versions and profiles change
    without their settings; everything else is kept. True is for a key that exists only once, made at start."""
    make_key: Callable[..., str] | None = None
    """Of a signer: makes a key. Called by `timestamp-server keys ceremony` as `make_key(options, kind)`, where
    `options.uri` names a key that is not there yet and `kind` is one of `tsa_core.api.KEY_KINDS`. The private key must
    not leave the backend, where it has one. Returns the URI by which `open` finds the key, with all that `options.uri`
    has. Raises ConfigError for a kind that the backend does not have and for a name that is taken, and what `open`
    raises. None: keys are made with other tools."""
    open_trail: Callable[..., Trail] | None = None
    """Of an audit sink: returns its trail, for `timestamp-server audit` and for anchoring, from the sink's own options.
    It changes nothing, and may be called while servers write. None: the sink's records cannot be read back."""
    trail_of_files: Callable[[Sequence[Path], bytes | None], Trail] | None = None
    """Of an audit sink that stores files: returns the trail of files that are named, with the key of their chain."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """An extra subcommand of timestamp-server, `timestamp-server NAME ...`.

    `load` returns the click command; it is called only when the command is used. `name` equals the entry point's. With
    `@click.pass_obj` the command gets an OpenKek, by which it reaches other plugins' key encryption keys.
    """

    name: str
    summary: str
    load: Callable[[], click.Command]
