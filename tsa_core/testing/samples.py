"""Requests, contexts and drafts as the core hands them to plugins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from tsa_core.api import AuditRecord, PKIFailureInfo, RefusalRecord, RequestContext, TimeStampReq, TokenDraft
from tsa_core.protocol import der
from tsa_core.protocol.hashes import SHA256
from tsa_core.protocol.request import read_request
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Issued, make_chain

SAMPLE_POLICY = "1.3.6.1.4.1.57264.2"
"""The policy of the samples, dotted."""


def sample_request(
    data: bytes = b"tsa-core",
    *,
    policy: str | None = None,
    nonce: int | None = 0x5DEECE66D,
    certificates: bool = True,
    extensions: Sequence[tuple[str, bytes]] = (),
) -> TimeStampReq:
    """Return a request for the SHA-256 digest of `data`; `extensions` are OIDs and values."""
    return read_request(
        encode_request(data, policy=policy, nonce=nonce, certificates=certificates, extensions=extensions)
    )


def encode_request(
    data: bytes = b"tsa-core",
    *,
    policy: str | None = None,
    nonce: int | None = 0x5DEECE66D,
    certificates: bool = True,
    extensions: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """Return the DER of a TimeStampReq for the SHA-256 digest of `data`; `extensions` are OIDs and values."""
    encoded = b"".join(der.sequence(der.oid(oid), der.octet_string(value)) for oid, value in extensions)
    return der.sequence(
        der.integer(1),
        der.sequence(SHA256.identifier, der.octet_string(hashlib.sha256(data).digest())),
        der.oid(policy) if policy else b"",
        b"" if nonce is None else der.integer(nonce),
        der.boolean(True) if certificates else b"",
        der.tlv(0xA0, encoded) if encoded else b"",
    )


def sample_context(*, address: str = "127.0.0.1", profile: str | None = None, **headers: str) -> RequestContext:
    """Return where a request came from; `headers` are written with underscores, `x_forwarded_for` for example."""
    values = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return RequestContext(
        request_id="sample", client_address=address, profile=profile, header=lambda name: values.get(name.lower())
    )


def sample_draft(
    request: TimeStampReq | None = None,
    *,
    serial_number: int = 0x5A5A,
    policy: str = SAMPLE_POLICY,
    context: RequestContext | None = None,
) -> TokenDraft:
    """Return what is known of a token before it is signed."""
    return TokenDraft(
        profile="default",
        policy=policy,
        serial_number=serial_number,
        gen_time=datetime(2026, 6, 1, 12, tzinfo=UTC),
        request=request or sample_request(),
        context=context or sample_context(),
    )


@lru_cache(maxsize=1)
def _signer() -> Issued:
    return make_chain().signer


def sample_record(number: int = 1) -> AuditRecord:
    """Return the record of a token; records with different numbers differ in serial, digest and request id.

    The response is that token, but for its signature, which is none.
    """
    digest, gen_time = hashlib.sha256(b"%d" % number).digest(), datetime(2026, 6, 1, 12, tzinfo=UTC)
    content = forge.tst_info(digest=digest, serial_number=number, gen_time=gen_time, policy=SAMPLE_POLICY)
    return AuditRecord(
        request_id=f"sample-{number}",
        client_address="127.0.0.1",
        profile="default",
        policy=SAMPLE_POLICY,
        serial_number=number,
        gen_time=gen_time,
        hash_oid=SHA256.oid,
        digest=digest,
        response=forge.reply(forge.token(_signer(), content, signature=hashlib.sha512(digest).digest())),
    )


def sample_refusal(number: int = 1, *, known: bool = True) -> RefusalRecord:
    """Return the record of a refused request; with `known` false, one that was refused before it was read."""
    return RefusalRecord(
        request_id=f"sample-{number}",
        client_address="127.0.0.1",
        time=datetime(2026, 6, 1, 12, tzinfo=UTC),
        failure=PKIFailureInfo.BAD_ALG if known else PKIFailureInfo.BAD_DATA_FORMAT,
        reason="the hash algorithm md5 is not accepted" if known else "this is no TimeStampReq",
        profile="default" if known else None,
        hash_oid=SHA256.oid if known else None,
        digest=hashlib.sha256(b"%d" % number).digest() if known else None,
    )
