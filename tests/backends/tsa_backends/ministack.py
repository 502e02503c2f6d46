"""ministack, an emulator of AWS: its KMS signs with real keys, its S3 heeds conditions on writes."""

from __future__ import annotations

import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tsa_backends.server_process import ServerProcess, free_port
from tsa_core.testing import require_package

REGION = "eu-west-1"
SECRET_KEY = "secret-access-key-5d0e41aa"
"""ministack takes any; logs are searched for this one."""
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""By which AWS's SDK reaches it, and nothing of this machine's own configuration."""


class Ministack:
    """One emulator with KMS and S3; it keeps its keys over `stop`, and over `kill` those that `stop` once kept."""

    def __init__(self, folder: Path) -> None:
        require_package("ministack")
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        environment = {
            "GATEWAY_PORT": str(self.port),
            # Without these two it listens on all addresses.
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "MINISTACK_HOST": "127.0.0.1",
            "SERVICES": "kms,s3",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(folder / "ministack"),
        }
        self.process = ServerProcess([sys.executable, "-m", "ministack"], folder / "ministack.log", environment)

    def start(self) -> None:
        """Start the emulator, with the keys that it kept."""
        self.process.start(self._answers)

    def start_if_down(self) -> None:
        """Start the emulator unless it is running, frozen or not."""
        if self.process.running:
            self.process.signal(signal.SIGCONT)
        else:
            self.start()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/_ministack/health", timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def client(self, service: str = "kms") -> Any:
        """Return a boto3 client of a service, for making what tests use."""
        import boto3

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.address,
            aws_access_key_id="test",
            aws_secret_access_key=SECRET_KEY,
        )

    def make_key(self, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY", *, alias: str | None = None) -> str:
        """Make a key and return its ARN."""
        client = self.client()
        metadata = client.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
        if alias:
            client.create_alias(AliasName=alias, TargetKeyId=metadata["KeyId"])
        arn: str = metadata["Arn"]
        return arn

    def make_bucket(self, name: str) -> None:
        """Make a bucket of S3, which it serves below /NAME."""
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
