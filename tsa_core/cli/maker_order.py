"""What the Certificate Maker was asked for: checked, made and written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.api import ConfigError, PublicKey, Signer, TsaError, UnsupportedKey, signature_algorithm
from tsa_core.certs import CertificateChain, load_certificates
from tsa_core.certs.maker import CertificateTemplate, Maker, Role, judge_made, refuse_mixed_keys
from tsa_core.cli import console
from tsa_core.cli.maker_keys import PROVIDER_FLAGS, key_file, key_uri, provider_settings, scheme_of, settings_of
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.output_file import write_files
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.conformance.chains import Finding, Outcome
from tsa_core.protocol.signatures import public_key_info

_ROLES: Final[tuple[Role, ...]] = ("root", "intermediate", "leaf")
_MODE: Final = 0o644
"""Certificates are for everybody, as the reference writes them."""
_ABOUT_INTERMEDIATES: Final = (
    'its template needs "extKeyUsage": ["timeStamping"]; or give --enforce-intermediate-eku=false, to the server too'
)


@dataclass(frozen=True, kw_only=True)
class MadeChain:
    """Certificates with the files they go into, and those that were there; TSA's last."""

    files: Mapping[Path, bytes]
    lines: Sequence[str]

    def write(self) -> Sequence[str]:
        """Write all files, or none, and return what to say of them."""
        write_files(list(self.files.items()), mode=_MODE)
        return self.lines


class MakerOrder:
    """Flags of `certificate-maker create`; `typed` are those that stood on the command line."""

    def __init__(self, common_name: str, flags: Mapping[str, Any], typed: frozenset[str]) -> None:
        self._common_name = common_name
        self._flags = flags
        self.typed = typed
        self._uris: dict[Role, str] = {}
        self._templates: dict[Role, CertificateTemplate] = {}
        self._existing: dict[Role, x509.Certificate] = {}

    def check(self) -> None:
        """Read what can be read without a key.

        Raises UsageError for flags that are missing, contradict each other or have no effect, ConfigError for
        templates and certificates that cannot be used, and for folders that cannot be written to.
        """
        for role in _ROLES:
            if key_id := self._flags[f"{role}_key_id"]:
                self._uris[role] = key_uri(key_id, self._flags["kms_type"], option=f"--{role}-key-id")
        self._refuse_what_is_missing()
        self._refuse_flags_without_effect()
        self._refuse_outputs()
        for role in ("root", "intermediate"):
            if path := self._flags[f"existing_{role}_cert"]:
                self._existing[role] = _one_certificate(path, role)
        for role in self._new():
            path = self._flags[f"{role}_template"]
            if path is None and not self._common_name:
                raise click.UsageError(f"COMMON-NAME is missing, or --{role}-template, which writes the name")
            self._templates[role] = CertificateTemplate(role, path, common_name=self._common_name)
        if self._common_name and not any(template.names_subject for template in self._templates.values()):
            console.tell(f"COMMON-NAME {self._common_name!r} is in no certificate: no template has .Subject.CommonName")

    def make(self, opener: KeyOpener) -> MadeChain:
        """Make the certificates and judge them.

        Raises ConfigError, PluginError and SignerError for keys, TsaError for a chain that no server could issue with.
        """
        signers = {role: self._open(opener, role) for role in _ROLES if role in self._uris}
        self._compare_keys(signers)
        maker = Maker()
        certificates: dict[Role, x509.Certificate] = dict(self._existing)
        issuer: Role | None = None
        for role in _ROLES:
            if role in self._templates:
                template, lifetime = self._templates[role], self._flags[f"{role}_lifetime"]
                if issuer is None:
                    certificates[role] = maker.root(template, signers[role], lifetime)
                else:
                    certificates[role] = maker.under(
                        certificates[issuer], signers[issuer], template, signers[role].public_key, lifetime
                    )
            issuer = role if role in certificates else issuer
        chain = tuple(certificates[role] for role in reversed(_ROLES) if role in certificates)
        self._judge(chain, signers.get("leaf"), at=maker.now)
        return self._files(certificates, chain)

    def _new(self) -> Iterator[Role]:
        """Yield the roles whose certificates are to be made, the root first."""
        for role in _ROLES:
            if role in self._uris and not self._flags.get(f"existing_{role}_cert"):
                yield role

    def _refuse_what_is_missing(self) -> None:
        existing = {role for role in ("root", "intermediate") if self._flags[f"existing_{role}_cert"]}
        if "intermediate" in existing and "root" not in existing:
            raise click.UsageError("--existing-intermediate-cert needs --existing-root-cert, its issuer's")
        issuer = "intermediate" if "intermediate" in existing else "root"
        if issuer not in self._uris:
            raise click.UsageError(f"--{issuer}-key-id is missing, the key that issues")
        if not list(self._new()):
            raise click.UsageError("there is nothing to make; give --leaf-key-id, the key that signs timestamps")

    def _refuse_flags_without_effect(self) -> None:
        for role in _ROLES:
            made = role in self._new()
            why = f"--existing-{role}-cert" if role in self._uris else f"no --{role}-key-id"
            names = [f"{role}_template", f"{role}_cert", f"{role}_lifetime"]
            names += [] if role in self._uris else [f"{role}_settings"]
            for name in names:
                if not made and name in self.typed:
                    flag = f"--{name.removesuffix('s').replace('_', '-')}"
                    raise click.UsageError(f"{flag} has no effect with {why}")
        schemes = {scheme_of(uri) for uri in self._uris.values()}
        for flag, (wanted, _) in PROVIDER_FLAGS.items():
            if flag in self.typed and not schemes.intersection(wanted):
                raise click.UsageError(f"--{flag.replace('_', '-')} has no effect: no key is in {' or '.join(wanted)}")
        kms_type = self._flags["kms_type"]
        if "kms_type" in self.typed and kms_type.lower() not in schemes:
            raise click.UsageError(f"--kms-type {kms_type} has no effect: every key is written as a key URI of another")
        if "enforce_intermediate_eku" in self.typed and "intermediate" not in self._uris:
            raise click.UsageError("--enforce-intermediate-eku has no effect without --intermediate-key-id")
        if self._flags["chain"] and "leaf" not in self._uris:
            raise click.UsageError("--chain has no effect without --leaf-key-id")

    def _refuse_outputs(self) -> None:
        """Raise for outputs that are one file, that name an input, or whose folder cannot be written to."""
        inputs = [(f"--{role}-template", self._flags[f"{role}_template"]) for role in _ROLES]
        inputs += [
            (f"--existing-{role}-cert", self._flags[f"existing_{role}_cert"]) for role in ("root", "intermediate")
        ]
        inputs += [(f"--{role}-key-id", key_file(self._uris.get(role))) for role in _ROLES]
        inputs += [("--config", self._flags["config"]), ("--gcp-credentials-file", self._flags["gcp_credentials_file"])]
        outputs = [(f"--{role}-cert", self._flags[f"{role}_cert"]) for role in self._new()]
        outputs += [("--chain", self._flags["chain"])] if self._flags["chain"] else []
        seen: dict[Path, str] = {}
        for option, path in outputs:
            try:
                refuse_inputs(option, path, inputs)
            except UsageMistake as error:
                raise click.UsageError(str(error)) from None
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise ConfigError("there is no such folder, or it cannot be written to", path=str(path.parent))
            if (other := seen.setdefault(path.parent.resolve() / path.name, option)) != option:
                raise click.UsageError(f"{option} and {other} name one file: {path}")

    def _open(self, opener: KeyOpener, role: Role) -> Signer:
        uri, option = self._uris[role], f"--{role}-key-id"
        typed = {flag: self._flags[flag] if flag in self.typed else None for flag in PROVIDER_FLAGS}
        read = {flag: self._flags[flag] if flag not in self.typed else None for flag in PROVIDER_FLAGS}
        scheme = scheme_of(uri)
        own = settings_of(self._flags[f"{role}_settings"], option=f"--{role}-setting")
        existing = self._existing.get(role)
        return opener.signer(
            uri,
            option=option,
            table={**provider_settings(typed, scheme), **own},
            below=provider_settings(read, scheme),
            certified_key=public_key_info(existing.public_key()) if existing else None,  # type: ignore[arg-type] # checked
        )

    def _compare_keys(self, signers: Mapping[Role, Signer]) -> None:
        keys: dict[str, PublicKey] = {role: signer.public_key for role, signer in signers.items()}
        for role, certificate in self._existing.items():
            certified: Any = certificate.public_key()
            if role in signers and public_key_info(certified) != public_key_info(keys[role]):
                raise ConfigError(
                    f"the certificate is not for the key of --{role}-key-id", path=f"--existing-{role}-cert"
                )
            keys[role] = certified
        seen: dict[bytes, str] = {}
        for name, key in keys.items():
            if (other := seen.setdefault(public_key_info(key), name)) != name:
                raise ConfigError(f"the {other}'s key and the {name}'s are one key; each certificate has its own")
        if self._flags["refuse_mixed_keys"]:
            refuse_mixed_keys(keys)

    def _judge(self, chain: Sequence[x509.Certificate], leaf: Signer | None, *, at: datetime) -> None:
        enforced = self._flags["enforce_intermediate_eku"] is not False
        findings = judge_made(chain, leaf, at=max(at, datetime.now(UTC)), enforce_intermediate_eku=enforced)
        if failed := [finding for finding in findings if finding.outcome is Outcome.FAIL]:
            lines = [_line(finding) for finding in failed]
            if any(finding.rule.name == "intermediates-usage-timestamping" for finding in failed):
                lines.append(_ABOUT_INTERMEDIATES)
            raise TsaError("\n".join([*lines, "nothing was written, because no server could issue with this chain"]))
        for finding in findings:
            if finding.outcome is Outcome.WARN:
                console.tell(_line(finding))

    def _files(self, certificates: Mapping[Role, x509.Certificate], chain: Sequence[x509.Certificate]) -> MadeChain:
        files: dict[Path, bytes] = {}
        lines = []
        for role in _ROLES:
            if role in self._existing:
                lines.append(f"Loaded existing {role} cert from {self._flags[f'existing_{role}_cert']}")
            elif role in certificates:
                path = self._flags[f"{role}_cert"]
                files[path] = certificates[role].public_bytes(Encoding.PEM)
                lines.append(f"Saved {role} cert to {path}")
        if path := self._flags["chain"]:
            files[path] = CertificateChain(certificates=tuple(chain)).pem()
            lines.append(f"Saved chain to {path}")
        return MadeChain(files=files, lines=lines)


def _line(finding: Finding) -> str:
    return f"{finding.rule.name}: {finding.reason}"


def _one_certificate(path: Path, role: str) -> x509.Certificate:
    certificates = load_certificates(path)
    if len(certificates) != 1:
        raise ConfigError(
            f"{len(certificates)} certificates are in this file; the {role}'s alone is needed", path=str(path)
        )
    try:
        signature_algorithm(certificates[0].public_key())
    except (ValueError, UnsupportedAlgorithm, UnsupportedKey) as error:
        raise ConfigError(f"the certificate's key cannot be used: {error}", path=str(path)) from None
    return certificates[0]
