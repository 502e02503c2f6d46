"""Whole tokens with any signer, and independent checks of them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asn1crypto import tsp
from cryptography import x509

from tsa_core.api import Clock, RequestContext, ResponseProcessor, Signer
from tsa_core.authority import ClockGate, Profile, TimestampAuthority
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ProfileSettings
from tsa_core.protocol import der
from tsa_core.protocol.response import signed_parts
from tsa_core.testing.pki import Pki, write_pem
from tsa_core.testing.programs import require_program
from tsa_core.testing.samples import encode_request

OPENSSL_SCHEMES = frozenset({"rsa-pkcs1v15", "ecdsa"})
"""Signature schemes that `openssl ts -verify` knows; it refuses RSA-PSS, EdDSA and ML-DSA."""

_OPENSSL_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class IssuedToken:
    """A reply, what was asked, and the chain that it verifies under, TSA certificate first."""

    request: bytes
    response: bytes
    data: bytes
    chain: tuple[x509.Certificate, ...]


def make_authority(
    signer: Signer,
    chain_path: Path,
    *,
    clock: Clock | None = None,
    processors: Sequence[ResponseProcessor] = (),
) -> TimestampAuthority:
    """Return an authority whose only profile signs with `signer` under the chain in a PEM file.

    Raises what a server would raise at start: ConfigError for the chain, SignerError for the trial signature.
    """
    gate = ClockGate(clock or SystemClock())
    settings = ProfileSettings(signer="test:", certificate_chain=chain_path)
    profile = Profile("default", settings, signer, gate)
    return TimestampAuthority(profiles=[profile], gate=gate, processors=processors)


def issue_token(
    signer: Signer,
    folder: Path,
    *,
    pki: Pki | None = None,
    data: bytes = b"tsa-core",
    processors: Sequence[ResponseProcessor] = (),
) -> IssuedToken:
    """Issue one token as a server would, under a chain that is made for the signer's key and put into `folder`."""
    chain = (pki or Pki()).chain(signer.public_key)
    authority = make_authority(signer, write_pem(folder / "chain.pem", chain), processors=processors)
    request = encode_request(data)
    reply = authority.respond(request, RequestContext(request_id="contract"))
    assert reply.rejection is None, f"the request was refused: {reply.rejection}"
    return IssuedToken(request=request, response=reply.der, data=data, chain=chain)


def check_token(token: IssuedToken, signer: Signer, folder: Path) -> None:
    """Check a token with openssl where its algorithm allows it, and by hand; raises AssertionError."""
    check_by_hand(token, signer)
    if signer.algorithm.scheme in OPENSSL_SCHEMES:
        check_with_openssl(token, folder)


def check_with_openssl(token: IssuedToken, folder: Path) -> None:
    """Check a token by `openssl ts -verify`, with the root as the only trusted certificate."""
    openssl = require_program("openssl")
    (folder / "data").write_bytes(token.data)
    (folder / "reply.tsr").write_bytes(token.response)
    command: Sequence[str | Path] = [
        *(openssl, "ts", "-verify", "-data", folder / "data", "-in", folder / "reply.tsr"),
        *("-CAfile", write_pem(folder / "root.pem", token.chain[-1:])),
        *("-untrusted", write_pem(folder / "untrusted.pem", token.chain[:-1])),
    ]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_OPENSSL_SECONDS, check=False
    )
    output = result.stdout.decode(errors="replace")
    assert result.returncode == 0, f"openssl ts -verify refuses the token:\n{output}"
    assert "Verification: OK" in output, f"openssl ts -verify says neither yes nor no:\n{output}"


def check_by_hand(token: IssuedToken, signer: Signer) -> None:
    """Check imprint, message digest and signature of a token with asn1crypto and cryptography alone."""
    parts = signed_parts(token.response)
    info = tsp.TSTInfo.load(parts.tst_info)
    imprint = info["message_imprint"]["hashed_message"].native
    assert imprint == hashlib.sha256(token.data).digest(), "the token is for other data"
    response = tsp.TimeStampResp.load(token.response)
    signer_info = response["time_stamp_token"]["content"]["signer_infos"][0]
    digests = [a["values"][0].native for a in signer_info["signed_attrs"] if a["type"].native == "message_digest"]
    assert digests == [signer.algorithm.digest.digest(parts.tst_info)], "the message-digest attribute is wrong"
    message = der.tlv(der.SET, parts.signed_attributes)
    assert signer.algorithm.is_valid(signer.public_key, parts.signature, message), (
        f"the token's signature does not verify under the signer's public key ({signer.algorithm.name})"
    )
