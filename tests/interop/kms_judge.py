"""AWS KMS and Google Cloud KMS from other people's parts, in Go (`tests/interop/kms`), as servers of a test."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.interop import builds

ACCESS_KEY = "AKIAJUDGE0000000"
SECRET_KEY = "judge-secret-access-key-7c11"
REGION = "eu-west-1"
KEY_RING = "projects/p/locations/europe-west1/keyRings/r"


class KmsJudge:
    """One server; a context manager. Raises NoToolchain or BuildFailed when it cannot be built here."""

    kind = ""
    lines = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._command = [str(builds.built("kms") / "kms"), self.kind, str(folder)]
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self.printed: list[str] = []

    def __enter__(self) -> Self:
        self._log = (self.folder / "judge.log").open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        self.printed = [self._process.stdout.readline().strip() for _ in range(self.lines)]
        assert all(self.printed), (self.folder / "judge.log").read_text(encoding="utf-8")
        return self

    @property
    def address(self) -> str:
        """Where the service is."""
        return self.printed[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        if self._log is not None:
            self._log.close()

    def judge(self, **faults: Any) -> None:
        """Let this and nothing else go wrong from now on; `Faults` in main.go says what there is."""
        body = json.dumps(faults).encode()
        with urllib.request.urlopen(f"{self.printed[-1]}/judge", data=body, timeout=30):
            pass


class AwsJudge(KmsJudge):
    """AWS KMS by local-kms, which lets only requests pass whose signature AWS's own signer makes too."""

    kind = "aws"

    @property
    def environment(self) -> dict[str, str]:
        """What an operator sets to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": "judge-session-token-0c4b",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_KMS": self.address,
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Return AWS's own client, for making and changing keys."""
        import boto3

        return boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=self.address,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def make_key(self, spec: str = "ECC_NIST_P256") -> str:
        """Make a key and return its ARN."""
        arn: str = self.client().create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        return arn


class GcpJudge(KmsJudge):
    """Google Cloud KMS by Google's service definition for Go; over TLS it checks the service account's tokens."""

    kind = "gcp"
    lines = 3

    @property
    def environment(self) -> dict[str, str]:
        """What an operator sets to reach it over TLS, in a process of its own: gRPC reads the CAs once."""
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.folder / "account.json"),
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.folder / "gcp-ca.pem"),
            "TSA_SIGNER__GCPKMS__ENDPOINT": self.address,
        }

    @property
    def plain_address(self) -> str:
        """Host and port without TLS and tokens."""
        return self.printed[1]

    def client(self) -> Any:
        """Return Google's own client, for making and changing keys."""
        import grpc
        from google.cloud import kms
        from google.cloud.kms_v1.services.key_management_service.transports import grpc as transports

        channel = grpc.insecure_channel(self.plain_address)
        return kms.KeyManagementServiceClient(transport=transports.KeyManagementServiceGrpcTransport(channel=channel))

    def make_key(self, name: str, algorithm: str = "EC_SIGN_P256_SHA256") -> str:
        """Make a key, and return its name without a version."""
        key = {"purpose": "ASYMMETRIC_SIGN", "version_template": {"algorithm": algorithm}}
        request = {"parent": KEY_RING, "crypto_key_id": name, "crypto_key": key}
        return str(self.client().create_crypto_key(request=request, timeout=30).name)

    def set_state(self, version: str, state: str) -> None:
        """Make a version ENABLED or DISABLED."""
        request = {"crypto_key_version": {"name": version, "state": state}, "update_mask": "state"}
        self.client().update_crypto_key_version(request=request, timeout=30)
