"""The steps of a renewal: what signs now, the next key, its certificate, and the change to both in tsa.toml.

Until tsa.toml is replaced, in one step, nothing that a server reads has changed: whenever this ends early, the
configuration on the disk names a key and a chain that belong together.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import tomlkit
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID
from pydantic import TypeAdapter, ValidationError
from tomlkit.exceptions import TOMLKitError

from tsa_core.api import ConfigError, PublicKey, Secret, Signer, TsaError, UnavailableError
from tsa_core.api.fields import relative_to
from tsa_core.api.setting_errors import setting_error
from tsa_core.authority import issuing_period
from tsa_core.authority.validity import ended_earlier
from tsa_core.certs import CertificateChain, Publication, load_chain, new_key, order_chain
from tsa_core.certs.hierarchy import Names, chain_under
from tsa_core.certs.issuing import issue_request
from tsa_core.certs.templates import tsa_extensions
from tsa_core.cli.init_files import refuse_what_fails, secret_manifest
from tsa_core.cli.maker_keys import key_file
from tsa_core.cli.output_file import write_file
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.config import Settings
from tsa_core.conformance.chains import ChainCase, judge
from tsa_core.conformance.profiles import Conformance
from tsa_core.conformance.rule import Case
from tsa_core.protocol.signatures import public_key_info
from tsa_core.service.material import read_chains, store_chain

SECRET_FILES = ("secret.yaml", "kubernetes/secret.yaml")
"""What `init` writes for Kubernetes, beside tsa.toml."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other renewals out of a folder meanwhile; raises UnavailableError when there is one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UnavailableError("another renewal is at work here; wait for it", path=str(folder)) from None
    finally:
        os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class Present:
    """What a profile of a configuration file signs with now. `signer` and `chain_name` are as the file has them."""

    config: Path
    profile: str
    settings: Settings
    signer: str
    chain_name: str
    chain: CertificateChain

    @property
    def folder(self) -> Path:
        """Where relative paths begin."""
        return self.config.parent

    @property
    def key_name(self) -> str | None:
        """The key's file, as the configuration has it; None for a key elsewhere."""
        path = key_file(self.signer)
        if path is None:
            return None
        return path or str(self.settings.signer.get("file", {}).get("path", "")) or None

    def ends(self) -> datetime:
        """Return when the key may sign no more, by its certificates or by what the profile conforms to."""
        settings, now = self.settings.profiles[self.profile], datetime.now(UTC)
        try:
            period = issuing_period(self.chain.certificates, until=settings.issue_until)
        except ValueError as error:
            raise ConfigError(f"the TSA's certificate: {error}", path=str(self.folder / self.chain_name)) from None
        case = Case(at=now, chain_case=ChainCase(certificates=self.chain.certificates, at=now))
        return ended_earlier(period, Conformance(settings.conformance, case).ends).not_after


def read_present(config: Path, profile: str, settings: Settings) -> Present:
    """Return what the file says; raises ConfigError for a profile that it does not set up alone."""
    table = _document(config).get("profiles", {}).get(profile)
    if table is None or "signer" not in table or "certificate_chain" not in table:
        raise ConfigError(
            f"the profile {profile!r} has no signer and certificate_chain in this file; renew changes these two lines",
            path=str(config),
        )
    if settings.profiles[profile].signer != table["signer"]:
        raise ConfigError(
            "a variable or a flag names another signer than this file; take it away, or change it yourself",
            path=str(config),
        )
    name = str(table["certificate_chain"])
    return Present(
        config=config,
        profile=profile,
        settings=settings,
        signer=str(table["signer"]),
        chain_name=name,
        chain=load_chain(config.parent / name),
    )


def _document(config: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", path=str(config)) from None
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file is not TOML: {error}", path=str(config)) from None


# -- the next key ---------------------------------------------------------------------------------------------------


def make_key(present: Present, kind: str | None, *, signer: Signer) -> str:
    """Make the next key's file, encrypted with the present one's password, and return its key URI."""
    name = present.key_name
    if name is None:
        scheme = present.signer.partition(":")[0]
        raise ConfigError(
            f"the key is {scheme}'s: make the next one there, then name it with --key URI (the same URI, if it now "
            "leads to a newer version)"
        )
    old = present.folder / name
    key = new_key(kind or _kind(signer))
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _encryption(present))
    new = next_name(old)
    _write_like(old, new, data)
    return f"file:{Path(name).with_name(new.name)}"


def next_name(path: Path) -> Path:
    """Return the next name that is free: tsa.key, tsa-2.key, tsa-3.key."""
    stem, number = _numbered(path)
    number += 1
    while (found := path.with_name(f"{stem}-{number}{path.suffix}")).exists() or found == path:
        number += 1
    return found


def _kind(signer: Signer) -> str:
    key = signer.public_key
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ecdsa-p{key.curve.key_size}"
    if isinstance(key, rsa.RSAPublicKey):
        return next((f"rsa-{size}" for size in (2048, 3072, 4096) if size >= key.key_size), "rsa-4096")
    return signer.algorithm.name


def _encryption(present: Present) -> KeySerializationEncryption:
    profile = present.settings.profiles[present.profile]
    table = {**present.settings.signer.get("file", {}), **profile.signer_options}
    if (password := table.get("password")) is None:
        return NoEncryption()
    try:
        with relative_to(present.settings.base_directory):
            secret = TypeAdapter(Secret).validate_python(password)
    except ValidationError as error:
        raise ConfigError(setting_error(error.errors(include_input=False)[0]), path="signer.file.password") from None
    return BestAvailableEncryption(secret.get_secret_value().encode())


def _write_like(old: Path, new: Path, data: bytes) -> None:
    """Write a file with the mode of another, and its owner where that can be given."""
    status = old.stat()
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    write_file(new, data, mode=stat.S_IMODE(status.st_mode), owner=owner)


def open_own(
    present: Present, opener: KeyOpener, uri: str, *, option: str, certified_key: bytes | None = None
) -> Signer:
    """Open a key of the authority's own, with the settings that the server has for it and no issuer's."""
    scheme = uri.partition(":")[0].lower()
    profile = present.settings.profiles[present.profile]
    table = {**present.settings.signer.get(scheme, {}), **profile.signer_options}
    return opener.signer(uri, option=option, table=table, certified_key=certified_key)


def waiting_keys(present: Present, opener: KeyOpener) -> dict[str, PublicKey]:
    """Return the keys beside the present one that were made after it, by their URIs."""
    if (name := present.key_name) is None:
        return {}
    old = present.folder / name
    stem, number = _numbered(old)
    paths = [path for path in sorted(old.parent.iterdir()) if path.suffix == old.suffix]
    later = [path for path in paths if _numbered(path)[0] == stem and _numbered(path)[1] > number]
    uris = [f"file:{Path(name).with_name(path.name)}" for path in later]
    return {uri: open_own(present, opener, uri, option="--chain-in").public_key for uri in uris}


def _numbered(path: Path) -> tuple[str, int]:
    """Return the stem without its number, and the number: 1 for the first, which has none."""
    found = re.fullmatch(r"(.*?)(?:-([0-9]{1,9}))?", path.stem)
    assert found is not None  # noqa: S101 - every text has this form
    return found[1], int(found[2] or 1)


# -- its certificate ------------------------------------------------------------------------------------------------


def next_chain(
    like: Sequence[x509.Certificate],
    parents: Sequence[x509.Certificate],
    parent: Signer,
    public_key: PublicKey,
    *,
    common_name: str | None = None,
) -> CertificateChain:
    """Return a chain for a key whose certificate says what the first one of `like` says, and is valid as long."""
    leaf = like[0]
    if public_key_info(public_key) == leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise ConfigError("the next key is the one that signs now")
    return chain_under(
        parents,
        parent,
        public_key,
        Names(organization=None, tsa_subject=_subject(leaf, common_name)),
        length=leaf.not_valid_after_utc - leaf.not_valid_before_utc,
        key_use=_key_use(leaf),
        publication=Publication.of_certificate(leaf),
    )


def next_request(present: Present, signer: Signer, *, common_name: str | None = None) -> bytes:
    """Return a certification request for the next key, PEM, with the name of the present certificate."""
    request = issue_request(
        subject=_subject(present.chain.leaf, common_name),
        signer=signer,
        extensions=tsa_extensions(signer.public_key, None),
    )
    return request.public_bytes(Encoding.PEM)


def collected_chain(
    found: Sequence[x509.Certificate], keys: dict[str, PublicKey], *, where: Path
) -> tuple[str, CertificateChain]:
    """Return the chain out of certificates that a CA issued, and the URI of the key that it is for."""
    certified = {
        certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for certificate in found
    }
    for uri, key in keys.items():
        if public_key_info(key) in certified:
            return uri, order_chain(found, key)
    raise ConfigError(
        f"no certificate in it is for one of the keys that wait: {', '.join(keys) or 'none'}; was the request made by "
        "renew --csr-out here?",
        path=str(where),
    )


def check(present: Present, chain: CertificateChain, signer: Signer, profiles: Sequence[str]) -> None:
    """Raise TsaError when no server could issue with this chain and key, or a rule of check-chain is broken.

    The rules are those of `profiles`, and those of the standards that the settings let the server enforce.
    """
    signature = signer.sign(b"trial", timeout=30)
    if not signer.algorithm.is_valid(signer.public_key, signature, b"trial"):
        raise ConfigError("a trial signature of the next key does not verify")
    settings, now = present.settings.profiles[present.profile], datetime.now(UTC)
    case = ChainCase(
        certificates=chain.certificates,
        at=now,
        public_key=signer.public_key,
        algorithm=signer.algorithm,
        fraction_digits=[settings.fraction_digits],
    )
    refuse_what_fails(judge(case, profiles))
    if broken := Conformance(settings.conformance, Case(at=now, chain_case=case)).broken:
        raise TsaError("\n".join(finding.line(present.profile) for finding in broken))


def _subject(leaf: x509.Certificate, common_name: str | None) -> x509.Name:
    if common_name is None:
        return leaf.subject
    others = [attribute for attribute in leaf.subject if attribute.oid != NameOID.COMMON_NAME]
    return x509.Name([*others, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_use(leaf: x509.Certificate) -> timedelta | None:
    try:
        period = leaf.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value
    except x509.ExtensionNotFound:
        return None
    if period.not_after is None:
        return None
    return period.not_after - (period.not_before or leaf.not_valid_before_utc.replace(tzinfo=None))


# -- the change -----------------------------------------------------------------------------------------------------


def write_chain(present: Present, chain: CertificateChain) -> str:
    """Write the next chain beside the present one and return its name as the configuration will have it."""
    old = present.folder / present.chain_name
    new = next_name(old)
    _write_like(old, new, chain.pem())
    return str(Path(present.chain_name).with_name(new.name))


def remember(present: Present) -> None:
    """Store the present chain among the former ones, if the server has a directory for them and has not done so."""
    directory = present.settings.server.state_directory
    if directory is None or not directory.is_dir():
        return
    place = directory / "chains" / present.profile
    if present.chain.pem() in read_chains(place):
        return
    store_chain(place, present.chain.pem())
    if os.geteuid() == 0:
        owner = directory.stat()
        for path in (place.parent, place, *place.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)


def change(present: Present, signer: str, chain_name: str) -> bytes:
    """Let the configuration name the next key and chain, in one step; return its former content."""
    former = present.config.read_bytes()
    document = _document(present.config)
    profiles: Any = document["profiles"]
    profiles[present.profile]["signer"] = signer
    profiles[present.profile]["certificate_chain"] = chain_name
    _rewrite(present.config, tomlkit.dumps(document).encode())
    return former


def _rewrite(path: Path, data: bytes) -> None:
    """Replace a file in one step; a link stays, and what it leads to is replaced."""
    whole = path.resolve()
    _write_like(whole, whole, data)


def change_back(present: Present, former: bytes) -> None:
    """Let the configuration be as it was."""
    _rewrite(present.config, former)


def renew_secrets(present: Present, signer: str, chain: CertificateChain) -> list[Path]:
    """Write the Kubernetes Secrets that `init` made anew, with the next key and chain; return their files."""
    renewed = replace(present, signer=signer)
    written = []
    for path in (present.folder / name for name in SECRET_FILES):
        if not path.is_file():
            continue
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries: dict[str, str] = manifest["stringData"]
        for name in entries:
            if name.startswith("chain"):
                entries[name] = chain.pem().decode()
            elif name in {"private", "key.pem"} and renewed.key_name:
                entries[name] = (present.folder / renewed.key_name).read_text(encoding="utf-8")
        _rewrite(path, secret_manifest(manifest["metadata"]["name"], entries).encode())
        written.append(path)
    return written
