"""Google Cloud's CA Service as far as issuing one certificate goes: a gRPC server in the test process.

There is no emulator. This one uses google-cloud-private-ca's own message types and real gRPC status codes, issues with
a real key, and misbehaves on demand.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import NameOID
from google.cloud.security import privateca_v1

from tsa_core.api import LocalKeySigner
from tsa_core.certs import Issuer, issue_certificate, new_key
from tsa_core.certs.hierarchy import Names, Validity, self_signed_root

SERVICE = "google.cloud.security.privateca.v1.CertificateAuthorityService"
POOL = "projects/p/locations/europe-west1/caPools/pool"
AUTHORITY = "root-1"
_EXTENSIONS_OF_THE_DESCRIPTION = {x509.BasicConstraints.oid, x509.KeyUsage.oid}


class GcpCa:
    """One pool with one CA, on one port."""

    def __init__(self, *, lifetime: timedelta = timedelta(days=3650)) -> None:
        self._signer = LocalKeySigner(new_key())
        self.root = self_signed_root(self._signer, Names(organization="Google test"), Validity.of(lifetime))
        self._server: grpc.Server | None = None
        self._failures: list[tuple[grpc.StatusCode, str]] = []
        self._change: Callable[[privateca_v1.Certificate], None] | None = None
        self._seen: set[str] = set()
        self.port = 0
        self.calls: list[privateca_v1.CreateCertificateRequest] = []
        """Every request."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen."""
        handler = grpc.unary_unary_rpc_method_handler(
            self._create,
            request_deserializer=privateca_v1.CreateCertificateRequest.deserialize,
            response_serializer=privateca_v1.Certificate.serialize,
        )
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"CreateCertificate": handler}),)
        )
        self.port = self._server.add_insecure_port(self.address)
        self._server.start()

    def kill(self) -> None:
        """End at once."""
        if self._server is not None:
            self._server.stop(grace=None).wait(10)
            self._server = None

    def fail(self, code: grpc.StatusCode, text: str = "injected") -> None:
        """Refuse the next call."""
        self._failures.append((code, text))

    def falsify(self, change: Callable[[privateca_v1.Certificate], None] | None) -> None:
        """Change every answer, until told None."""
        self._change = change

    def _create(
        self, request: privateca_v1.CreateCertificateRequest, context: grpc.ServicerContext
    ) -> privateca_v1.Certificate:
        self.calls.append(request)
        if self._failures:
            context.abort(*self._failures.pop(0))
        if request.parent != POOL:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource '{request.parent}' was not found.")
        if request.issuing_certificate_authority_id not in {"", AUTHORITY}:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.issuing_certificate_authority_id} was not found.")
        if not request.certificate_id or request.certificate_id in self._seen:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "certificate_id is needed in this tier, and once only.")
        self._seen.add(request.certificate_id)
        try:
            answer = self._issue(request)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if self._change:
            self._change(answer)
        return answer

    def _issue(self, request: privateca_v1.CreateCertificateRequest) -> privateca_v1.Certificate:
        config = request.certificate.config
        if request.certificate.pem_csr or not config.public_key.key:
            raise ValueError("this pool issues described certificates only")
        lifetime: Any = request.certificate.lifetime  # a timedelta, which proto-plus does not say
        if lifetime <= timedelta(0):
            raise ValueError("lifetime must be positive")
        public_key: Any = load_pem_public_key(config.public_key.key)
        issuer = Issuer.of(self.root, self._signer)
        now = datetime.now(UTC)
        certificate = issue_certificate(
            subject=_name(config.subject_config.subject),
            public_key=public_key,
            issuer=issuer,
            extensions=[
                *_extensions(config.x509_config),
                (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
                (issuer.authority_key_identifier, False),
            ],
            not_before=now,
            not_after=min(now + lifetime, self.root.not_valid_after_utc),
        )
        return privateca_v1.Certificate(
            name=f"{request.parent}/certificates/{request.certificate_id}",
            pem_certificate=_pem(certificate),
            pem_certificate_chain=[_pem(self.root)],
        )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _name(subject: privateca_v1.Subject) -> x509.Name:
    if not subject.common_name:
        raise ValueError("a subject needs a common name or an alternative name")
    parts = (
        (NameOID.COUNTRY_NAME, subject.country_code),
        (NameOID.ORGANIZATION_NAME, subject.organization),
        (NameOID.COMMON_NAME, subject.common_name),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def _extensions(parameters: privateca_v1.X509Parameters) -> list[tuple[x509.ExtensionType, bool]]:
    options, usage = parameters.ca_options, parameters.key_usage.base_key_usage
    length = options.max_issuer_path_length if "max_issuer_path_length" in options else None
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=options.is_ca, path_length=length if options.is_ca else None), True),
        (
            x509.KeyUsage(
                digital_signature=usage.digital_signature,
                content_commitment=usage.content_commitment,
                key_encipherment=usage.key_encipherment,
                data_encipherment=usage.data_encipherment,
                key_agreement=usage.key_agreement,
                key_cert_sign=usage.cert_sign,
                crl_sign=usage.crl_sign,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        ),
    ]
    for extension in parameters.additional_extensions:
        oid = x509.ObjectIdentifier(".".join(map(str, extension.object_id.object_id_path)))
        if oid in _EXTENSIONS_OF_THE_DESCRIPTION:
            raise ValueError(f"{oid.dotted_string} must not be an additional extension")
        found.append((x509.UnrecognizedExtension(oid, extension.value), extension.critical))
    return found
