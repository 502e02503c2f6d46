"""Keys that encrypt Tink keysets, in the servers of this folder, used by Tink's own integrations: the other side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tink
from tink import signature

from tsa_backends.gcp_kms import GcpKms
from tsa_backends.ministack import AWS_ENVIRONMENT, Ministack
from tsa_backends.openbao import ROOT_TOKEN, OpenBao


@dataclass(frozen=True, kw_only=True)
class Kek:
    """One key encryption key.

    `settings` are what `[signer.tink]` needs to use it, `environment` what an operator sets instead, `other_uri` is
    another key of the same server. `aead` is Tink's own way to the key.
    """

    uri: str
    other_uri: str
    settings: Mapping[str, Any] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    aead: Callable[[], Any]

    def write_keyset(self, path: Path, template: str, *, binary: bool = False) -> Any:
        """Have Tink make and encrypt a keyset; return its handle."""
        signature.register()
        handle = tink.new_keyset_handle(getattr(signature.signature_key_templates, template))
        if binary:
            path.write_bytes(tink.proto_keyset_format.serialize_encrypted(handle, self.aead(), b""))
        else:
            path.write_text(tink.json_proto_keyset_format.serialize_encrypted(handle, self.aead(), b""))
        return handle

    def read_keyset(self, path: Path, *, binary: bool = False) -> Any:
        """Have Tink read and decrypt a keyset; return its handle."""
        signature.register()
        if binary:
            return tink.proto_keyset_format.parse_encrypted(path.read_bytes(), self.aead(), b"")
        return tink.json_proto_keyset_format.parse_encrypted(path.read_text(), self.aead(), b"")


def vault_kek(server: OpenBao, name: str = "tsa-kek") -> Kek:
    """Make a key in the transit engine of an OpenBao."""
    import hvac
    from tink.integration import hcvault

    server.make_key(name, "aes256-gcm96")
    server.make_key(f"{name}-other", "aes256-gcm96")

    def aead() -> Any:
        return hcvault.new_aead(f"transit/keys/{name}", hvac.Client(url=server.address, token=ROOT_TOKEN))

    return Kek(
        uri=f"hcvault:///transit/keys/{name}",
        other_uri=f"hcvault:///transit/keys/{name}-other",
        settings={"hcvault_address": server.address, "hcvault_token": ROOT_TOKEN},
        environment={"VAULT_ADDR": server.address, "VAULT_TOKEN": ROOT_TOKEN},
        aead=aead,
    )


def aws_kek(server: Ministack) -> Kek:
    """Make a key in an AWS emulator."""
    from tink.integration import awskms

    arns = [server.make_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") for _ in range(2)]
    uri, other_uri = (f"aws-kms://{arn}" for arn in arns)
    return Kek(
        uri=uri,
        other_uri=other_uri,
        settings={"aws_endpoint_url": server.address},
        environment={**AWS_ENVIRONMENT, "AWS_ENDPOINT_URL_KMS": server.address},
        aead=lambda: awskms.new_client(boto3_client=server.client()).get_aead(uri),
    )


def gcp_kek(server: GcpKms, name: str = "tsa-kek") -> Kek:
    """Make a key in the stand-in for Google Cloud KMS."""
    import grpc
    from google.cloud import kms
    from google.cloud.kms_v1.services.key_management_service.transports.grpc import KeyManagementServiceGrpcTransport
    from tink.integration import gcpkms

    uri, other_uri = (
        f"gcp-kms://{server.make_key(key, 'GOOGLE_SYMMETRIC_ENCRYPTION').partition('/cryptoKeyVersions/')[0]}"
        for key in (name, f"{name}-other")
    )

    def aead() -> Any:
        transport = KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(server.address))
        client = kms.KeyManagementServiceClient(transport=transport)
        return gcpkms.new_client(kms_v1_client=client).get_aead(uri)

    return Kek(
        uri=uri,
        other_uri=other_uri,
        settings={"gcp_endpoint": server.address, "gcp_plaintext": True},
        environment={
            "TSA_SIGNER__TINK__GCP_ENDPOINT": server.address,
            "TSA_SIGNER__TINK__GCP_PLAINTEXT": "true",
        },
        aead=aead,
    )
