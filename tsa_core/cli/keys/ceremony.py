"""timestamp-server keys ceremony: a key is made or taken under witnesses, and signs the protocol of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.api import KEY_KINDS, ConfigError, PublicKey, Signer, describe_key
from tsa_core.api.trail.events import CEREMONY
from tsa_core.certs import load_certificates, load_chain
from tsa_core.certs.hierarchy import Names, tsa_request
from tsa_core.cli import console
from tsa_core.cli.keys.protocol_parts import (
    FILE,
    NOT_CHECKED,
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
from tsa_core.cli.output_file import write_files
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.documents.ceremony.protocol import MADE, TAKEN, Protocol, key_fields
from tsa_core.paths.chains import subject_text
from tsa_core.protocol.signatures import key_fingerprint
from tsa_core.secret_parts import without_secret_parts

_SIGN_SECONDS: Final = 30.0


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
@click.option("--common-name", metavar="NAME", help="In the request  [Timestamp Authority]")
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
        others = [name for name, value in flags.items() if value and name not in {"tsa_roots", "config"}]
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
    common_name: str | None,
) -> None:
    if key_uri is None:
        raise click.UsageError("--key URI is missing: the key that is made or taken; or --verify FILE")
    if kind is not None and certificate is not None:
        raise click.UsageError("a key that is made now has no certificate yet; leave --certificate away")
    if bool(csr_out) != bool(org_name):
        raise click.UsageError("--csr-out and --org-name go together")
    if not csr_out and (country or common_name):
        raise click.UsageError("--country and --common-name are for the request; --csr-out FILE writes one")
    names = Names(organization=org_name, country=country, tsa=common_name or "Timestamp Authority")
    names.name(names.tsa)  # raises for what no certificate can hold
    output = check_before(output, tsa, tsa_roots, csr_out=csr_out)
    present = attendees_of(attendees)
    steps = Steps()
    with opened_sinks(config) as record, KeyOpener(config) as opener:
        if kind is not None:
            key_uri = opener.make_key(key_uri, kind, option="--key")
            steps.add("make the key", f"made, {kind}")
            where = without_secret_parts(key_uri)
            console.tell(f"{where} is made; should this end without a protocol, hold the ceremony without --make")
        certified_key = load_chain(certificate).certified_key() if certificate else None
        signer = opener.signer(key_uri, option="--key", certified_key=certified_key)
        more = _facts(signer, key_uri, steps, certificate=certificate, csr_out=csr_out, names=names)
        distribution, _, version = opener.distribution(key_uri).partition(" ")
        what, software = MADE if kind else TAKEN, {distribution: version}
        content = content_of(what, steps, present, reason, software=software, not_checked=NOT_CHECKED[what], **more)
        protocol = Protocol(content=content).signed(signer, timeout=_SIGN_SECONDS)
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
        write_files([(csr_out, request.public_bytes(Encoding.PEM))], mode=0o644, new=True)
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
