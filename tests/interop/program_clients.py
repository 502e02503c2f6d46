"""Timestamp verifiers that are programs: each function raises what its program says against a token."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ExtendedKeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.interop.python_clients import NotVerified
from tsa_core.testing.forged_pki import ca_extensions, issue, key_usage, make_key

TOKEN_ATTRIBUTE: Final = "1.3.6.1.4.1.311.3.3.1"
_CERTIFICATE_TABLE: Final = 64 + 4 + 20 + 112 + 4 * 8
"""Where the headers of `portable_executable` have the place and size of the signatures."""

ProgramClient = Callable[[Path, bool], None]


def run(*command: str | Path) -> str:
    """Run a program and return what it prints; NotVerified when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    printed = done.stdout + done.stderr
    if done.returncode:
        raise NotVerified(" ".join(printed.split()))
    return printed


def openssl_ts(place: Path, right: bool) -> None:
    """Verify against the artifact, with the root alone."""
    artifact = place.parent / ("artifact" if right else "other")
    given = ("-data", artifact, "-in", place / "reply.tsr", "-CAfile", place / "root.pem")
    said = run("openssl", "ts", "-verify", *given)
    if "Verification: OK" not in said:
        raise NotVerified(said)


def osslsigncode(place: Path, right: bool) -> None:
    """Have the program sign a file with a timestamp of our server, and verify it.

    What is not right is the same file with the token of `reply.tsr`, which is of another artifact.
    """
    folder, signed = _coder(place.parent / "osslsigncode"), place / "signed.exe"
    signed.unlink(missing_ok=True)
    keys = ("-certs", folder / "coder.pem", "-key", folder / "coder.key", "-h", "sha256")
    url = (place / "url").read_text()
    run("osslsigncode", "sign", *keys, "-ts", url, "-in", folder / "plain.exe", "-out", signed)
    if not right:
        signed.write_bytes(_with_token(signed.read_bytes(), (place / "token.der").read_bytes()))
    trust = ("-CAfile", folder / "ca.pem", "-TSA-CAfile", place / "root.pem")
    said = run("osslsigncode", "verify", "-in", signed, *trust)
    if "Timestamp Server Signature verification: ok" not in said:
        raise NotVerified(" ".join(said.split()))


@cache
def _coder(folder: Path) -> Path:
    """Fill a folder with a program and with what signs it."""
    folder.mkdir(exist_ok=True)
    ca = issue("Code CA", key=make_key("rsa2048"), extensions=ca_extensions())
    purpose = (ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
    signer = issue("Coder", issuer=ca, key=make_key("rsa2048"), extensions=(key_usage(sign=True), purpose))
    (folder / "plain.exe").write_bytes(portable_executable())
    (folder / "ca.pem").write_bytes(ca.certificate.public_bytes(Encoding.PEM))
    (folder / "coder.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    key = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "coder.key").touch(0o600)
    (folder / "coder.key").write_bytes(key)
    return folder


def portable_executable() -> bytes:
    """Return a 64-bit Windows program that does nothing: headers and one section of zeros."""
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x0022)
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 512, 0, 0, 0x1000, 0x1000)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0x140000000, 0x1000, 512, 6, 0, 0, 0, 6, 0, 0, 0x2000, 512, 0, 3, 0)
    optional += struct.pack("<QQQQII", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16) + bytes(16 * 8)
    section = b".text\0\0\0" + struct.pack("<IIIIIIHHI", 512, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
    headers = dos + b"PE\0\0" + coff + optional + section
    return headers.ljust(512, b"\0") + bytes(512)


def _with_token(signed: bytes, token: bytes) -> bytes:
    """Return a signed program with another timestamp token; its headers say where the signature is."""
    start, _ = struct.unpack_from("<II", signed, _CERTIFICATE_TABLE)
    length, revision, kind = struct.unpack_from("<IHH", signed, start)
    signature = cms.ContentInfo.load(signed[start + 8 : start + length])
    attribute = cms.CMSAttribute({"type": TOKEN_ATTRIBUTE, "values": [cms.ContentInfo.load(token)]})
    signature["content"]["signer_infos"][0]["unsigned_attrs"] = cms.CMSAttributes([attribute])
    changed: bytes = signature.dump()
    changed += bytes(-len(changed) % 8)
    table = struct.pack("<IHH", 8 + len(changed), revision, kind) + changed
    headers = bytearray(signed[:start])
    struct.pack_into("<II", headers, _CERTIFICATE_TABLE, start, len(table))
    return bytes(headers) + table


def version(program: str) -> str | None:
    """Return the first two numbers of what a program says of its version, None without the program."""
    if shutil.which(program) is None:
        return None
    option = {"openssl": "version"}.get(program, "--version")
    said = subprocess.run([program, option], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"\b(\d+\.\d+)", said.stdout + said.stderr)
    return found[1] if found else None


PROGRAM_CLIENTS: Final[dict[str, tuple[str, ProgramClient]]] = {
    "openssl": ("openssl", openssl_ts),
    "osslsigncode": ("osslsigncode", osslsigncode),
}
"""By name: the program, and the function that uses it."""
