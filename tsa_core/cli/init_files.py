"""The files of a new timestamp authority."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tsa_core.api import ConfigError, LocalKeySigner, PrivateKey, SignatureAlgorithm, Signer, TsaError
from tsa_core.authority.conforming import conform
from tsa_core.certs import CertificateChain, Issuer, Publication, new_key
from tsa_core.certs.hierarchy import (
    Names,
    Validity,
    intermediate_certificate,
    self_signed_root,
    tsa_certificate,
)
from tsa_core.cli.init_profiles import enforced
from tsa_core.cli.init_targets import TARGETS, TRUSTWORTHY_PODS, Target
from tsa_core.cli.output_file import write_file
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.config import DEFAULT_PROFILE, load_settings
from tsa_core.conformance.chains import ChainCase, Finding, Outcome, judge
from tsa_core.protocol.hashes import IMPRINT_HASHES
from tsa_core.service.surroundings import surroundings

_PASSWORD_OCTETS: Final = 24
_OFFLINE_CONFIGURATION: Final = """\
# For the machine that has this folder. The TSA's server makes its next key and a request for it:
#     timestamp-server renew --config tsa.toml --csr-out tsa.csr
# Here, the request becomes a certificate:
#     timestamp-server renew --offline . --csr-in tsa.csr --chain-out new-chain.pem
# The server takes key and certificate into use:
#     timestamp-server renew --config tsa.toml --chain-in new-chain.pem

[profiles.default]
signer = "file:intermediate.key"

[signer.file]
password = { file = "password" }
"""

_UNMONITORED: Final = (
    "# Without a monitor nobody notices a clock that is wrong. Install chrony, then:",
    "# [clock]",
    '# monitors = ["chrony"]',
)


@dataclass(frozen=True, kw_only=True)
class NewAuthority:
    """What is to be made.

    `key_uri` None makes a key in an encrypted file, with `password`, or with a random one that is written beside it.
    """

    directory: Path
    algorithm: str
    organization: str
    country: str | None
    common_name: str
    key_uri: str | None
    signer_settings: Mapping[str, str]
    password: str | None = field(repr=False)
    password_variable: str | None
    root_validity: timedelta
    intermediate_validity: timedelta
    tsa_validity: timedelta
    key_use: timedelta
    publication: Publication
    timestamp_policy: str | None
    public_url: str | None = None
    kubernetes_secret: str | None = None
    target: Target = TARGETS["here"]
    offline: Path | None = None
    profiles: Sequence[str] = ()

    @property
    def offline_directory(self) -> Path:
        """Where the CAs' keys go."""
        return self.offline or self.target.offline(self.directory)

    @property
    def conformance(self) -> Sequence[str]:
        """The standards that the server enforces."""
        return enforced(self.profiles)

    @property
    def needs_trust(self) -> bool:
        """Whether one of them demands a clock monitor and an audit trail."""
        return not {"etsi", "csbr"}.isdisjoint(self.conformance)

    @property
    def names(self) -> Names:
        """The names in the certificates."""
        return Names(
            organization=self.organization,
            country=self.country,
            root=f"{self.common_name} Root",
            intermediate=f"{self.common_name} Intermediate",
            tsa=self.common_name,
        )

    def configuration(self) -> str:
        """Return tsa.toml."""
        lines = [
            "# Made by `timestamp-server init`. For plugins' settings: timestamp-server plugins show NAME",
            "",
            "[server]",
            *self.target.settings(),
            *self._public_url(),
            "",
            *(self.target.trustworthy() if self.needs_trust else _UNMONITORED),
            "",
            *self._profile(self.key_uri or "file:tsa.key", "chain.pem"),
        ]
        return "\n".join([*lines, *self._signer_table()]) + "\n"

    def pods_configuration(self) -> str:
        """Return tsa.toml of the pods in deploy/kubernetes, which mount the Secret's files at /secrets."""
        lines = [
            "# Made by `timestamp-server init --for kubernetes`. Mounted at /etc/tsa; the secret's files at /secrets.",
            "",
            "[server]",
            'host = "0.0.0.0"',
            "port = 3000",
            'graceful_timeout = "15s"',
            'start = "wait" # a KMS that is down is waited for, unready; the readiness probe keeps clients away',
            "watch = true # a new secret is taken into use without a restart",
            *self._public_url(),
            "",
            "[metrics]",
            'host = "0.0.0.0"',
            "port = 2112",
            "",
            "[log]",
            'type = "prod"',
            "",
            *(TRUSTWORTHY_PODS if self.needs_trust else ()),
            *self._profile(self.key_uri or "file:/secrets/key.pem", "/secrets/chain.pem"),
        ]
        table = [line.replace('"tsa.password"', '"/secrets/key.password"') for line in self._signer_table()]
        return "\n".join([*lines, *table]) + "\n"

    def _public_url(self) -> list[str]:
        return [f"public_url = {_text(self.public_url)}  # as clients see it"] if self.public_url else []

    def _profile(self, uri: str, chain: str) -> list[str]:
        lines = ["[profiles.default]", f"signer = {_text(uri)}", f"certificate_chain = {_text(chain)}"]
        if self.timestamp_policy:
            lines.append(f"policies = [{_text(self.timestamp_policy)}]")
        if self.conformance:
            lines.append(f"conformance = [{', '.join(map(_text, self.conformance))}]")
        return lines

    def _signer_table(self) -> list[str]:
        scheme = (self.key_uri or "file:").partition(":")[0].lower()
        settings = {name: _text(value) for name, value in self.signer_settings.items()}
        if self.key_uri is None and self.password_variable:
            settings["password"] = f"{{ env = {_text(self.password_variable)} }}"
        elif self.key_uri is None:
            settings["password"] = '{ file = "tsa.password" }'  # noqa: S105 - where it is, not what
        return (
            ["", f"[signer.{scheme}]", *(f"{name} = {value}" for name, value in settings.items())] if settings else []
        )


def write_authority(authority: NewAuthority) -> list[tuple[Path, str]]:
    """Make keys, certificates and configuration, check them and return each file with what it is.

    What was written is removed again when something fails. Raises ConfigError, PluginError, SignerError, and TsaError
    for a chain that no server could issue with.
    """
    directory, offline = authority.directory, authority.offline_directory
    existed = directory.exists()
    made = [path for path in (directory, offline) if not path.exists()]
    for path in (directory, offline):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the directory cannot be made: {error.strerror}", path=str(path)) from None
    try:
        written = _write(authority)
        directory.chmod(authority.target.directory_mode)
        if owner := authority.target.owner():
            os.chown(directory, *owner)
    except BaseException:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
        if existed:
            _empty(directory)
        raise
    return written


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write(authority: NewAuthority) -> list[tuple[Path, str]]:
    directory, offline, target = authority.directory, authority.offline_directory, authority.target
    owner = target.owner()
    written: list[tuple[Path, str]] = []
    secret: dict[str, str] = {}

    def write(path: Path, data: bytes, meaning: str, *, mode: int = 0o600) -> None:
        write_file(path, data, mode=mode, owner=owner)
        written.append((path, meaning))

    def keep(path: Path, data: bytes, meaning: str, *, mode: int = 0o600) -> None:
        write_file(path, data, mode=mode)
        written.append((path, meaning))

    write(directory / "tsa.toml", authority.configuration().encode(), "configuration")
    if authority.key_uri is None:
        password = authority.password or secrets.token_urlsafe(_PASSWORD_OCTETS)
        key = _encrypted(new_key(authority.algorithm), password)
        write(directory / "tsa.key", key, "key of the TSA, encrypted")
        secret = {"private": key.decode(), "password": password}
        if authority.password_variable is None:
            write(directory / "tsa.password", f"{password}\n".encode(), "its password")
    # The key is read back as the server will read it, so that what is certified is what will sign.
    with KeyOpener(directory / "tsa.toml") as opener:
        signer = opener.signer(authority.key_uri or "file:tsa.key", option="--key")
        kind = _kind_of_the_authorities(signer.algorithm)
        root_key, intermediate_key = new_key(kind), new_key(kind)
        chain = _chain(authority, signer, root_key, intermediate_key)
        case = ChainCase(
            certificates=chain.certificates,
            at=datetime.now(UTC),
            public_key=signer.public_key,
            algorithm=signer.algorithm,
            fraction_digits=(0,),  # the default
        )
        refuse_what_fails(judge(case, authority.profiles))
        _refuse_what_does_not_conform(directory / "tsa.toml", signer, chain)
    # Not before they were read back: who makes them may be another user than the one who reads them by its group.
    for path, _ in written:
        path.chmod(target.secret_mode)
    write(directory / "chain.pem", chain.pem(), "certificates: the TSA's, intermediate, root", mode=0o644)
    root = chain.certificates[-1].public_bytes(Encoding.PEM)
    write(directory / "root.pem", root, "the root's, for those who verify", mode=0o644)
    secret["chain"] = chain.pem().decode()
    if authority.kubernetes_secret:
        manifest = secret_manifest(authority.kubernetes_secret, secret)
        write(directory / "secret.yaml", manifest.encode(), "Kubernetes Secret with key, password and chain")
    if target.name == "kubernetes":
        below = directory / "kubernetes"
        below.mkdir(mode=0o700)
        names = {"private": "key.pem", "password": "key.password", "chain": "chain.pem"}
        manifest = secret_manifest("tsa-signer", {names[name]: value for name, value in secret.items()})
        write(below / "secret.yaml", manifest.encode(), "Secret tsa-signer, as deploy/kubernetes mounts it")
        write(below / "tsa.toml", authority.pods_configuration().encode(), "configuration of the pods")
        if authority.profiles:
            _refuse_what_does_not_conform(below / "tsa.toml", signer, chain)
    password = secrets.token_urlsafe(_PASSWORD_OCTETS)
    keep(offline / "root.key", _encrypted(root_key, password), "key of the root, encrypted: take it offline")
    keep(offline / "intermediate.key", _encrypted(intermediate_key, password), "key of the intermediate, encrypted")
    keep(offline / "password", f"{password}\n".encode(), "password of these two")
    keep(offline / "chain.pem", chain.pem(), "the certificates again, for the next TSA certificate", mode=0o644)
    keep(offline / "offline.toml", _OFFLINE_CONFIGURATION.encode(), "settings for issuing the next TSA certificate")
    return written


def _refuse_what_does_not_conform(config: Path, signer: Signer, chain: CertificateChain) -> None:
    """Raise ConfigError when the server would not start with these settings, by what they let it enforce."""
    settings = load_settings(config, environ={})
    profile = settings.profiles[DEFAULT_PROFILE]
    conform(
        DEFAULT_PROFILE,
        profile,
        signer=signer,
        chain=chain,
        hashes=[IMPRINT_HASHES[name] for name in profile.hashes],
        surroundings=surroundings(
            settings, DEFAULT_PROFILE, signers={DEFAULT_PROFILE: signer}, trails=settings.audit.sinks
        ),
    )


def _kind_of_the_authorities(algorithm: SignatureAlgorithm) -> str:
    """Return the kind of key that signs certificates as the TSA's signs tokens, with the same digest (CSBR 6.8)."""
    if algorithm.scheme == "ecdsa":
        return {"sha256": "ecdsa-p256", "sha384": "ecdsa-p384", "sha512": "ecdsa-p521"}[algorithm.digest.name]
    # CSBR 6.1.5.1 asks 4096 bits of a CA.
    return "rsa-4096" if algorithm.scheme.startswith("rsa") else algorithm.name


def _chain(
    authority: NewAuthority, signer: Signer, root_key: PrivateKey, intermediate_key: PrivateKey
) -> CertificateChain:
    names, now = authority.names, datetime.now(UTC)
    digest = signer.algorithm.digest.name if signer.algorithm.scheme.startswith("rsa") else None
    root_signer = LocalKeySigner(root_key, digest=digest)
    intermediate_signer = LocalKeySigner(intermediate_key, digest=digest)
    root = self_signed_root(root_signer, names, Validity.of(authority.root_validity, now=now), path_length=1)
    intermediate = intermediate_certificate(
        intermediate_signer.public_key,
        Issuer.of(root, root_signer),
        names,
        Validity.of(min(authority.intermediate_validity, authority.root_validity), now=now),
        publication=authority.publication.of("root"),
    )
    leaf = tsa_certificate(
        signer.public_key,
        Issuer.of(intermediate, intermediate_signer),
        names,
        Validity.of(min(authority.tsa_validity, authority.intermediate_validity, authority.root_validity), now=now),
        key_use=authority.key_use,
        publication=authority.publication.of("intermediate"),
    )
    return CertificateChain(certificates=(leaf, intermediate, root))


def _encrypted(key: PrivateKey, password: str) -> bytes:
    encryption = BestAvailableEncryption(password.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def refuse_what_fails(findings: Sequence[Finding]) -> None:
    """Raise TsaError, a line for each rule that a chain breaks."""
    if failed := [finding for finding in findings if finding.outcome is Outcome.FAIL]:
        raise TsaError("\n".join(f"{finding.rule.name}: {finding.reason}" for finding in failed))


def secret_manifest(name: str, entries: Mapping[str, str]) -> str:
    """Return the manifest of a Secret; JSON's strings are YAML's."""
    lines = ["apiVersion: v1", "kind: Secret", "metadata:", f"  name: {_text(name)}", "type: Opaque", "stringData:"]
    return "\n".join([*lines, *(f"  {key}: {_text(value)}" for key, value in entries.items())]) + "\n"


def _text(value: str) -> str:
    """Return a TOML basic string; JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False)
