"""Python clients of others against our server: rfc3161-client, pyHanko, rfc3161ng and sigstore."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import json
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tsa_core.protocol.reply import read_reply
from tsa_core.testing.programs import missing
from tsa_core.verify import Verifier

pytestmark = pytest.mark.plugin("file")


def module(name: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"there is no Python package {package}")


def post(url: str, body: bytes) -> bytes:
    request = Request(url, data=body, headers={"Content-Type": "application/timestamp-query"})
    with urlopen(request, timeout=30) as response:
        data: bytes = response.read()
    return data


@pytest.mark.parametrize("hash_name", ["SHA256", "SHA512"])
def test_rfc3161_client(served: Any, hash_name: str) -> None:
    rfc3161 = module("rfc3161_client", "rfc3161-client")
    algorithm = getattr(module("rfc3161_client.base", "rfc3161-client").HashAlgorithm, hash_name)
    request = rfc3161.TimestampRequestBuilder().data(b"hello").hash_algorithm(algorithm).nonce(nonce=True).build()
    reply = post(served.url, request.as_bytes())
    chain = served.chain
    verifier = (
        rfc3161.VerifierBuilder.from_request(request)
        .tsa_certificate(chain.signer.certificate)
        .add_intermediate_certificate(chain.intermediate.certificate)
        .add_root_certificate(chain.root.certificate)
        .build()
    )
    assert verifier.verify_message(rfc3161.decode_timestamp_response(reply), b"hello")
    with pytest.raises(rfc3161.VerificationError):
        verifier.verify_message(rfc3161.decode_timestamp_response(reply), b"hell0")
    assert Verifier(served.trust).verify_response(reply, request=request.as_bytes()).status == 0


def test_pyhanko(served: Any) -> None:
    timestamps = module("pyhanko.sign.timestamps", "pyHanko")
    cms = module("pyhanko.sign.validation.generic_cms", "pyHanko")
    context = module("pyhanko_certvalidator", "pyHanko").ValidationContext
    asn1 = module("asn1crypto.x509", "asn1crypto")
    digest = hashlib.sha256(b"hello").digest()

    async def run() -> Any:
        stamper = timestamps.HTTPTimeStamper(served.url)
        token = await stamper.async_timestamp(digest, "sha256")
        roots = [asn1.Certificate.load(served.chain.root.der)]
        others = [asn1.Certificate.load(served.chain.intermediate.der)]
        checked = await cms.validate_tst_signed_data(
            token["content"],
            validation_context=context(trust_roots=roots, other_certs=others),
            expected_tst_imprint=lambda name: hashlib.new(name, b"hello").digest(),
        )
        return token, checked

    token, checked = asyncio.run(run())
    assert checked["intact"]
    assert checked["valid"]
    result = Verifier(served.trust).verify_token(token.dump(), digest=digest)
    assert result.gen_time == checked["timestamp"]


def test_rfc3161ng(served_rsa: Any) -> None:
    rfc3161ng = module("rfc3161ng", "rfc3161ng")
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = served_rsa.chain.signer.certificate.public_bytes(Encoding.PEM)
    for hash_name in ("sha256", "sha512"):
        stamper = rfc3161ng.RemoteTimestamper(served_rsa.url, certificate=pem, hashname=hash_name)
        token = stamper.timestamp(data=b"hello")
        assert stamper.check(token, data=b"hello")
        assert Verifier(served_rsa.trust).verify_token(token, artifact=b"hello").status is None
    by_default = rfc3161ng.encode_timestamp_request(rfc3161ng.make_timestamp_request(data=b"hello"))  # SHA-1
    assert read_reply(post(served_rsa.url, by_default)).status.failure_names == ("badAlg",)


def test_sigstore(served_ec: Any) -> None:
    timestamp = module("sigstore._internal.timestamp", "sigstore")
    verifier_module = module("sigstore.verify.verifier", "sigstore")
    authority = module("sigstore._internal.trust", "sigstore").CertificateAuthority
    trust_root = module("sigstore_models.trustroot.v1", "sigstore")
    reply = timestamp.TimestampAuthorityClient(served_ec.url).request_timestamp(b"a signature")
    certificates = [served_ec.chain.signer, served_ec.chain.intermediate, served_ec.chain.root]
    start = datetime.now(UTC) - timedelta(days=1)
    inner = trust_root.CertificateAuthority.from_json(
        json.dumps(
            {
                "subject": {"organization": "tsa-core tests", "commonName": "Signer"},
                "uri": served_ec.url,
                "certChain": {"certificates": [{"rawBytes": base64.b64encode(c.der).decode()} for c in certificates]},
                "validFor": {"start": start.strftime("%Y-%m-%dT%H:%M:%SZ")},
            }
        )
    )

    class Root:
        def get_timestamp_authorities(self) -> list[Any]:
            return [authority(inner)]

    checker = verifier_module.Verifier.__new__(verifier_module.Verifier)
    checker._trusted_root = Root()
    result = checker._verify_signed_timestamp(reply, b"a signature")
    assert result is not None
    assert result.time == reply.tst_info.gen_time
    assert checker._verify_signed_timestamp(reply, b"another signature") is None
