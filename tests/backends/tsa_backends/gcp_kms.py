"""Google Cloud KMS as far as signing and key wrapping go: a gRPC server in the test process.

There is no official emulator. This one uses google-cloud-kms's own message types, real keys, real CRC32C and real
gRPC status codes, and misbehaves on demand.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from google.cloud import kms
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tsa_core.testing import new_key, shared_key

SERVICE = "google.cloud.kms.v1.KeyManagementService"
KEY_RING = "projects/p/locations/europe-west1/keyRings/r"
Algorithm: Any = kms.CryptoKeyVersion.CryptoKeyVersionAlgorithm
State: Any = kms.CryptoKeyVersion.CryptoKeyVersionState
_HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}

KEY_KINDS = {
    "EC_SIGN_P256_SHA256": "ecdsa-p256",
    "EC_SIGN_P384_SHA384": "ecdsa-p384",
    "EC_SIGN_ED25519": "ed25519",
    "RSA_SIGN_PKCS1_2048_SHA256": "rsa-2048",
    "RSA_SIGN_PKCS1_3072_SHA256": "rsa-3072",
    "RSA_SIGN_PKCS1_4096_SHA256": "rsa-4096",
    "RSA_SIGN_PKCS1_4096_SHA512": "rsa-4096",
    "RSA_SIGN_PSS_2048_SHA256": "rsa-2048",
    "RSA_SIGN_PSS_4096_SHA512": "rsa-4096",
    "RSA_SIGN_RAW_PKCS1_2048": "rsa-2048",
    "RSA_DECRYPT_OAEP_2048_SHA256": "rsa-2048",
    "PQ_SIGN_ML_DSA_44": "ml-dsa-44",
    "PQ_SIGN_ML_DSA_65": "ml-dsa-65",
    "PQ_SIGN_ML_DSA_87": "ml-dsa-87",
}
"""What can be made here: GCP's algorithm and the kind of the key behind it."""


class GcpKms:
    """One server on one port; its keys outlive `kill`, as Google's do."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        self.ca_file = folder / "gcp-ca.pem"
        self._credentials = _server_credentials(self.ca_file) if tls else None
        self._server: grpc.Server | None = None
        self._answering = threading.Event()
        self._answering.set()
        self._keys: dict[str, list[kms.CryptoKeyVersion]] = {}
        self._private: dict[str, Any] = {}
        self._failures: dict[str, list[tuple[grpc.StatusCode, str, float | None]]] = defaultdict(list)
        self._change: dict[str, Callable[[Any], None]] = {}
        self._looks: dict[str, int] = {}
        self.generation_looks = 1
        """How often a version that was just created is looked at before it is ready."""
        self.port = 0
        self.calls: list[tuple[str, Any, dict[str, str]]] = []
        """Every request: method, message and metadata."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, on the port of the first time again."""
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name, method), request_deserializer=request.deserialize, response_serializer=_serialize
            )
            for name, method, request in (
                ("GetPublicKey", self._get_public_key, kms.GetPublicKeyRequest),
                ("ListCryptoKeyVersions", self._list, kms.ListCryptoKeyVersionsRequest),
                ("AsymmetricSign", self._sign, kms.AsymmetricSignRequest),
                ("CreateCryptoKey", self._create, kms.CreateCryptoKeyRequest),
                ("GetCryptoKeyVersion", self._get_version, kms.GetCryptoKeyVersionRequest),
                ("Encrypt", self._encrypt, kms.EncryptRequest),
                ("Decrypt", self._decrypt, kms.DecryptRequest),
            )
        }
        self._server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if self._credentials is not None:
            self.port = self._server.add_secure_port(self.address, self._credentials)
        else:
            self.port = self._server.add_insecure_port(self.address)
        self._server.start()

    def kill(self) -> None:
        """End at once, requests in flight too."""
        self._answering.set()
        if self._server is not None:
            self._server.stop(grace=None).wait(10)
            self._server = None

    def freeze(self) -> None:
        """Take requests and do not answer them."""
        self._answering.clear()

    def thaw(self) -> None:
        """Answer again."""
        self._answering.set()

    # -- misbehaviour ---------------------------------------------------------------------------------------------

    def fail(
        self,
        method: str,
        code: grpc.StatusCode,
        text: str = "injected",
        *,
        times: int = 1,
        wait_seconds: float | None = None,
    ) -> None:
        """Refuse the next calls of a method, with a RetryInfo when a wait is given."""
        self._failures[method] += [(code, text, wait_seconds)] * times

    @contextmanager
    def changing(self, method: str, change: Callable[[Any], None]) -> Iterator[None]:
        """Falsify the answers of a method."""
        self._change[method] = change
        try:
            yield
        finally:
            del self._change[method]

    def _handler(self, name: str, method: Callable[[Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append((name, request, dict(context.invocation_metadata())))
            self._answering.wait(30)
            if self._failures[name]:
                code, text, wait_seconds = self._failures[name].pop(0)
                if wait_seconds is None:
                    context.abort(code, text)
                else:
                    context.abort_with_status(_status_with_wait(code, text, wait_seconds))
            try:
                answer = method(request)
            except KeyError as error:
                context.abort(grpc.StatusCode.NOT_FOUND, f"{error.args[0]} not found.")
            except FileExistsError as error:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{error} already exists.")
            except PermissionError as error:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            except ValueError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            if change := self._change.get(name):
                change(answer)
            return answer

        return handle

    # -- keys -----------------------------------------------------------------------------------------------------

    def make_key(self, name: str, algorithm: str = "EC_SIGN_P256_SHA256", *, new_key: Any = None) -> str:
        """Make a key, or a further version of it, and return the version's full name."""
        key = f"{KEY_RING}/cryptoKeys/{name}"
        versions = self._keys.setdefault(key, [])
        version = kms.CryptoKeyVersion(
            name=f"{key}/cryptoKeyVersions/{len(versions) + 1}",
            state=State.ENABLED,
            algorithm=Algorithm[algorithm],
            protection_level=kms.ProtectionLevel.SOFTWARE,
        )
        if algorithm == "GOOGLE_SYMMETRIC_ENCRYPTION":
            self._private[version.name] = AESGCM(os.urandom(32))
        else:
            self._private[version.name] = new_key or shared_key(KEY_KINDS[algorithm])
        versions.append(version)
        return str(version.name)

    def set_state(self, version: str, state: str) -> None:
        """Enable, disable or destroy a version: ENABLED, DISABLED, DESTROY_SCHEDULED, DESTROYED."""
        self._version(version).state = State[state]

    def _version(self, name: str) -> kms.CryptoKeyVersion:
        for version in self._keys.get(name.partition("/cryptoKeyVersions/")[0], []):
            if version.name == name:
                return version
        raise KeyError(name)

    def _usable(self, name: str) -> kms.CryptoKeyVersion:
        version = self._version(name)
        if version.state != State.ENABLED:
            raise PermissionError(f"{name} is not enabled, current state is: {version.state.name}.")
        return version

    # -- methods --------------------------------------------------------------------------------------------------

    def _list(self, request: kms.ListCryptoKeyVersionsRequest) -> kms.ListCryptoKeyVersionsResponse:
        """Two on a page, so that a client has to turn them; the filter of Google's is only the one on ENABLED."""
        versions = [v for v in self._keys[request.parent] if not request.filter or v.state == State.ENABLED]
        first = int(request.page_token or 0)
        return kms.ListCryptoKeyVersionsResponse(
            crypto_key_versions=versions[first : first + 2],
            next_page_token=str(first + 2) if len(versions) > first + 2 else "",
            total_size=len(versions),
        )

    def _create(self, request: kms.CreateCryptoKeyRequest) -> kms.CryptoKey:
        """Create a key with a version that is not ready; asymmetric keys have no primary version."""
        key, template = f"{request.parent}/cryptoKeys/{request.crypto_key_id}", request.crypto_key.version_template
        if request.parent != KEY_RING:
            raise KeyError(request.parent)
        if key in self._keys:
            raise FileExistsError(key)
        if request.crypto_key.purpose != kms.CryptoKey.CryptoKeyPurpose.ASYMMETRIC_SIGN:
            raise ValueError("only keys for signing are made here.")
        name = self.make_key(
            request.crypto_key_id, template.algorithm.name, new_key=new_key(KEY_KINDS[template.algorithm.name])
        )
        version = self._version(name)
        version.state, version.protection_level = State.PENDING_GENERATION, template.protection_level
        self._looks[name] = self.generation_looks
        return kms.CryptoKey(name=key, purpose=request.crypto_key.purpose, version_template=template)

    def _get_version(self, request: kms.GetCryptoKeyVersionRequest) -> kms.CryptoKeyVersion:
        version = self._version(request.name)
        if version.state == State.PENDING_GENERATION:
            self._looks[request.name] -= 1
            if self._looks[request.name] < 0:
                version.state = State.ENABLED
        return version

    def _get_public_key(self, request: kms.GetPublicKeyRequest) -> kms.PublicKey:
        version = self._usable(request.name)
        private = self._private[version.name]
        if isinstance(private, AESGCM):
            raise ValueError(f"{version.name} is not an asymmetric key.")
        answer = kms.PublicKey(
            name=version.name, algorithm=version.algorithm, protection_level=version.protection_level
        )
        public = private.public_key()
        if version.algorithm.name.startswith("PQ_"):
            if request.public_key_format != kms.PublicKey.PublicKeyFormat.NIST_PQC:
                raise ValueError("public_key_format must be NIST_PQC for this algorithm.")
            data = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            answer.public_key_format = request.public_key_format
            answer.public_key = kms.ChecksummedData(data=data, crc32c_checksum=google_crc32c.value(data))
            return answer
        answer.pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        answer.pem_crc32c = google_crc32c.value(answer.pem.encode())
        return answer

    def _sign(self, request: kms.AsymmetricSignRequest) -> kms.AsymmetricSignResponse:
        version = self._usable(request.name)
        name = version.algorithm.name
        private = self._private[version.name]
        digest_kind = kms.Digest.pb(request.digest).WhichOneof("digest")
        digest = getattr(request.digest, digest_kind) if digest_kind else b""
        if (digest and request.data) or bool(digest) == ("ED25519" in name or name.startswith("PQ_")):
            raise ValueError(f"{name} takes a digest or data, and not both.")
        if digest_kind and not name.endswith(digest_kind.upper()):
            raise ValueError(f"{name} does not go with {digest_kind}.")
        if isinstance(private, rsa.RSAPrivateKey):
            scheme: Any = padding.PKCS1v15()
            if "_PSS_" in name:
                scheme = padding.PSS(padding.MGF1(_HASHES[digest_kind]), len(digest))
            signature = private.sign(digest, scheme, Prehashed(_HASHES[digest_kind]))
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            signature = private.sign(digest, ec.ECDSA(Prehashed(_HASHES[digest_kind])))
        else:
            signature = private.sign(request.data)
        return kms.AsymmetricSignResponse(
            signature=signature,
            signature_crc32c=google_crc32c.value(signature),
            verified_digest_crc32c=_verified(digest, request.digest_crc32c),
            verified_data_crc32c=_verified(request.data, request.data_crc32c),
            name=version.name,
            protection_level=version.protection_level,
        )

    def _encrypt(self, request: kms.EncryptRequest) -> kms.EncryptResponse:
        key = request.name.partition("/cryptoKeyVersions/")[0]
        version = self._usable(self._keys[key][-1].name)
        nonce = os.urandom(12)
        sealed = self._private[version.name].encrypt(nonce, request.plaintext, request.additional_authenticated_data)
        return kms.EncryptResponse(
            name=version.name,
            ciphertext=nonce + sealed,
            ciphertext_crc32c=google_crc32c.value(nonce + sealed),
            verified_plaintext_crc32c=_verified(request.plaintext, request.plaintext_crc32c),
            verified_additional_authenticated_data_crc32c=_verified(
                request.additional_authenticated_data, request.additional_authenticated_data_crc32c
            ),
        )

    def _decrypt(self, request: kms.DecryptRequest) -> kms.DecryptResponse:
        version = self._usable(self._keys[request.name][-1].name)
        nonce, sealed = request.ciphertext[:12], request.ciphertext[12:]
        try:
            plaintext = self._private[version.name].decrypt(nonce, sealed, request.additional_authenticated_data)
        except InvalidTag:
            raise ValueError("Decryption failed: the ciphertext is invalid.") from None
        return kms.DecryptResponse(plaintext=plaintext, plaintext_crc32c=google_crc32c.value(plaintext))


def _status_with_wait(code: grpc.StatusCode, text: str, wait_seconds: float) -> Any:
    """Return a status whose details say when to come back."""
    delay = duration_pb2.Duration(seconds=int(wait_seconds), nanos=round(wait_seconds % 1 * 1e9))
    status = status_pb2.Status(code=code.value[0], message=text)
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return rpc_status.to_status(status)


def _serialize(message: Any) -> bytes:
    serialized: bytes = type(message).serialize(message)
    return serialized


def _verified(data: bytes, checksum: int | None) -> bool:
    """Say whether a checksum came along; a wrong one is refused, as Google's server does."""
    if checksum is None or not data:
        return False
    if checksum != google_crc32c.value(data):
        raise ValueError("The checksum does not match the data.")
    return True


def _server_credentials(ca_file: Path) -> grpc.ServerCredentials:
    """Return TLS credentials for localhost and write the certificate that clients have to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    ca_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return grpc.ssl_server_credentials([(pem, ca_file.read_bytes())])


def write_service_account(path: Path) -> str:
    """Write a service account's file, as Google hands them out, and return the secret in it."""
    key = shared_key("rsa-2048")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "0123456789abcdef",
        "private_key": pem,
        "client_email": "tsa@p.iam.gserviceaccount.com",
        "client_id": "1",
        # Nobody asks it: the client signs its own access tokens with the key.
        "token_uri": "http://127.0.0.1:1/token",
    }
    path.write_text(json.dumps(account))
    return pem.splitlines()[3]
