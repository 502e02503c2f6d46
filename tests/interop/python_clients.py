"""Timestamp verifiers with Python bindings, each a function that raises what it says against a token.

Every function takes the folder of one token (see case_folder) and the artifact that the token is said to be of.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tsa_core.verify import TrustStore, Verifier

CHAIN = ("signer", "intermediate", "root")

PythonClient = Callable[[Path, bytes], None]


class NotVerified(Exception):
    """A client said no without an exception of its own."""


def certificate(place: Path, name: str) -> x509.Certificate:
    """Return a certificate of the token's chain."""
    return x509.load_der_x509_certificate((place / f"{name}.der").read_bytes())


def tsa_core(place: Path, artifact: bytes) -> None:
    """Our own verifier."""
    trust = TrustStore.from_chain((place / "chain.pem").read_bytes())
    Verifier(trust).verify_response((place / "reply.tsr").read_bytes(), artifact=artifact)


def rfc3161_client(place: Path, artifact: bytes) -> None:
    """The library of sigstore-python."""
    rfc3161 = importlib.import_module("rfc3161_client")
    verifier = (
        rfc3161.VerifierBuilder()
        .tsa_certificate(certificate(place, "signer"))
        .add_intermediate_certificate(certificate(place, "intermediate"))
        .add_root_certificate(certificate(place, "root"))
        .build()
    )
    response = rfc3161.decode_timestamp_response((place / "reply.tsr").read_bytes())
    if not verifier.verify_message(response, artifact):
        raise NotVerified("verify_message returned False")


def rfc3161ng(place: Path, artifact: bytes) -> None:
    """Verify the signature with the TSA's certificate; this library follows no path."""
    library = importlib.import_module("rfc3161ng")
    pem = certificate(place, "signer").public_bytes(Encoding.PEM)
    token = (place / "token.der").read_bytes()
    if not library.check_timestamp(token, certificate=pem, data=artifact, hashname="sha256"):
        raise NotVerified("check_timestamp returned False")


def pyhanko(place: Path, artifact: bytes) -> None:
    """Validate as pyHanko does for a signature of a PDF file."""
    cms = importlib.import_module("pyhanko.sign.validation.generic_cms")
    context = importlib.import_module("pyhanko_certvalidator").ValidationContext
    asn1 = importlib.import_module("asn1crypto.x509")
    token = importlib.import_module("asn1crypto.cms").ContentInfo.load((place / "token.der").read_bytes())
    root, intermediate = (asn1.Certificate.load((place / f"{name}.der").read_bytes()) for name in CHAIN[:0:-1])
    checked = asyncio.run(
        cms.validate_tst_signed_data(
            token["content"],
            validation_context=context(trust_roots=[root], other_certs=[intermediate]),
            expected_tst_imprint=lambda name: hashlib.new(name, artifact).digest(),
        )
    )
    if not (checked["intact"] and checked["valid"] and checked["trust_problem_indic"] is None):
        problem = checked["trust_problem_indic"]
        raise NotVerified(f"intact {checked['intact']}, valid {checked['valid']}, trust problem {problem}")


def sigstore_python(place: Path, artifact: bytes) -> None:
    """Verify as sigstore-python does for the signature in a bundle."""
    rfc3161 = importlib.import_module("rfc3161_client")
    verifier_module = importlib.import_module("sigstore.verify.verifier")
    authority = importlib.import_module("sigstore._internal.trust").CertificateAuthority
    trust_root = importlib.import_module("sigstore_models.trustroot.v1")
    start = datetime.now(UTC) - timedelta(days=1)
    chain = [{"rawBytes": base64.b64encode((place / f"{name}.der").read_bytes()).decode()} for name in CHAIN]
    document = {
        "subject": {"organization": "tsa-core tests", "commonName": "Signer"},
        "uri": (place / "url").read_text(),
        "certChain": {"certificates": chain},
        "validFor": {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ")},
    }
    inner = trust_root.CertificateAuthority.from_json(json.dumps(document))

    class Root:
        def get_timestamp_authorities(self) -> list[Any]:
            return [authority(inner)]

    checker = verifier_module.Verifier.__new__(verifier_module.Verifier)
    checker._trusted_root = Root()
    response = rfc3161.decode_timestamp_response((place / "reply.tsr").read_bytes())
    if checker._verify_signed_timestamp(response, artifact) is None:
        raise NotVerified("no authority verifies it")


PYTHON_CLIENTS: Final[dict[str, tuple[str, PythonClient]]] = {
    "tsa-core": ("tsa-core", tsa_core),
    "rfc3161-client": ("rfc3161-client", rfc3161_client),
    "sigstore-python": ("sigstore", sigstore_python),
    "pyhanko": ("pyHanko", pyhanko),
    "rfc3161ng": ("rfc3161ng", rfc3161ng),
}
"""By name: the distribution that has the client, and the function."""
