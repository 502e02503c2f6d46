"""Files with tokens, made by the tools that make them, or by hand where no such tool is here."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.cli.timestamp_shell import CHAIN
from tests.interop.program_clients import portable_executable
from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA256
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, ca_extensions, issue, key_usage, make_key
from tsa_core.testing.programs import require_program

SIGNATURE_TIMESTAMP = "1.2.840.113549.1.9.16.2.14"
CONTENT_TIMESTAMP = "1.2.840.113549.1.9.16.2.20"


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def token(data: bytes) -> bytes:
    content = forge.tst_info(data)
    return forge.token(CHAIN.signer, content, certificates=[CHAIN.signer.der, CHAIN.intermediate.der])


def coder() -> tuple[Issued, Issued]:
    """A CA and a certificate for signing code."""
    ca = issue("Code CA", key=make_key("rsa2048"), extensions=ca_extensions())
    purpose = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
    return ca, issue("Coder", issuer=ca, key=make_key("rsa2048"), extensions=(key_usage(sign=True), purpose))


def pem_files(folder: Path, signer: Issued) -> tuple[Path, Path]:
    certificate, key = folder / "coder.pem", folder / "coder.key"
    certificate.write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


def program(folder: Path, url: str) -> bytes:
    osslsigncode = require_program("osslsigncode")
    unsigned, signed = folder / "a.exe", folder / "signed.exe"
    unsigned.write_bytes(portable_executable())
    certificate, key = pem_files(folder, coder()[1])
    run(
        osslsigncode,
        "sign",
        "-certs",
        certificate,
        "-key",
        key,
        "-h",
        "sha256",
        "-ts",
        url,
        "-in",
        unsigned,
        "-out",
        signed,
    )
    return signed.read_bytes()


def cms(folder: Path, data: bytes, *, detached: bool) -> bytes:
    """A signature by `openssl cms`, without any timestamp."""
    openssl = require_program("openssl")
    source, signed = folder / "data", folder / "signed.p7s"
    source.write_bytes(data)
    certificate, key = pem_files(folder, coder()[1])
    keep = () if detached else ("-nodetach",)
    run(
        *(openssl, "cms", "-sign", "-binary", *keep, "-in", source, "-signer", certificate, "-inkey", key),
        *("-md", "sha256", "-outform", "DER", "-out", signed),
    )
    return signed.read_bytes()


def _signer_info(signed: bytes) -> tuple[int, int]:
    """Where the only SignerInfo of a DER signature begins and ends: it is the last value of the last SET."""
    start, end = 0, len(signed)
    for _ in range(3):  # ContentInfo, [0], SignedData
        _, start, _ = der.read(signed, start, end)
        _, _, first = der.read(signed, start, end)
        start = first if signed[start] == der.OBJECT_IDENTIFIER else start
    while True:
        tag, inner, stop = der.read(signed, start, end)
        if stop == end:
            assert tag == der.SET
            return inner, end
        start = stop


def with_attributes(signed: bytes, attributes: Mapping[str, Sequence[bytes]]) -> bytes:
    """A CMS signature with these unsigned attributes."""
    start, end = _signer_info(signed)
    _, inner, _ = der.read(signed, start, end)
    encoded = b"".join(der.sequence(der.oid(name), der.set_of(*values)) for name, values in sorted(attributes.items()))
    signer = der.sequence(signed[inner:end], der.tlv(0xA1, encoded))
    _, begin, _ = der.read(signed, 0, len(signed))
    _, _, after_type = der.read(signed, begin, end)
    _, content, _ = der.read(signed, after_type, end)
    _, fields, _ = der.read(signed, content, end)
    set_head = start - len(der.length(end - start)) - 1
    body = der.sequence(signed[fields:set_head], der.tlv(der.SET, signer))
    return der.sequence(signed[begin:after_type], der.explicit(0, body))


def signature_value(signed: bytes) -> bytes:
    start, end = _signer_info(signed)
    _, start, _ = der.read(signed, start, end)
    while True:
        tag, inner, stop = der.read(signed, start, end)
        if tag == der.OCTET_STRING:
            return signed[inner:stop]
        start = stop


def signed_data(content: bytes | None, over: bytes) -> bytes:
    """A CMS signature with a content-time-stamp; nobody looks whether its signature is good."""
    attribute = der.sequence(der.oid(CONTENT_TIMESTAMP), der.set_of(token(over)))
    signer = der.sequence(
        der.integer(1), der.sequence(), der.sequence(), der.tlv(0xA0, attribute), der.sequence(), der.octet_string(b"s")
    )
    encapsulated = der.explicit(0, der.octet_string(content)) if content is not None else b""
    body = der.sequence(
        der.integer(1), der.set_of(), der.sequence(der.oid("1.2.840.113549.1.7.1"), encapsulated), der.set_of(signer)
    )
    return der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, body))


def blank_pdf() -> bytes:
    """A PDF with one empty page."""
    from pyhanko.pdf_utils import generic as untyped_generic
    from pyhanko.pdf_utils import writer as untyped_writer
    from pyhanko.pdf_utils.content import RawContent

    generic: Any = untyped_generic
    writer: Any = untyped_writer
    blank = writer.PdfFileWriter(stream_xrefs=False)
    page = writer.PageObject(
        contents=blank.add_object(generic.StreamObject(stream_data=RawContent(b"").render())),
        media_box=generic.ArrayObject([generic.NumberObject(each) for each in (0, 0, 100, 100)]),
    )
    blank.insert_page(page)
    stream = io.BytesIO()
    blank.write(stream)
    return stream.getvalue()


def pdf(url: str) -> bytes:
    """A PDF of pyHanko with a signature that has a timestamp, and then a document timestamp."""
    from asn1crypto import keys
    from asn1crypto import x509 as asn1_x509
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import PdfSignatureMetadata, PdfTimeStamper, signers, timestamps
    from pyhanko_certvalidator import registry

    store: Any = registry.SimpleCertificateStore
    _, coder_certificate = coder()
    key = coder_certificate.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    signer = signers.SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(coder_certificate.der),
        signing_key=keys.PrivateKeyInfo.load(key),
        cert_registry=store(),
    )
    stamper = timestamps.HTTPTimeStamper(url)
    metadata = PdfSignatureMetadata(field_name="Sig1", md_algorithm="sha256")
    first = io.BytesIO(blank_pdf())
    signed = signers.sign_pdf(IncrementalPdfFileWriter(first), metadata, signer, timestamper=stamper)
    stamped = PdfTimeStamper(stamper, field_name="Stamp").timestamp_pdf(IncrementalPdfFileWriter(signed), "sha256")
    return bytes(stamped.getbuffer())


MANIFEST = """<?xml version="1.0" encoding="UTF-8"?>
<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">
<asic:SigReference URI="META-INF/timestamp1.tst" MimeType="application/vnd.etsi.timestamp-token"/>
{references}</asic:ASiCManifest>"""
REFERENCE = """<asic:DataObjectReference URI="{name}"><ds:DigestMethod Algorithm="{method}"/>
<ds:DigestValue>{digest}</ds:DigestValue></asic:DataObjectReference>
"""
SHA256_METHOD = "http://www.w3.org/2001/04/xmlenc#sha256"


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def asic_e(files: Mapping[str, bytes], *, method: str = SHA256_METHOD) -> dict[str, bytes]:
    """The files of an ASiC-E container with one time assertion over its manifest."""
    references = "".join(
        REFERENCE.format(name=name, method=method, digest=base64.b64encode(SHA256.digest(data)).decode())
        for name, data in files.items()
    )
    manifest = MANIFEST.format(references=references).encode()
    return {
        "mimetype": b"application/vnd.etsi.asic-e+zip",
        **files,
        "META-INF/ASiCManifest1.xml": manifest,
        "META-INF/timestamp1.tst": token(manifest),
    }


def bundle(signature: bytes = b"signature") -> bytes:
    entry = {"signedTimestamp": base64.b64encode(forge.reply(token(signature))).decode()}
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"timestampVerificationData": {"rfc3161Timestamps": [entry]}},
            "messageSignature": {"signature": base64.b64encode(signature).decode()},
        }
    ).encode()


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def superbox(label: str, *boxes: bytes) -> bytes:
    return box(b"jumb", box(b"jumd", bytes(16) + b"\x03" + label.encode() + b"\0") + b"".join(boxes))


def c2pa_store(version: int) -> bytes:
    """A C2PA manifest store with a claim and a signature that has a timestamp, by C2PA 1.4 or 2.1."""
    import cbor2

    claim, protected, signature = cbor2.dumps({"alg": "sha256"}), cbor2.dumps({1: -7}), bytes(64)
    if version == 1:
        over = cbor2.dumps(["CounterSignature", protected, b"", claim])
        header: dict[str, Any] = {"sigTst": {"tstTokens": [{"val": forge.reply(token(over))}]}}
    else:
        over = cbor2.dumps(["CounterSignature", protected, b"", cbor2.dumps(signature)])
        header = {"sigTst2": {"tstTokens": [{"val": token(over)}]}}
    message = cbor2.dumps(cbor2.CBORTag(18, [protected, {**header, "pad": bytes(10)}, None, signature]))
    claim_label = "c2pa.claim" if version == 1 else "c2pa.claim.v2"
    return superbox(
        "c2pa",
        superbox(
            "urn:c2pa:1",
            superbox(claim_label, box(b"cbor", claim)),
            superbox("c2pa.signature", box(b"cbor", message)),
        ),
    )


def png(store: bytes) -> bytes:
    chunks = b"".join(
        len(data).to_bytes(4, "big") + kind + data + bytes(4)
        for kind, data in ((b"IHDR", bytes(13)), (b"caBX", store), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg(store: bytes, piece: int = 500) -> bytes:
    """The store in several APP11 segments, each with the head of its box."""
    head, body = store[:8], store[8:]
    segments = b""
    for number, start in enumerate(range(0, len(body), piece), 1):
        content = b"JP" + b"\x00\x01" + number.to_bytes(4, "big") + head + body[start : start + piece]
        segments += b"\xff\xeb" + (2 + len(content)).to_bytes(2, "big") + content
    return b"\xff\xd8" + b"\xff\xe0\x00\x04ab" + segments + b"\xff\xda" + bytes(50)
