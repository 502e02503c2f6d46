"""Has certificates issued by a pool of Google Cloud's CA Service.

Permissions: privateca.certificates.create on the pool (roles/privateca.certificateRequester). Authentication: Google's
application default credentials or a credentials file. What leaves the machine: the public key and the name that the
certificate will show. One certificate is one gRPC call, and costs what Google charges for it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.security import privateca_v1
from google.cloud.security.privateca_v1.services.certificate_authority_service.transports.grpc import (
    CertificateAuthorityServiceGrpcTransport,
)

from tsa_core.api import CertificateAuthority, CertificateAuthorityError, ConfigError, one_line
from tsa_signer_gcpkms.options import GcpCaOptions
from tsa_signer_gcpkms.transport import open_transport

_URI: Final = re.compile(
    r"gcp:(?://)?(?P<pool>projects/[^/\s]+/locations/[^/\s]+/caPools/[^/\s]+)"
    r"(?:/certificateAuthorities/(?P<authority>[^/\s]+))?"
)
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_SUBJECT_FIELDS: Final = {
    NameOID.COMMON_NAME: "common_name",
    NameOID.ORGANIZATION_NAME: "organization",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "organizational_unit",
    NameOID.COUNTRY_NAME: "country_code",
    NameOID.LOCALITY_NAME: "locality",
    NameOID.STATE_OR_PROVINCE_NAME: "province",
}
_ISSUED_BY_GOOGLE: Final = (x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid)
"""What the service computes by itself and lets nobody ask for."""


class GcpCertificateAuthority(CertificateAuthority):
    """One pool, and one of its CAs if the URI names it."""

    def __init__(
        self, client: privateca_v1.CertificateAuthorityServiceClient, *, pool: str, authority: str | None
    ) -> None:
        self._client = client
        self._pool = pool
        self._authority = authority or ""

    def issue(self, request: bytes, *, validity: timedelta, timeout: float) -> Sequence[bytes]:
        """Return the certificate and its issuers, DER; the pool's policy may shorten the validity or refuse.

        What the request asks for goes to Google as a description and not as PKCS #10, because there an extended
        key usage cannot be critical. A call that failed half-way is not tried again: a certificate may exist.
        """
        asked = _read_request(request)
        name = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if not name:
            raise CertificateAuthorityError("the request's subject has no common name, which the CA Service demands")
        identifier = f"tsa-{uuid.uuid4().hex}"
        order = privateca_v1.CreateCertificateRequest(
            parent=self._pool,
            certificate_id=identifier,
            request_id=str(uuid.uuid4()),
            issuing_certificate_authority_id=self._authority,
            certificate=privateca_v1.Certificate(lifetime=validity, config=_description(asked)),
        )
        issued = self._create(order, timeout)
        chain = [_read_certificate(pem) for pem in (issued.pem_certificate, *issued.pem_certificate_chain)]
        if _key_info(chain[0].public_key()) != _key_info(asked.public_key()):
            raise CertificateAuthorityError(f"{self._pool}: the certificate that came back is for another key")
        return [certificate.public_bytes(Encoding.DER) for certificate in chain]

    def _create(self, order: privateca_v1.CreateCertificateRequest, timeout: float) -> privateca_v1.Certificate:
        try:
            return self._client.create_certificate(request=order, timeout=timeout, retry=None)
        except (exceptions.PermissionDenied, exceptions.Unauthenticated) as error:
            raise CertificateAuthorityError(
                f"{self._pool}: {type(error).__name__}: {one_line(error.message)}; the identity needs "
                "privateca.certificates.create on this pool"
            ) from None
        except exceptions.GoogleAPICallError as error:
            raise CertificateAuthorityError(
                f"{self._pool}: {type(error).__name__}: {one_line(error.message)}"
            ) from None
        except GoogleAuthError as error:
            raise CertificateAuthorityError(
                f"{self._pool}: no access token: {type(error).__name__}: {one_line(error)}"
            ) from None
        except (grpc.RpcError, ValueError) as error:
            # ValueError: a call on a channel that is closed.
            raise CertificateAuthorityError(f"{self._pool}: {type(error).__name__}: {one_line(error)}") from None

    def close(self) -> None:
        """Close the channel."""
        transport: Any = self._client.transport  # whose close has no type
        transport.close()


def open_gcp_authority(options: GcpCaOptions) -> GcpCertificateAuthority:
    """Return the CA that the URI names; raises ConfigError for settings that cannot be used."""
    parts = _URI.fullmatch(options.uri)
    if parts is None:
        raise ConfigError(
            f"{options.uri!r} is no pool of Google's CA Service; write "
            "gcp:projects/PROJECT/locations/LOCATION/caPools/POOL, and /certificateAuthorities/CA after it for one"
        )
    client = privateca_v1.CertificateAuthorityServiceClient(
        transport=open_transport(
            CertificateAuthorityServiceGrpcTransport,
            endpoint=options.endpoint,
            plaintext=options.plaintext,
            credentials_file=options.credentials_file,
            scope=_SCOPE,
            setting="certificate_authority.gcp.{}".format,
        )
    )
    return GcpCertificateAuthority(client, pool=parts["pool"], authority=parts["authority"])


def _read_request(request: bytes) -> x509.CertificateSigningRequest:
    try:
        asked = x509.load_der_x509_csr(request)
        valid = asked.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateAuthorityError(f"the certification request cannot be read: {one_line(error)}") from None
    if not valid:
        # Google never sees the signature, so nobody else would notice that the key is not the requester's.
        raise CertificateAuthorityError("the certification request's signature does not verify")
    return asked


def _description(asked: x509.CertificateSigningRequest) -> privateca_v1.CertificateConfig:
    """Return what the request asks for in Google's words; raises CertificateAuthorityError for what has none."""
    subject = {}
    for attribute in asked.subject:
        if attribute.oid not in _SUBJECT_FIELDS:
            raise CertificateAuthorityError(f"the CA Service has no field for {attribute.oid.dotted_string} in a name")
        subject[_SUBJECT_FIELDS[attribute.oid]] = str(attribute.value)
    parameters = privateca_v1.X509Parameters()
    for extension in asked.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            parameters.ca_options = privateca_v1.X509Parameters.CaOptions(
                is_ca=value.ca, max_issuer_path_length=value.path_length
            )
        elif isinstance(value, x509.KeyUsage):
            parameters.key_usage = _key_usage(value)
        elif extension.oid not in _ISSUED_BY_GOOGLE:
            parameters.additional_extensions.append(
                privateca_v1.X509Extension(
                    object_id=privateca_v1.ObjectId(
                        object_id_path=[int(arc) for arc in extension.oid.dotted_string.split(".")]
                    ),
                    critical=extension.critical,
                    value=value.public_bytes(),
                )
            )
    return privateca_v1.CertificateConfig(
        subject_config=privateca_v1.CertificateConfig.SubjectConfig(subject=privateca_v1.Subject(**subject)),
        x509_config=parameters,
        public_key=privateca_v1.PublicKey(
            format_=privateca_v1.PublicKey.KeyFormat.PEM,
            key=asked.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ),
    )


def _key_usage(usage: x509.KeyUsage) -> privateca_v1.KeyUsage:
    return privateca_v1.KeyUsage(
        base_key_usage=privateca_v1.KeyUsage.KeyUsageOptions(
            digital_signature=usage.digital_signature,
            content_commitment=usage.content_commitment,
            key_encipherment=usage.key_encipherment,
            data_encipherment=usage.data_encipherment,
            key_agreement=usage.key_agreement,
            cert_sign=usage.key_cert_sign,
            crl_sign=usage.crl_sign,
        )
    )


def _read_certificate(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode("utf-8"))
    except ValueError as error:
        raise CertificateAuthorityError(f"the CA Service's answer holds no certificate: {one_line(error)}") from None


def _key_info(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded
