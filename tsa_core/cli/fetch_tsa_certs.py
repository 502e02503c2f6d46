"""fetch-tsa-certs: certificate chains for keys in any backend."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core import __version__
from tsa_core.api import CertificateAuthorityError, ConfigError, PublicKey, Signer, TsaError
from tsa_core.certs import CertificateChain, Publication, load_certificates, load_request, lowest_key, order_chain
from tsa_core.certs.hierarchy import (
    Names,
    Validity,
    chain_under,
    intermediate_from,
    self_signed_root,
    tsa_request,
)
from tsa_core.certs.maker import refuse_mixed_keys
from tsa_core.cli import console
from tsa_core.cli.maker_keys import key_file
from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.output_file import write_file
from tsa_core.cli.refuse_inputs import refuse_inputs
from tsa_core.cli.signing_keys import KeyOpener
from tsa_core.cli.spellings import go_option
from tsa_core.conformance.chains import ChainCase, Outcome, judge
from tsa_core.logs import set_up_logging
from tsa_core.paths.chains import title
from tsa_core.protocol.signatures import public_key_info

PROGRAM = "fetch-tsa-certs"
_FILE = click.Path(path_type=Path, dir_okay=False)
_AUTHORITY_SECONDS = 60.0
_MAX_DAYS = 36_500


@click.command(
    PROGRAM,
    context_settings={"help_option_names": ["-h", "--help", "-help"], "max_content_width": 100},
    epilog="Then: timestamp-server check-chain chain.pem --key URI, and "
    "timestamp-server serve --timestamp-signer kms --kms-key-resource URI --certificate-chain-path chain.pem.",
)
@go_option("--leaf-kms-resource", "leaf", metavar="URI", help="Key that will sign timestamps, any signer's key URI")
@go_option("--tink-keyset-path", type=_FILE, metavar="FILE", help="Tink keyset that will sign, instead of a key URI")
@go_option("--tink-kms-resource", metavar="URI", help="Key that decrypts the Tink keyset: gcp-kms://... and so on")
@go_option(
    "--csr-in",
    type=_FILE,
    metavar="FILE",
    help="Certification request for the leaf's key, which is then not needed",
)
@go_option("--parent-kms-resource", "parent", metavar="URI", help="Key that issues the TSA's certificate")
@go_option(
    "--gcp-ca-parent",
    "--gcp-ca-root",
    "gcp_pool",
    metavar="POOL",
    help="Google CA Service pool that issues the parent's certificate, projects/P/locations/L/caPools/POOL; the same "
    "as --parent-ca gcp:POOL",
)
@go_option(
    "--parent-ca",
    metavar="NAME:RESOURCE",
    help="Certificate authority of any plugin that issues the parent's certificate  [the parent signs its own]",
)
@go_option(
    "--parent-chain",
    type=_FILE,
    metavar="FILE",
    help="The parent's certificate, which exists already, and its issuers: makes a new TSA certificate under it",
)
@go_option(
    "--parent-validity",
    type=click.IntRange(1, _MAX_DAYS),
    default=7300,
    show_default=True,
    metavar="DAYS",
    help="How long the parent's certificate and the TSA's are valid",
)
@go_option(
    "--leaf-validity",
    type=click.IntRange(1, _MAX_DAYS),
    metavar="DAYS",
    help="How long the TSA's certificate is valid  [as the parent's]",
)
@go_option(
    "--private-key-days",
    type=click.IntRange(1, _MAX_DAYS),
    metavar="DAYS",
    help="Write a private key usage period into the TSA's certificate  [none]",
)
@go_option("--org-name", metavar="NAME", help="Organization in the names  [none]")
@go_option("--country", metavar="CC", help="Country in the names, two letters")
@go_option("--common-name", metavar="NAME", help="The TSA's common name  [sigstore-tsa]")
@go_option("--crl-url", "crl_urls", multiple=True, metavar="URL", help="Where the parent's CRL is; repeatable")
@go_option("--ocsp-url", "ocsp_urls", multiple=True, metavar="URL", help="Where an OCSP responder is; repeatable")
@go_option("--issuer-url", "issuer_urls", multiple=True, metavar="URL", help="Where the parent's certificate is")
@go_option("--policy-oid", "policies", multiple=True, metavar="OID", help="Certificate policy; repeatable")
@go_option(
    "--csr-out",
    type=_FILE,
    metavar="FILE",
    help="Write a certification request signed by the leaf's key instead, for a CA of your choice",
)
@go_option(
    "--chain-in",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="Make the chain of issued certificates, in any order, for the leaf's key; repeatable",
)
@go_option(
    "--refuse-mixed-keys", is_flag=True, help="Refuse a chain that has both post-quantum (ML-DSA) and classical keys"
)
@go_option("--output", type=_FILE, metavar="FILE", help="Where to write the chain, PEM, TSA's certificate first")
@go_option("--config", type=_FILE, metavar="FILE", envvar="TSA_CONFIG", help="Configuration with plugins' settings")
@click.version_option(__version__, message="%(prog)s %(version)s")
def fetch_tsa_certs(**flags: Any) -> None:
    """Make the certificate chain for a timestamp authority's key, wherever that key is.

    Keys are key URIs as in a profile's `signer`; plugins' settings come from --config and TSA_... variables. The key
    of the leaf is never asked to sign but for --csr-out; the key of the parent signs the leaf's certificate.

    \b
    Examples:
      fetch-tsa-certs --parent-kms-resource hashivault://parent --leaf-kms-resource hashivault://leaf \\
          --org-name example.com --output chain.pem
      fetch-tsa-certs --leaf-kms-resource awskms:///alias/tsa --csr-out tsa.csr
      fetch-tsa-certs --leaf-kms-resource awskms:///alias/tsa --chain-in issued.pem --chain-in ca.pem \\
          --output chain.pem
    """  # noqa: D301 - the backslashes are click's mark and the shell's
    order = _Order(**flags)
    order.check()
    set_up_logging()
    with KeyOpener(order.config) as opener:
        if order.csr_in:
            chain = order.make(opener, *order.read_request(order.csr_in))
            order.check_keys(chain)
            _check(chain, None)
            order.write(chain)
            return
        leaf = order.open_leaf(opener)
        if order.csr_out:
            write_file(order.csr_out, tsa_request(leaf, order.names).public_bytes(Encoding.PEM))
            console.stderr().print(
                f"wrote {order.csr_out}; have it issued with extendedKeyUsage = critical, timeStamping and nothing "
                "else, then: --chain-in ISSUED --chain-in ISSUERS --output chain.pem",
                markup=False,
                soft_wrap=True,
            )
            return
        chain = order.collect(leaf) if order.chain_in else order.make(opener, leaf.public_key, order.names)
        order.check_keys(chain)
        _check(chain, leaf)
    order.write(chain)


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What was asked for, by flags."""

    leaf: str | None
    tink_keyset_path: Path | None
    tink_kms_resource: str | None
    csr_in: Path | None
    parent: str | None
    gcp_pool: str | None
    parent_ca: str | None
    parent_chain: Path | None
    parent_validity: int
    leaf_validity: int | None
    private_key_days: int | None
    org_name: str | None
    country: str | None
    common_name: str | None
    crl_urls: Sequence[str]
    ocsp_urls: Sequence[str]
    issuer_urls: Sequence[str]
    policies: Sequence[str]
    csr_out: Path | None
    chain_in: Sequence[Path]
    refuse_mixed_keys: bool
    output: Path | None
    config: Path | None

    def check(self) -> None:
        """Raise UsageError for flags that are missing or contradict each other, and for outputs that name inputs."""
        inputs = [
            ("--csr-in", self.csr_in),
            ("--parent-chain", self.parent_chain),
            *(("--chain-in", path) for path in self.chain_in),
            ("--tink-keyset-path", self.tink_keyset_path),
            ("--leaf-kms-resource", key_file(self.leaf)),
            ("--parent-kms-resource", key_file(self.parent)),
            ("--config", self.config),
        ]
        for option, output in (("--output", self.output), ("--csr-out", self.csr_out)):
            if output is not None:
                try:
                    refuse_inputs(option, output, inputs)
                except UsageMistake as error:
                    raise click.UsageError(str(error)) from None
        if [self.leaf, self.tink_keyset_path, self.csr_in].count(None) != 2:
            raise click.UsageError("give the leaf's key: --leaf-kms-resource, --tink-keyset-path or --csr-in")
        if (self.tink_keyset_path is None) != (self.tink_kms_resource is None):
            raise click.UsageError("--tink-keyset-path and --tink-kms-resource go together")
        if self.csr_in and (self.csr_out or self.chain_in):
            raise click.UsageError("--csr-in makes a chain under the parent's key; leave --csr-out and --chain-in out")
        if self.csr_out and self.refuse_mixed_keys:
            raise click.UsageError("--refuse-mixed-keys is about a chain, and --csr-out makes none")
        if self.csr_out and (self.chain_in or self.parent or self.output):
            raise click.UsageError(
                "--csr-out makes a request and no chain; leave the parent, --chain-in and --output out"
            )
        if self.csr_out:
            return
        if self.output is None:
            raise click.UsageError("--output FILE is missing, or --csr-out FILE")
        if self.chain_in and self.parent:
            raise click.UsageError("--chain-in takes certificates that a CA issued; leave --parent-kms-resource out")
        if not self.chain_in and not self.parent:
            raise click.UsageError(
                "--parent-kms-resource URI is missing, the key that issues the TSA's certificate; or --csr-out and "
                "--chain-in, for a CA of your choice"
            )
        if [self.gcp_pool, self.parent_ca, self.parent_chain].count(None) < 2:
            raise click.UsageError(
                "--gcp-ca-parent and --parent-ca name two certificate authorities, and --parent-chain a certificate "
                "that exists; give one"
            )

    @property
    def names(self) -> Names:
        """The names in the certificates."""
        names = Names(organization=self.org_name, country=self.country)
        if self.common_name:
            return Names(organization=self.org_name, country=self.country, tsa=self.common_name)
        return names

    @property
    def authority_uri(self) -> str | None:
        """The certificate authority for the parent's certificate, None when the parent signs its own."""
        return self.parent_ca if self.gcp_pool is None else f"gcp:{self.gcp_pool}"

    @property
    def publication(self) -> Publication:
        """What the parent publishes."""
        return Publication(
            crl_urls=self.crl_urls, ocsp_urls=self.ocsp_urls, issuer_urls=self.issuer_urls, policies=self.policies
        )

    def refuse_a_folder_that_is_not_there(self) -> None:
        """Raise ConfigError when the output could not be written."""
        if self.output is not None and not os.access(self.output.parent, os.W_OK | os.X_OK):
            raise ConfigError("there is no such folder, or it cannot be written to", path=str(self.output.parent))

    def open_leaf(self, opener: KeyOpener) -> Signer:
        """Open the key that will sign timestamps."""
        if self.leaf is not None:
            certified_key = lowest_key(self.issued())
            return opener.signer(self.leaf, option="--leaf-kms-resource", certified_key=certified_key)
        assert self.tink_keyset_path is not None  # noqa: S101 - check() has seen to it
        table = {"keyset_path": str(self.tink_keyset_path.absolute()), "key_resource": self.tink_kms_resource}
        return opener.signer("tink:", option="--tink-keyset-path", table=table)

    def read_request(self, path: Path) -> tuple[PublicKey, Names]:
        """Return the key of a request, proven by its signature, and the names with its subject; raises ConfigError."""
        request = load_request(path)
        return request.public_key, replace(self.names, tsa_subject=request.subject)

    def check_keys(self, chain: CertificateChain) -> None:
        """Raise ConfigError for a chain of post-quantum and classical keys, if such are to be refused."""
        if self.refuse_mixed_keys:
            certificates = enumerate(chain.certificates, 1)
            refuse_mixed_keys({f"{number}. {title(each)}": each.public_key() for number, each in certificates})

    def write(self, chain: CertificateChain) -> None:
        """Write the chain and say what is in it."""
        assert self.output is not None  # noqa: S101 - check() has seen to it
        write_file(self.output, chain.pem())
        for certificate in chain.certificates:
            click.echo(f"{certificate.subject.rfc4514_string()}, until {certificate.not_valid_after_utc:%Y-%m-%d}")

    def collect(self, leaf: Signer) -> CertificateChain:
        """Return the chain out of what a CA issued."""
        return order_chain(self.issued(), leaf.public_key)

    def issued(self) -> list[x509.Certificate]:
        """Return what a CA issued."""
        return [certificate for path in self.chain_in for certificate in load_certificates(path)]

    def make(self, opener: KeyOpener, leaf: PublicKey, names: Names) -> CertificateChain:
        """Return a new chain under the parent's key."""
        assert self.parent is not None  # noqa: S101 - check() has seen to it
        above = load_certificates(self.parent_chain) if self.parent_chain else ()
        parent = opener.signer(self.parent, option="--parent-kms-resource", certified_key=lowest_key(above))
        if public_key_info(parent.public_key) == public_key_info(leaf):
            raise ConfigError("the parent's key and the leaf's are one key; a TSA's key is for timestamps alone")
        if self.refuse_mixed_keys:
            refuse_mixed_keys({"parent": parent.public_key, "leaf": leaf})
        # What is wrong with the rest must be said before a CA issues, and bills, a certificate.
        names.name(names.tsa)
        self.publication.extensions()
        self.refuse_a_folder_that_is_not_there()
        length = timedelta(days=self.parent_validity)
        parents: Sequence[x509.Certificate]
        if above:
            parents = order_chain(above, parent.public_key).certificates
        elif self.authority_uri is None:
            parents = [self_signed_root(parent, self.names, Validity.of(length), path_length=0)]
        else:
            authority = opener.authority(self.authority_uri, option="--parent-ca")
            try:
                parents = intermediate_from(authority, parent, self.names, validity=length, timeout=_AUTHORITY_SECONDS)
            except CertificateAuthorityError as error:
                raise TsaError(f"--parent-ca: {error}") from error
        key_use = timedelta(days=self.private_key_days) if self.private_key_days else None
        return chain_under(
            parents,
            parent,
            leaf,
            names,
            length=timedelta(days=self.leaf_validity) if self.leaf_validity else None,
            key_use=key_use,
            publication=self.publication,
        )


def _check(chain: CertificateChain, leaf: Signer | None) -> None:
    """Raise TsaError, a line for each rule that a server or a client would stumble over; say what is only unwise."""
    case = ChainCase(
        certificates=chain.certificates,
        at=datetime.now(UTC),
        public_key=leaf.public_key if leaf else None,
        algorithm=leaf.algorithm if leaf else None,
    )
    findings = judge(case)
    if failed := [finding for finding in findings if finding.outcome is Outcome.FAIL]:
        lines = [f"{finding.rule.name}: {finding.reason}" for finding in failed]
        raise TsaError("\n".join([*lines, "the chain was not written, because no server could issue with it"]))
    for finding in findings:
        if finding.outcome is Outcome.WARN:
            console.tell(f"{finding.rule.name}: {finding.reason}")


def main() -> None:
    """Run fetch-tsa-certs."""
    console.run(fetch_tsa_certs, PROGRAM)


if __name__ == "__main__":
    main()
