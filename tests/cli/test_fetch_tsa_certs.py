"""fetch-tsa-certs as an operator types it: keys in files and in OpenBao, requests, issued certificates."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_backends.timestamp_server import TimestampServer, run
from tsa_core.api import ConfigError, LocalKeySigner, TsaError
from tsa_core.certs import KEY_KINDS, Issuer, Publication, load_certificates
from tsa_core.certs.hierarchy import Names, Validity, intermediate_certificate, self_signed_root
from tsa_core.cli.fetch_tsa_certs import fetch_tsa_certs
from tsa_core.conformance.chains import ChainCase, Outcome, judge
from tsa_core.testing import (
    IssuedToken,
    Pki,
    check_path_with_openssl,
    check_with_openssl,
    encode_request,
    new_key,
    shared_key,
    write_pem,
)

file_keys = pytest.mark.plugin("file")


def fetch(*arguments: object) -> Result:
    return CliRunner().invoke(fetch_tsa_certs, [str(argument) for argument in arguments], catch_exceptions=False)


def write_key(path: Path, kind: str = "ecdsa-p256") -> str:
    path.write_bytes(shared_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return f"file:{path}"


@pytest.fixture
def leaf(tmp_path: Path) -> str:
    return write_key(tmp_path / "leaf.pem")


@pytest.fixture
def parent(tmp_path: Path) -> str:
    return write_key(tmp_path / "parent.pem", "ecdsa-p384")


def extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    return certificate.extensions.get_extension_for_class(kind)


@file_keys
def test_names_extensions_and_validity_are_the_reference_systems(leaf: str, parent: str, tmp_path: Path) -> None:
    output = tmp_path / "chain.pem"
    result = fetch(
        *("--leaf-kms-resource", leaf, "--parent-kms-resource", parent, "--org-name", "example.com"),
        *("--parent-validity", 100, "--output", output),
    )
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    certificate, root = load_certificates(output)
    assert certificate.subject.rfc4514_string() == "CN=sigstore-tsa,O=example.com"
    assert root.subject.rfc4514_string() == "CN=sigstore-tsa-selfsigned,O=example.com"
    assert root.not_valid_after_utc - root.not_valid_before_utc == timedelta(days=100)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (
        root.not_valid_before_utc,
        root.not_valid_after_utc,
    )
    usage = extension(certificate, x509.ExtendedKeyUsage)
    assert usage.critical
    assert list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    assert extension(certificate, x509.KeyUsage).critical
    assert extension(certificate, x509.KeyUsage).value.digital_signature
    assert extension(certificate, x509.SubjectKeyIdentifier).value.digest
    assert extension(certificate, x509.AuthorityKeyIdentifier).value.key_identifier
    assert extension(root, x509.KeyUsage).value.key_cert_sign
    assert extension(root, x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    check_path_with_openssl([certificate, root], tmp_path)


@file_keys
@pytest.mark.parametrize("kind", [kind for kind in KEY_KINDS if kind not in {"rsa-2048", "rsa-4096"}])
def test_every_kind_of_key_can_be_leaf_and_parent(kind: str, tmp_path: Path) -> None:
    own, other = write_key(tmp_path / "own.pem", kind), write_key(tmp_path / "other.pem", "rsa-2048")
    for leaf, parent in ((own, other), (other, own)):
        output = tmp_path / "chain.pem"
        result = fetch("--leaf-kms-resource", leaf, "--parent-kms-resource", parent, "--output", output)
        assert result.exit_code == 0, result.output
        if not kind.startswith("ml-dsa"):
            check_path_with_openssl(load_certificates(output), tmp_path)


@file_keys
def test_a_request_is_signed_by_the_leafs_key_and_the_issued_certificate_becomes_a_chain(
    leaf: str, tmp_path: Path
) -> None:
    request_file, output = tmp_path / "tsa.csr", tmp_path / "chain.pem"
    assert fetch("--leaf-kms-resource", leaf, "--org-name", "example.com", "--csr-out", request_file).exit_code == 0
    request = x509.load_pem_x509_csr(request_file.read_bytes())
    assert request.is_signature_valid
    assert request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "example.com"

    pki = Pki(intermediates=2)
    issued = pki.issue(request.public_key(), common_name="issued by the company")  # type: ignore[arg-type] # it is the leaf's
    first = write_pem(tmp_path / "first.pem", [pki.root, pki.intermediates[1]])
    second = write_pem(tmp_path / "second.pem", [pki.intermediates[0], issued])
    result = fetch("--leaf-kms-resource", leaf, "--chain-in", first, "--chain-in", second, "--output", output)
    assert result.exit_code == 0, result.output
    assert load_certificates(output) == pki.chain(issued)


@file_keys
def test_an_issued_certificate_with_which_no_server_could_issue_is_refused_by_the_rule(
    leaf: str, tmp_path: Path
) -> None:
    pki = Pki()
    issued = pki.issue(shared_key("ecdsa-p256").public_key(), usage_critical=False)
    files = write_pem(tmp_path / "issued.pem", pki.chain(issued))
    with pytest.raises(TsaError, match=r"leaf-usage-critical: .* is not critical"):
        fetch("--leaf-kms-resource", leaf, "--chain-in", files, "--output", tmp_path / "chain.pem")
    assert not (tmp_path / "chain.pem").exists()


@file_keys
def test_an_issued_certificate_for_another_key_is_refused(leaf: str, tmp_path: Path) -> None:
    files = Pki().write_chain(tmp_path / "issued.pem", shared_key("ecdsa-p384").public_key())
    with pytest.raises(ConfigError, match="none of the certificates is for the signer's key"):
        fetch("--leaf-kms-resource", leaf, "--chain-in", files, "--output", tmp_path / "chain.pem")


@file_keys
@pytest.mark.parametrize(
    "tables",
    [
        "[signer.file]\n",
        '[profiles.default]\nsigner = "file:locked.pem"\n[signer.file]\n',
        '[signer.file]\npassword = "wrong"\n[certificate_signer.file]\n',
    ],
    ids=["no profile", "a profile", "of its own"],
)
def test_an_encrypted_key_takes_its_password_from_the_configuration(parent: str, tmp_path: Path, tables: str) -> None:
    """The file needs no profile for that: the plugin's table is all that is asked for."""
    encrypted = shared_key("ecdsa-p256").private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")
    )
    (tmp_path / "locked.pem").write_bytes(encrypted)
    (tmp_path / "locked.pem").chmod(0o600)
    (tmp_path / "password").write_text("pw\n")
    config = tmp_path / "tsa.toml"
    config.write_text(f'{tables}password = {{ file = "password" }}\n')
    result = fetch(
        *("--leaf-kms-resource", "file:locked.pem", "--parent-kms-resource", parent),
        *("--config", config, "--output", tmp_path / "chain.pem"),
    )
    assert result.exit_code == 0, result.output


@file_keys
def test_fields_on_request_are_in_the_certificate(leaf: str, parent: str, tmp_path: Path) -> None:
    output = tmp_path / "chain.pem"
    fetch(
        *("--leaf-kms-resource", leaf, "--parent-kms-resource", parent, "--output", output),
        *(
            "--org-name",
            "o",
            "--country",
            "DE",
            "--common-name",
            "TSU 1",
            "--private-key-days",
            30,
            "--policy-oid",
            "1.2.3",
        ),
        *(
            "--crl-url",
            "http://a.example/c.crl",
            "--ocsp-url",
            "http://o.example",
            "--issuer-url",
            "http://a.example/c",
        ),
    )
    certificate = load_certificates(output)[0]
    assert certificate.subject.rfc4514_string() == "CN=TSU 1,O=o,C=DE"
    for kind in (
        x509.CRLDistributionPoints,
        x509.AuthorityInformationAccess,
        x509.CertificatePolicies,
        x509.PrivateKeyUsagePeriod,
    ):
        assert not extension(certificate, kind).critical
    findings = judge(
        ChainCase(certificates=load_certificates(output), at=datetime.now(UTC)), ["etsi", "sigstore", "acrobat"]
    )
    assert [finding for finding in findings if finding.outcome is Outcome.FAIL] == []


@file_keys
def test_one_key_for_both_is_refused(leaf: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are one key"):
        fetch("--leaf-kms-resource", leaf, "--parent-kms-resource", leaf, "--output", tmp_path / "chain.pem")


@file_keys
def test_a_folder_that_is_not_there_is_one_line(leaf: str, parent: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder, or it cannot be written to"):
        fetch("--leaf-kms-resource", leaf, "--parent-kms-resource", parent, "--output", tmp_path / "no" / "chain.pem")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the leaf's key"),
        (["--leaf-kms-resource", "a:b", "--tink-keyset-path", "k", "--tink-kms-resource", "u"], "give the leaf's key"),
        (["--tink-keyset-path", "k"], "go together"),
        (["--leaf-kms-resource", "a:b"], "--output FILE is missing"),
        (["--leaf-kms-resource", "a:b", "--output", "o"], "--parent-kms-resource URI is missing"),
        (["--leaf-kms-resource", "a:b", "--output", "o", "--parent-kms-resource", "p:", "--chain-in", "c"], "leave"),
        (["--leaf-kms-resource", "a:b", "--csr-out", "r", "--output", "o"], "makes a request and no chain"),
        (
            [
                "--leaf-kms-resource=a:b",
                "--parent-kms-resource=p:",
                "--output=o",
                "--gcp-ca-parent=x",
                "--parent-ca=y:",
            ],
            "name two certificate authorities",
        ),
        (["--leaf-kms-resource=a:b", "--csr-in=r", "--parent-kms-resource=p:", "--output=o"], "give the leaf's key"),
        (["--csr-in=r", "--csr-out=r", "--output=o"], "leave --csr-out and --chain-in out"),
    ],
)
def test_flags_that_contradict_each_other_are_a_usage_error(arguments: list[str], message: str) -> None:
    result = fetch(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.plugin("hashivault")
def test_both_keys_in_openbao_and_a_server_that_runs_on_them(openbao: OpenBao, tmp_path: Path) -> None:
    parent, leaf = openbao.make_key("certs-parent", "ecdsa-p384"), openbao.make_key("certs-leaf")
    environment = {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": ROOT_TOKEN, "HOME": str(tmp_path)}
    output = tmp_path / "chain.pem"
    result = run(
        [
            *("--parent-kms-resource", f"hashivault://{parent}", "--leaf-kms-resource", f"hashivault://{leaf}"),
            *("--org-name", "example.com", "--output", output),
        ],
        environment,
        program="fetch-tsa-certs",
    )
    assert result.returncode == 0, result.stderr
    assert ROOT_TOKEN not in result.stdout + result.stderr
    request, data = encode_request(b"stamped"), b"stamped"
    flags = [
        *("--timestamp-signer", "kms", "--kms-key-resource", f"hashivault://{leaf}"),
        *("--certificate-chain-path", str(output)),
    ]
    with TimestampServer(flags, environment) as server:
        answer = server.ask(request)
    assert answer.granted
    chain = load_certificates(output)
    check_with_openssl(IssuedToken(request=request, response=answer.response, data=data, chain=chain), tmp_path)


@pytest.mark.plugin("tink", "file")
def test_a_tink_keyset_is_the_leaf(openbao: OpenBao, parent: str, tmp_path: Path) -> None:
    kek = openbao.make_key("certs-kek", "aes256-gcm96")
    resource = f"hcvault:///transit/keys/{kek}"
    environment = {"VAULT_ADDR": openbao.address, "VAULT_TOKEN": ROOT_TOKEN, "HOME": str(tmp_path)}
    keyset, output = tmp_path / "keyset.json", tmp_path / "chain.pem"
    made = run(
        ["tink", "create-keyset", "--key-template", "ECDSA_P256", "--out", keyset, "--master-key-uri", resource],
        environment,
    )
    assert made.returncode == 0, made.stderr
    result = run(
        [
            *("--tink-keyset-path", keyset, "--tink-kms-resource", resource),
            *("--parent-kms-resource", parent, "--org-name", "example.com", "--output", output),
        ],
        environment,
        program="fetch-tsa-certs",
    )
    assert result.returncode == 0, result.stderr
    check_path_with_openssl(load_certificates(output), tmp_path)
    flags = [
        *("--timestamp-signer", "tink", "--tink-keyset-path", str(keyset), "--tink-key-resource", resource),
        *("--certificate-chain-path", str(output)),
    ]
    checked = run(["check", *flags], environment)
    assert checked.returncode == 0, checked.stderr


# -- certificate authorities of plugins ---------------------------------------------------------------------------

CA_PLUGIN = """
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import (
    CertificateAuthority, CertificateAuthorityError, CertificateAuthorityOptions, Provider, hookimpl
)
import pathlib

class Options(CertificateAuthorityOptions):
    refuse: bool = False

class Authority(CertificateAuthority):
    def __init__(self, options):
        self.options = options

    def issue(self, request, *, validity, timeout):
        if self.options.refuse:
            raise CertificateAuthorityError("the pool is closed")
        folder = pathlib.Path(self.options.uri.partition(":")[2])
        (folder / "request.der").write_bytes(request)
        return [c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates((folder / "ca.pem").read_bytes())]

@hookimpl
def tsa_certificate_authorities():
    yield Provider(name="acmeca", summary="Acme's CA", options=Options, open=Authority)
"""


@file_keys
def test_a_certificate_authority_of_a_plugin_issues_the_intermediate(
    leaf: str, parent: str, tmp_path: Path, fake_plugin: Any
) -> None:
    site = fake_plugin("acmeca", CA_PLUGIN, distribution="tsa-ca-acmeca")
    names, validity = Names(organization="Acme"), Validity.of(timedelta(days=9))
    acme = LocalKeySigner(new_key())
    root = self_signed_root(acme, names, validity, path_length=1)
    intermediate = intermediate_certificate(
        shared_key("ecdsa-p384").public_key(), Issuer.of(root, acme), names, validity, publication=Publication()
    )
    folder = tmp_path / "ca"
    folder.mkdir()
    write_pem(folder / "ca.pem", [intermediate, root])
    output = tmp_path / "chain.pem"
    arguments = ["--leaf-kms-resource", leaf, "--parent-kms-resource", parent]
    to_output = ["--output", str(output)]
    environment = {"PYTHONPATH": str(site)}
    made = run([*arguments, *to_output, "--parent-ca", f"acmeca:{folder}"], environment, program="fetch-tsa-certs")
    assert made.returncode == 0, made.stderr
    chain = load_certificates(output)
    assert chain[1:] == (intermediate, root)
    check_path_with_openssl(chain, tmp_path)
    request = x509.load_der_x509_csr((folder / "request.der").read_bytes())
    assert request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "sigstore-tsa-intermediate"
    assert request.extensions.get_extension_for_class(x509.ExtendedKeyUsage).critical

    (folder / "request.der").unlink()
    for wrong in (
        ["--crl-url", "x", *to_output],
        ["--policy-oid", "x", *to_output],
        ["--country", "x", *to_output],
        ["--output", str(tmp_path / "no" / "x")],
    ):
        stopped = run([*arguments, "--parent-ca", f"acmeca:{folder}", *wrong], environment, program="fetch-tsa-certs")
        assert stopped.returncode == 2, wrong
        assert len(stopped.stderr.splitlines()) == 1, stopped.stderr
        assert not (folder / "request.der").exists(), "a certificate was issued although the rest is wrong"

    environment["TSA_CERTIFICATE_AUTHORITY__ACMECA__REFUSE"] = "true"
    refused = run([*arguments, *to_output, "--parent-ca", f"acmeca:{folder}"], environment, program="fetch-tsa-certs")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == ["fetch-tsa-certs: error: --parent-ca: the pool is closed"]


@file_keys
def test_a_certificate_authority_that_is_not_installed_is_named(leaf: str, parent: str, tmp_path: Path) -> None:
    with pytest.raises(TsaError, match="no certificate authority 'nosuch' is installed, and"):
        fetch(
            *("--leaf-kms-resource", leaf, "--parent-kms-resource", parent, "--output", tmp_path / "chain.pem"),
            *("--parent-ca", "nosuch:pool"),
        )
