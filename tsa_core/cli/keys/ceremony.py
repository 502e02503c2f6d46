"""timestamp-server keys ceremony: a key is made or taken under witnesses, and signs the protocol of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.api import KEY_KINDS, ConfigError, PublicKey, Signer, TsaError, describe_key
from tsa_core.api.trail.events import CEREMONY
from tsa_core.certs import load_certificates
from tsa_core.certs.hierarchy import Names, tsa_request
from tsa_core.cli import console
from tsa_core.cli.keys.protocol_parts import (
    FILE,
    Steps,
    attendees_of,
    check_before,
    content_of,
    opened_sinks,
    protocol_options,
    stamped,
    write_protocol,
)
from tsa_core.cli.keys.verifying import verify_protocol
from tsa_core.cli.output_file import write_file
from tsa_core.cli.setting_origins import without_secret_parts
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.documents.ceremony.protocol import MADE, TAKEN, Protocol, key_fields, key_fingerprint
from tsa_core.paths.chains import subject_text

_SIGN_SECONDS: Final = 30.0
_NOT_CHECKED: Final = (
    "Whether the persons named were there, and who they are.",
    "Whether the module demands several persons (m of n), for its administration or for each use of the key.",
    "No interface of a signer tells it: note the quorum, and who held which part, by hand.",
    "Whether copies of the private key exist, outside the module or in a backup of it.",
)
_NOT_MADE_HERE: Final = "Where, when and how the key was made: it was there before."


@click.command()
@protocol_options
@click.option("--key", "key_uri", metavar="URI", help="The key, in a KMS, a token or a file")
@click.option(
    "--make", "kind", type=click.Choice(list(KEY_KINDS)), help="Make it now, of this kind  [it is there already]"
)
@click.option("--certificate", type=FILE, metavar="FILE", help="PEM file: the key's certificate, if there is one yet")
@click.option("--csr-out", type=FILE, metavar="FILE", help="Write a request for its certificate; needs --org-name")
@click.option("--org-name", metavar="NAME", help="Organization in the request")
@click.option("--country", metavar="CODE", help="Country in the request")
@click.option("--common-name", default="Timestamp Authority", show_default=True, metavar="NAME", help="Of the request")
@click.option("--verify", "verified", type=FILE, metavar="FILE", help="Verify a protocol, and nothing else")
def ceremony(verified: Path | None, **flags: Any) -> None:
    """Make a signing key under witnesses, or take one that was just made, and write a protocol of it.

    The protocol says who was there, when and where, with which software, the fingerprints of key, request and
    certificate, the key's URI without secrets, and each step with its outcome. The key itself signs it, which proves
    that it was there; another authority stamps it (--tsa). It is JSON, with a Markdown text beside it to be signed by
    hand. The audit sinks of the configuration record it. What no program can see is listed as not checked.

    --make has the key made by the plugin; `plugins show NAME` says whether it can. The key does not leave its module.

    --verify exits with 1 for a protocol that is not what the key signed.

    \b
    Examples:
      timestamp-server keys ceremony --config tsa.toml --key 'pkcs11:token=tsa;object=tsa-2027' --make ecdsa-p256 \\
          --attendee 'Ada Lovelace=security officer' --attendee 'Grace Hopper=auditor' \\
          --csr-out tsa-2027.csr --org-name 'Example Ltd' --tsa https://tsa.example.net/ --tsa-roots roots.pem \\
          --output ceremony-2027.json
      timestamp-server keys ceremony --verify ceremony-2027.json --tsa-roots roots.pem
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    if verified is not None:
        others = [name for name, value in flags.items() if value and name not in {"tsa_roots", "common_name", "config"}]
        if others:
            raise click.UsageError("--verify goes with --tsa-roots alone")
        verify_protocol(verified, flags["tsa_roots"])
        return
    _hold(**flags)


def _hold(
    *,
    config: Path | None,
    attendees: tuple[str, ...],
    reason: str,
    tsa: str | None,
    tsa_roots: Path | None,
    output: Path | None,
    key_uri: str | None,
    kind: str | None,
    certificate: Path | None,
    csr_out: Path | None,
    org_name: str | None,
    country: str | None,
    common_name: str,
) -> None:
    if key_uri is None:
        raise click.UsageError("--key URI is missing: the key that is made or taken; or --verify FILE")
    if kind is not None and certificate is not None:
        raise click.UsageError("a key that is made now has no certificate yet; leave --certificate away")
    if bool(csr_out) != bool(org_name):
        raise click.UsageError("--csr-out and --org-name go together")
    if csr_out is not None and csr_out.exists():
        raise ConfigError("it exists already; a request is not written over", path=str(csr_out))
    output = check_before(output, tsa, tsa_roots)
    present = attendees_of(attendees)
    steps = Steps()
    with opened_sinks(config) as record, KeyOpener(config) as opener:
        if kind is not None:
            key_uri = opener.make_key(key_uri, kind, option="--key")
            steps.add("make the key", f"made, {kind}")
        try:
            signer = opener.signer(key_uri, option="--key")
            names = Names(organization=org_name, country=country, tsa=common_name)
            more = _facts(signer, key_uri, steps, certificate=certificate, csr_out=csr_out, names=names)
            distribution, _, version = opener.distribution(key_uri).partition(" ")
            protocol = Protocol(
                content=content_of(
                    MADE if kind else TAKEN,
                    steps,
                    present,
                    reason,
                    software={distribution: version},
                    not_checked=[*_NOT_CHECKED, *([] if kind else [_NOT_MADE_HERE])],
                    **more,
                )
            ).signed(signer, timeout=_SIGN_SECONDS)
        except TsaError:
            if kind is not None:
                console.tell("the key was made; write its protocol without --make when what is wrong is mended")
            raise
        protocol, missing = stamped(protocol, tsa, tsa_roots)
        write_protocol(protocol, output)
        record(CEREMONY, protocol)
    if missing:
        raise click.ClickException(f"the protocol is written, but was not timestamped: {missing}")


def _facts(
    signer: Signer, uri: str, steps: Steps, *, certificate: Path | None, csr_out: Path | None, names: Names
) -> dict[str, Any]:
    """Return what the protocol says of key, certificate and request; writes the request."""
    key = key_fields(signer.public_key)
    steps.add("open the key and read its public half", f"{describe_key(signer.public_key)}, SHA-256 {key['sha256']}")
    found: dict[str, Any] = {
        "key": {
            **key,
            "uri": without_secret_parts(uri),
            "kind": describe_key(signer.public_key),
            "details": dict(signer.details()),
        }
    }
    if certificate is not None:
        found["certificate"] = _of_certificate(certificate, signer.public_key)
        steps.add("compare the certificate with the key", "it is for this key")
    if csr_out is not None:
        request = tsa_request(signer, names)
        write_file(csr_out, request.public_bytes(Encoding.PEM), mode=0o644)
        digest = hashlib.sha256(request.public_bytes(Encoding.DER)).hexdigest()
        found["request"] = {"subject": request.subject.rfc4514_string(), "sha256": digest}
        steps.add("write a certificate request, signed by the key", f"SHA-256 {digest}")
    return found


def _of_certificate(path: Path, public_key: PublicKey) -> dict[str, str]:
    leaf = load_certificates(path)[0]
    try:
        certified = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        certified = None
    if not isinstance(certified, PublicKey) or key_fingerprint(certified) != key_fingerprint(public_key):
        raise ConfigError("its first certificate is for another key", path=str(path))
    return {
        "subject": subject_text(leaf),
        "sha256": hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest(),
        "not_after": leaf.not_valid_after_utc.isoformat(timespec="seconds"),
    }
