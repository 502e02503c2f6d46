"""The contract against a gRPC server of Google's message types, and what is Google's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tsa_backends.gcp_ca import AUTHORITY, POOL, GcpCa
from tsa_backends.timestamp_server import run
from tsa_core.api import CertificateAuthority, CertificateAuthorityError, ConfigError, LocalKeySigner
from tsa_core.certs import certificate_name, intermediate_extensions, issue_request, load_certificates
from tsa_core.testing import CertificateAuthorityContract, ProviderContract, check_path_with_openssl, new_key
from tsa_signer_gcpkms import plugin as plugin_module
from tsa_signer_gcpkms.options import GcpCaOptions

VALIDITY = timedelta(days=30)


@pytest.fixture(scope="module")
def service() -> Iterator[GcpCa]:
    server = GcpCa()
    server.start()
    yield server
    server.kill()


class GcpFixtures:
    @pytest.fixture
    def plugin(self) -> ModuleType:
        return plugin_module

    @pytest.fixture
    def options(self, service: GcpCa) -> Mapping[str, Any]:
        return {"endpoint": service.address, "plaintext": True}

    @pytest.fixture
    def uri(self) -> str:
        return f"gcp:{POOL}"


class TestProvider(GcpFixtures, ProviderContract):
    kind = "ca"

    @pytest.fixture
    def distribution_name(self) -> str:
        return "tsa-signer-gcpkms"


class TestCertificateAuthority(GcpFixtures, CertificateAuthorityContract):
    @pytest.fixture
    def unreachable_authority(self, open_authority: Callable[..., CertificateAuthority]) -> CertificateAuthority:
        gone = GcpCa()
        gone.start()
        gone.kill()
        return open_authority(endpoint=gone.address)


@pytest.fixture
def open_gcp(service: GcpCa) -> Iterator[Callable[..., CertificateAuthority]]:
    opened: list[CertificateAuthority] = []

    def open_one(uri: str = f"gcp:{POOL}", **options: Any) -> CertificateAuthority:
        [provider] = plugin_module.tsa_certificate_authorities()
        settings = {"uri": uri, "endpoint": service.address, "plaintext": True, **options}
        opened.append(provider.open(provider.options.model_validate(settings)))
        return opened[-1]

    yield open_one
    for authority in opened:
        authority.close()


def request(subject: x509.Name | None = None) -> bytes:
    signer = LocalKeySigner(new_key())
    return issue_request(
        subject=subject or certificate_name("intermediate", organization="Example", country="DE"),
        signer=signer,
        extensions=intermediate_extensions(signer.public_key, None, usage_critical=True),
    ).public_bytes(Encoding.DER)


def test_the_call_is_the_reference_systems(service: GcpCa, open_gcp: Callable[..., CertificateAuthority]) -> None:
    open_gcp().issue(request(), validity=VALIDITY, timeout=10)
    sent = service.calls[-1]
    config = sent.certificate.config
    assert sent.parent == POOL
    assert sent.request_id
    assert sent.issuing_certificate_authority_id == ""
    assert not sent.certificate.pem_csr
    lifetime: Any = sent.certificate.lifetime
    assert lifetime == VALIDITY
    assert config.x509_config.ca_options.is_ca
    assert "max_issuer_path_length" in config.x509_config.ca_options
    assert config.x509_config.ca_options.max_issuer_path_length == 0
    usage = config.x509_config.key_usage.base_key_usage
    assert (usage.cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    [extension] = config.x509_config.additional_extensions
    assert list(extension.object_id.object_id_path) == [2, 5, 29, 37]
    assert extension.critical
    assert extension.value == bytes.fromhex("300a06082b06010505070308")
    subject = config.subject_config.subject
    assert (subject.common_name, subject.organization, subject.country_code) == ("intermediate", "Example", "DE")


def test_each_call_has_identifiers_of_its_own(service: GcpCa, open_gcp: Callable[..., CertificateAuthority]) -> None:
    authority = open_gcp()
    for _ in range(2):
        authority.issue(request(), validity=VALIDITY, timeout=10)
    first, second = service.calls[-2:]
    assert first.certificate_id != second.certificate_id
    assert first.request_id != second.request_id


def test_the_uri_may_name_a_ca_of_the_pool(service: GcpCa, open_gcp: Callable[..., CertificateAuthority]) -> None:
    open_gcp(f"gcp:{POOL}/certificateAuthorities/{AUTHORITY}").issue(request(), validity=VALIDITY, timeout=10)
    assert service.calls[-1].issuing_certificate_authority_id == AUTHORITY
    with pytest.raises(CertificateAuthorityError, match="NotFound: other was not found"):
        open_gcp(f"gcp:{POOL}/certificateAuthorities/other").issue(request(), validity=VALIDITY, timeout=10)


@pytest.mark.parametrize("uri", ["gcp:", "gcp:projects/p", f"gcp:{POOL}/certificates/1", "gcp:/caPools/x", "gcp:a b"])
def test_a_uri_that_is_no_pool_is_refused(open_gcp: Callable[..., CertificateAuthority], uri: str) -> None:
    with pytest.raises(ConfigError, match="is no pool of Google's CA Service"):
        open_gcp(uri)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "the identity needs privateca.certificates.create on this pool"),
        (grpc.StatusCode.UNAUTHENTICATED, "the identity needs privateca.certificates.create on this pool"),
        (grpc.StatusCode.FAILED_PRECONDITION, "FailedPrecondition: injected"),
        (grpc.StatusCode.UNAVAILABLE, "ServiceUnavailable: injected"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "ResourceExhausted: injected"),
    ],
)
def test_refusals_say_what_google_said_and_are_not_tried_again(
    service: GcpCa, open_gcp: Callable[..., CertificateAuthority], code: grpc.StatusCode, expected: str
) -> None:
    service.fail(code)
    before = len(service.calls)
    with pytest.raises(CertificateAuthorityError) as caught:
        open_gcp().issue(request(), validity=VALIDITY, timeout=10)
    assert expected in str(caught.value)
    assert POOL in str(caught.value)
    # A second call could make, and bill, a second certificate.
    assert len(service.calls) == before + 1


def test_a_certificate_for_another_key_is_refused(
    service: GcpCa, open_gcp: Callable[..., CertificateAuthority]
) -> None:
    def other(answer: Any) -> None:
        answer.pem_certificate = answer.pem_certificate_chain[0]

    service.falsify(other)
    try:
        with pytest.raises(CertificateAuthorityError, match="is for another key"):
            open_gcp().issue(request(), validity=VALIDITY, timeout=10)
    finally:
        service.falsify(None)


def test_an_answer_without_a_certificate_is_refused(
    service: GcpCa, open_gcp: Callable[..., CertificateAuthority]
) -> None:
    def empty(answer: Any) -> None:
        answer.pem_certificate = ""

    service.falsify(empty)
    try:
        with pytest.raises(CertificateAuthorityError, match="holds no certificate"):
            open_gcp().issue(request(), validity=VALIDITY, timeout=10)
    finally:
        service.falsify(None)


def test_names_that_google_has_no_field_for_are_refused(open_gcp: Callable[..., CertificateAuthority]) -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "x"),
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "VATDE-1"),
        ]
    )
    with pytest.raises(CertificateAuthorityError, match=r"no field for 2\.5\.4\.97"):
        open_gcp().issue(request(subject), validity=VALIDITY, timeout=10)
    with pytest.raises(CertificateAuthorityError, match="no common name"):
        open_gcp().issue(
            request(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")])), validity=VALIDITY, timeout=10
        )


def test_plaintext_is_for_this_machine_only(open_gcp: Callable[..., CertificateAuthority]) -> None:
    with pytest.raises(ConfigError, match=r"is not 127\.0\.0\.1:PORT"):
        open_gcp(endpoint="ca.example.com:443")


def test_missing_credentials_are_one_line(open_gcp: Callable[..., CertificateAuthority], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Google credentials: FileNotFoundError"):
        open_gcp(plaintext=False, credentials_file=str(tmp_path / "no.json"))
    (tmp_path / "bad.json").write_text('{"private_key": "hunter2"}')
    with pytest.raises(ConfigError, match="no Google credentials") as caught:
        open_gcp(plaintext=False, credentials_file=str(tmp_path / "bad.json"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.plugin("file")
@pytest.mark.parametrize("flag", ["--gcp-ca-parent", "--gcp-ca-root"])
def test_fetch_tsa_certs_makes_a_chain_under_the_pool(service: GcpCa, tmp_path: Path, flag: str) -> None:
    for name in ("leaf", "parent"):
        path = tmp_path / f"{name}.pem"
        path.write_bytes(new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
    output = tmp_path / "chain.pem"
    arguments: list[str | Path] = [
        *("--leaf-kms-resource", f"file:{tmp_path / 'leaf.pem'}"),
        *("--parent-kms-resource", f"file:{tmp_path / 'parent.pem'}"),
        *(flag, f"{POOL}/certificateAuthorities/{AUTHORITY}"),
        *("--org-name", "example.com", "--parent-validity", "365", "--output", output),
    ]
    environment = {
        "TSA_CERTIFICATE_AUTHORITY__GCP__ENDPOINT": service.address,
        "TSA_CERTIFICATE_AUTHORITY__GCP__PLAINTEXT": "true",
    }
    result = run(arguments, environment, program="fetch-tsa-certs")
    assert result.returncode == 0, result.stderr
    leaf, intermediate, root = load_certificates(output)
    assert root == service.root
    assert intermediate.subject.rfc4514_string() == "CN=sigstore-tsa-intermediate,O=example.com"
    assert leaf.not_valid_after_utc == intermediate.not_valid_after_utc
    check_path_with_openssl([leaf, intermediate, root], tmp_path)
    judged = run(["check-chain", output, "--key", f"file:{tmp_path / 'leaf.pem'}", "--profile", "sigstore"], {})
    assert judged.returncode == 0, judged.stdout


def test_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tsa_signer_gcpkms.authority", raising=False)
    monkeypatch.setitem(sys.modules, "google.cloud.security", None)
    (provider,) = plugin_module.tsa_certificate_authorities()
    with pytest.raises(ConfigError, match=r"install .*tsa.signer.gcpkms.*\[ca\]"):
        provider.open(GcpCaOptions(uri=f"gcp:{POOL}"))
