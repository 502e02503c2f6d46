"""The stand-in for Google Cloud KMS is strict where Google is, or its tests would prove little."""

from __future__ import annotations

import google_crc32c
import grpc
import pytest
from google.api_core import exceptions
from google.cloud import kms
from google.cloud.kms_v1.services.key_management_service.transports.grpc import KeyManagementServiceGrpcTransport

from tsa_backends.gcp_kms import KEY_RING, GcpKms


@pytest.fixture
def client(gcp_kms: GcpKms) -> kms.KeyManagementServiceClient:
    channel = grpc.insecure_channel(gcp_kms.address)
    return kms.KeyManagementServiceClient(transport=KeyManagementServiceGrpcTransport(channel=channel))


def test_a_wrong_checksum_of_the_request_is_refused(gcp_kms: GcpKms, client: kms.KeyManagementServiceClient) -> None:
    request = {"name": gcp_kms.make_key("strict"), "digest": {"sha256": b"x" * 32}, "digest_crc32c": 1}
    with pytest.raises(exceptions.InvalidArgument, match="checksum does not match"):
        client.asymmetric_sign(request=request)


def test_a_request_without_checksum_is_not_called_verified(
    gcp_kms: GcpKms, client: kms.KeyManagementServiceClient
) -> None:
    answer = client.asymmetric_sign(request={"name": gcp_kms.make_key("strict"), "digest": {"sha256": b"x" * 32}})
    assert answer.signature
    assert answer.verified_digest_crc32c is False


@pytest.mark.parametrize(
    ("algorithm", "what"),
    [
        ("EC_SIGN_P256_SHA256", {"data": b"x"}),
        ("EC_SIGN_P256_SHA256", {"digest": {"sha384": b"x" * 48}}),
        ("EC_SIGN_ED25519", {"digest": {"sha512": b"x" * 64}}),
    ],
)
def test_what_the_algorithm_does_not_take_is_refused(
    gcp_kms: GcpKms, client: kms.KeyManagementServiceClient, algorithm: str, what: dict[str, object]
) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        client.asymmetric_sign(request={"name": gcp_kms.make_key(f"strict-{algorithm}", algorithm), **what})


def test_a_key_wraps_and_unwraps_with_checksums(gcp_kms: GcpKms, client: kms.KeyManagementServiceClient) -> None:
    gcp_kms.make_key("kek", "GOOGLE_SYMMETRIC_ENCRYPTION")
    key = f"{KEY_RING}/cryptoKeys/kek"
    secret = b"a keyset"
    sealed = client.encrypt(request={"name": key, "plaintext": secret, "plaintext_crc32c": google_crc32c.value(secret)})
    assert sealed.verified_plaintext_crc32c
    assert sealed.ciphertext_crc32c == google_crc32c.value(sealed.ciphertext)
    assert client.decrypt(request={"name": key, "ciphertext": sealed.ciphertext}).plaintext == secret
    damaged = sealed.ciphertext[:-1] + bytes([sealed.ciphertext[-1] ^ 1])
    with pytest.raises(exceptions.InvalidArgument, match="ciphertext is invalid"):
        client.decrypt(request={"name": key, "ciphertext": damaged})
