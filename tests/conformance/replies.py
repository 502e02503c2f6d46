"""Reads replies with asn1crypto, and checks that bytes are DER with a walk of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from asn1crypto import cms, core, tsp, x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import Certificate, load_der_x509_certificate


class TimeStampResp(core.Sequence):  # type: ignore[misc] # asn1crypto has no types
    """asn1crypto's own demands a token, so it cannot hold a rejection."""

    _fields: ClassVar = [
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


@dataclass(frozen=True, kw_only=True)
class ReadReply:
    """A reply, taken apart."""

    status: int
    texts: tuple[str, ...] | None
    """statusString; None when absent."""
    fail_info: bytes | None
    """failInfo as it is encoded, tag and all."""
    token: cms.ContentInfo | None
    body: bytes

    @property
    def signed_data(self) -> cms.SignedData:
        assert self.token is not None, self
        return self.token["content"]

    @property
    def content(self) -> bytes:
        """The DER of TSTInfo."""
        encoded: bytes = self.signed_data["encap_content_info"]["content"].contents
        return encoded

    @property
    def tst_info(self) -> tsp.TSTInfo:
        return tsp.TSTInfo.load(self.content, strict=True)

    @property
    def signer_info(self) -> cms.SignerInfo:
        (one,) = self.signed_data["signer_infos"]
        return one

    @property
    def certificates(self) -> list[bytes] | None:
        """DER of each, in the order of the token; None when the field is absent."""
        # Not by asn1crypto: it takes a length that ends in 80 for an indefinite one and encodes the certificate anew.
        found = [value for value in members(signed_data(self.body)) if value[0] == 0xA0]
        return members(found[0]) if found else None

    def attribute(self, oid: str) -> core.Asn1Value:
        """Return the one value of the one signed attribute of that type."""
        (found,) = [one for one in self.signer_info["signed_attrs"] if one["type"].dotted == oid]
        (value,) = found["values"]
        return value

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is made over: the signed attributes as a SET OF."""
        (signer,) = members(members(signed_data(self.body))[-1])
        attributes = members(signer)[3]
        assert attributes[0] == 0xA0
        return b"\x31" + attributes[1:]

    @property
    def gen_time(self) -> str:
        """genTime's own characters."""
        text: bytes = self.tst_info["gen_time"].contents
        return text.decode("ascii")


def read_reply(body: bytes) -> ReadReply:
    """Return the parts of a DER TimeStampResp; every byte of it must be DER."""
    assert_der(body)
    reply = TimeStampResp.load(body, strict=True)
    info = reply["status"]
    texts = info["status_string"]
    fail_info = info["fail_info"]
    token = reply["time_stamp_token"]
    return ReadReply(
        status=int(core.Integer.load(info["status"].dump()).native),
        texts=None if isinstance(texts, core.Void) else tuple(text.native for text in texts),
        fail_info=None if isinstance(fail_info, core.Void) else fail_info.dump(),
        token=None if isinstance(token, core.Void) else token,
        body=body,
    )


def granted(body: bytes) -> ReadReply:
    """Return a granted reply whose signature and digests have been verified with the embedded or no certificate."""
    reply = read_reply(body)
    assert reply.status == 0, (reply.texts, reply.fail_info)
    assert reply.token is not None
    return reply


def refused(body: bytes, fail_info: str) -> str:
    """Return the text of a rejection with exactly these bytes of failInfo, in hexadecimal."""
    reply = read_reply(body)
    assert reply.status == 2, reply
    assert reply.token is None
    assert reply.fail_info is not None
    assert reply.fail_info.hex() == fail_info, (reply.texts, reply.fail_info.hex())
    assert reply.texts is not None
    (text,) = reply.texts
    assert text
    return text


def verify(reply: ReadReply, certificate: bytes) -> None:
    """Check message-digest and signature with nothing but `cryptography`; raises when one is wrong."""
    signer: Certificate = load_der_x509_certificate(certificate)
    info = reply.signer_info
    digest = info["digest_algorithm"]["algorithm"].dotted
    names = {
        "2.16.840.1.101.3.4.2.1": "sha256",
        "2.16.840.1.101.3.4.2.2": "sha384",
        "2.16.840.1.101.3.4.2.3": "sha512",
    }
    if digest == "2.16.840.1.101.3.4.2.18":
        expected = hashlib.shake_256(reply.content).digest(64)
    else:
        expected = hashlib.new(names[digest], reply.content).digest()
    assert reply.attribute("1.2.840.113549.1.9.4").native == expected
    key = signer.public_key()
    signature: bytes = info["signature"].native
    primitives = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    if isinstance(key, rsa.RSAPublicKey):
        primitive = primitives[names[digest]]
        pss = info["signature_algorithm"]["algorithm"].native == "rsassa_pss"
        scheme = padding.PSS(padding.MGF1(primitive), primitive.digest_size) if pss else padding.PKCS1v15()
        key.verify(signature, reply.signed_bytes, scheme, primitive)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, reply.signed_bytes, ec.ECDSA(primitives[names[digest]]))
    else:
        key.verify(signature, reply.signed_bytes)  # type: ignore[union-attr, call-arg] # Ed* and ML-DSA


def subject(certificate: bytes) -> bytes:
    """Return the DER of a certificate's subject."""
    encoded: bytes = x509.Certificate.load(certificate).subject.dump()
    return encoded


def assert_der(data: bytes) -> None:
    """Fail unless `data` is one value whose lengths, BOOLEANs, INTEGERs and SETs are as DER wants them."""
    assert _walk(data, 0) == len(data)


def _header(data: bytes, offset: int) -> tuple[int, int]:
    """Return start and end of the content of the value at `offset`, whose length must be in its shortest form."""
    size = data[offset + 1]
    start = offset + 2
    assert data[offset] & 0x1F != 0x1F
    if size >= 0x80:
        count = size & 0x7F
        assert count
        size = int.from_bytes(data[start : start + count], "big")
        start += count
        assert size >= 0x80
        assert size >= 1 << 8 * (count - 1)
    assert start + size <= len(data)
    return start, start + size


def members(data: bytes) -> list[bytes]:
    """Return the values inside a constructed value, each whole."""
    offset, end = _header(data, 0)
    found = []
    while offset < end:
        stop = _header(data, offset)[1]
        found.append(data[offset:stop])
        offset = stop
    return found


def signed_data(body: bytes) -> bytes:
    """Return the bytes of a granted reply's SignedData."""
    content_info = members(body)[1]
    explicit = members(content_info)[1]
    return members(explicit)[0]


def _walk(data: bytes, offset: int) -> int:
    """Return the end of the value at `offset`."""
    tag = data[offset]
    start, stop = _header(data, offset)
    content = data[start:stop]
    if tag == 0x01:
        assert content in {b"\x00", b"\xff"}
    if tag == 0x02:
        assert content
        assert len(content) == 1 or not (content[0] == 0 and content[1] < 0x80)
        assert len(content) == 1 or not (content[0] == 0xFF and content[1] >= 0x80)
    if tag & 0x20:
        position = start
        while position < stop:
            position = _walk(data, position)
        assert position == stop
        if tag == 0x31:
            inside = members(data[offset:stop])
            assert inside == sorted(inside), "a SET OF is not in DER order"
    return stop
