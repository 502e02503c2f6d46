"""jarsigner and osslsigncode ask our server for timestamps and check what they get."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509 import ExtendedKeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.interop.program_clients import portable_executable
from tsa_core.testing.forged_pki import ca_extensions, issue, key_usage, make_key
from tsa_core.testing.programs import require_program

pytestmark = pytest.mark.plugin("file")

JVM = ("-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-J-Xshare:auto")
"""For programs that run for a second, in which better code and more threads do not pay."""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_jarsigner(served: Any, tmp_path: Path) -> None:
    jarsigner, keytool = require_program("jarsigner", package="a JDK"), require_program("keytool", package="a JDK")
    jar, store, trust = tmp_path / "a.jar", tmp_path / "signer.p12", tmp_path / "trust.p12"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("hello.txt", "hello")
    ca = issue("Code CA", key=make_key("rsa2048"), extensions=ca_extensions())
    purpose = (ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
    signer = issue("Coder", issuer=ca, key=make_key("rsa2048"), extensions=(key_usage(sign=True), purpose))
    assert isinstance(signer.key, RSAPrivateKey)
    store.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"coder",
            signer.key,
            signer.certificate,
            [ca.certificate],
            BestAvailableEncryption(b"secret"),
        )
    )
    for name, certificate in (("tsa", served.chain.root), ("code", ca)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.certificate.public_bytes(Encoding.PEM))
        run(
            *(keytool, *JVM, "-importcert", "-noprompt", "-alias", name, "-file", tmp_path / f"{name}.pem"),
            *("-keystore", trust, "-storetype", "PKCS12", "-storepass", "secret"),
        )
    said = run(
        *(jarsigner, *JVM, "-keystore", store, "-storetype", "PKCS12", "-storepass", "secret"),
        *("-tsa", served.url, jar, "coder"),
    )
    assert "jar signed" in said
    checked = run(
        *(jarsigner, *JVM, "-verify", "-verbose", "-certs", "-strict", "-keystore", trust),
        *("-storepass", "secret", jar),
    )
    assert "jar verified" in checked
    assert "Timestamp digest algorithm" in checked or "Timestamped by" in checked
    assert "timestamp is invalid" not in checked


def test_osslsigncode(served: Any, tmp_path: Path) -> None:
    osslsigncode = require_program("osslsigncode")
    program, signed = tmp_path / "a.exe", tmp_path / "signed.exe"
    program.write_bytes(portable_executable())
    ca = issue("Code CA", key=make_key("rsa2048"), extensions=ca_extensions())
    purpose = (ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
    signer = issue("Coder", issuer=ca, key=make_key("rsa2048"), extensions=(key_usage(sign=True), purpose))
    (tmp_path / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "coder.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    key = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "coder.key").write_bytes(key)
    run(
        *(osslsigncode, "sign", "-certs", tmp_path / "coder.pem", "-key", tmp_path / "coder.key", "-h", "sha256"),
        *("-ts", served.url, "-in", program, "-out", signed),
    )
    said = run(
        *(osslsigncode, "verify", "-in", signed, "-CAfile", tmp_path / "ca.pem", "-TSA-CAfile", served.root_file),
    )
    assert "Timestamp Server Signature verification: ok" in said
    assert "Succeeded" in said
