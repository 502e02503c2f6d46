"""Whole tokens with any signer, and independent checks of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from tsa_core.api import Clock, RequestContext, ResponseProcessor, Signer
from tsa_core.authority import ClockGate, Profile, TimestampAuthority
from tsa_core.builtin.clock import SystemClock
from tsa_core.config import ProfileSettings
from tsa_core.testing.pki import Pki, write_pem
from tsa_core.testing.programs import require_program
from tsa_core.testing.samples import encode_request
from tsa_core.verify import TrustStore, VerificationError, VerifiedTimestamp, verify_response

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
    return TimestampAuthority(
        profiles=[profile], gate=gate, processors=[(type(each).__name__, each) for each in processors]
    )


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
    """Check a token with our verifier, and with openssl where its algorithm allows that; raises AssertionError."""
    check_with_verifier(token)
    if signer.algorithm.scheme in OPENSSL_SCHEMES:
        check_with_openssl(token, folder)


def check_with_verifier(token: IssuedToken) -> VerifiedTimestamp:
    """Check a token by every rule of tsa_core.verify, with the root as the only trusted certificate."""
    trust = TrustStore(roots=token.chain[-1:], certificates=token.chain[1:-1])
    try:
        return verify_response(token.response, trust=trust, artifact=token.data, request=token.request)
    except VerificationError as error:
        raise AssertionError(f"tsa_core.verify refuses the token: {type(error).__name__}: {error}") from error


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


def check_path_with_openssl(certificates: Sequence[x509.Certificate], folder: Path) -> None:
    """Check a chain, TSA certificate first and root last, by `openssl verify` for timestamps."""
    openssl = require_program("openssl")
    command: Sequence[str | Path] = [
        *(openssl, "verify", "-x509_strict", "-purpose", "timestampsign"),
        *("-CAfile", write_pem(folder / "path-root.pem", certificates[-1:])),
        *("-untrusted", write_pem(folder / "path-untrusted.pem", certificates)),
        write_pem(folder / "path-leaf.pem", certificates[:1]),
    ]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_OPENSSL_SECONDS, check=False
    )
    output = result.stdout.decode(errors="replace")
    assert result.returncode == 0, f"openssl verify refuses the chain:\n{output}"
