"""Three identities in one process: RSA-3072, P-256 and ML-DSA-65, each by policy OID and by URL, each as configured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from asn1crypto import tsp
from cryptography import x509

from tsa_core.api import describe_key
from tsa_core.protocol import der
from tsa_core.testing import (
    HttpReply,
    IssuedToken,
    ServerProcess,
    check_with_openssl,
    check_with_verifier,
    encode_request,
)

pytestmark = pytest.mark.plugin("memory")

CONFIG = """
[profiles.default]
signer = "memory:"
signer_options = { algorithm = "rsa-3072" }
policies = ["1.3.6.1.4.1.57264.2", "1.2.3.100"]

[profiles.curve]
signer = "memory:"
policies = ["1.2.3.256", "1.2.3.100"]
hashes = ["sha256"]
accuracy = "250ms"
fraction_digits = 6
ordering = true
include_chain = "full"

[profiles.quantum]
signer = "memory:"
signer_options = { algorithm = "ml-dsa-65" }
policies = ["1.2.3.65"]
accuracy = "none"
include_chain = "leaf"
tsa_name = false
"""

UNACCEPTED_POLICY = bytes.fromhex("0303000001")
BAD_ALG = bytes.fromhex("03020780")


class Expected(NamedTuple):
    policy: str
    key: str
    certificates: int
    accuracy: timedelta | None
    ordering: bool
    openssl: bool


PROFILES = {
    "default": Expected("1.3.6.1.4.1.57264.2", "RSA 3072", 2, timedelta(seconds=1), False, True),
    "curve": Expected("1.2.3.256", "EC secp256r1", 3, timedelta(milliseconds=250), True, True),
    "quantum": Expected("1.2.3.65", "ML-DSA-65", 1, None, False, False),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    config = tmp_path_factory.mktemp("profiles") / "tsa.toml"
    config.write_text(CONFIG)
    with ServerProcess(config) as server:
        yield server


def chain(server: ServerProcess, path: str) -> tuple[x509.Certificate, ...]:
    reply = server.get(path)
    assert reply.headers["Content-Type"] == "application/pem-certificate-chain"
    return tuple(x509.load_pem_x509_certificates(reply.body))


def check(server: ServerProcess, reply: HttpReply, request: bytes, name: str, folder: Path) -> None:
    """Verify a reply under the chain that the profile gives out, and look for the profile's settings in it."""
    expected = PROFILES[name]
    assert reply.status == 200
    certificates = chain(server, f"/tsa/{name}/certchain")
    token = IssuedToken(request=request, response=reply.body, data=b"data", chain=certificates)
    verified = check_with_verifier(token)
    if expected.openssl:
        check_with_openssl(token, folder)
    assert verified.signer_certificate == certificates[0]
    content = tsp.TimeStampResp.load(reply.body)["time_stamp_token"]["content"]
    assert len(content["certificates"]) == expected.certificates
    info = content["encap_content_info"]["content"].parsed
    assert info["policy"].dotted == expected.policy
    assert bool(info["ordering"].native) is expected.ordering
    assert (info["tsa"].native is None) is (name == "quantum")
    half = (verified.latest - verified.gen_time) if verified.latest is not None else None
    assert half == expected.accuracy


@pytest.mark.parametrize("name", PROFILES)
def test_by_url(server: ServerProcess, tmp_path: Path, name: str) -> None:
    request = encode_request(b"data")
    check(server, server.stamp(request, path=f"/tsa/{name}"), request, name, tmp_path)


@pytest.mark.parametrize("name", PROFILES)
def test_by_policy(server: ServerProcess, tmp_path: Path, name: str) -> None:
    request = encode_request(b"data", policy=PROFILES[name].policy)
    check(server, server.stamp(request), request, name, tmp_path)


def test_default_route_without_policy_is_the_default_profile(server: ServerProcess, tmp_path: Path) -> None:
    request = encode_request(b"data")
    check(server, server.stamp(request), request, "default", tmp_path)
    assert chain(server, "/api/v1/timestamp/certchain") == chain(server, "/tsa/default/certchain")


def test_profiles_have_keys_and_chains_of_their_own(server: ServerProcess) -> None:
    chains = {name: chain(server, f"/tsa/{name}/certchain") for name in PROFILES}
    assert len({certificate for certificates in chains.values() for certificate in certificates}) == 9
    for name, certificates in chains.items():
        assert describe_key(certificates[0].public_key()) == PROFILES[name].key


def test_policy_that_two_profiles_list_is_the_first_ones_or_by_url(server: ServerProcess) -> None:
    request = encode_request(b"data", policy="1.2.3.100")
    sizes = {path: len(server.stamp(request, path=path).body) for path in ("/api/v1/timestamp", "/tsa/default")}
    assert abs(sizes["/api/v1/timestamp"] - sizes["/tsa/default"]) < 16
    assert der.oid("1.2.3.100") in server.stamp(request, path="/tsa/curve").body


def test_url_does_not_lend_a_profile_the_policy_of_another(server: ServerProcess) -> None:
    request = encode_request(b"data", policy=PROFILES["quantum"].policy)
    assert UNACCEPTED_POLICY in server.stamp(request, path="/tsa/curve").body


def test_hashes_are_the_profiles_own(server: ServerProcess) -> None:
    sha512 = der.sequence(
        der.integer(1),
        der.sequence(der.sequence(der.oid("2.16.840.1.101.3.4.2.3")), der.octet_string(bytes(64))),
    )
    assert BAD_ALG in server.stamp(sha512, path="/tsa/curve").body
    assert BAD_ALG not in server.stamp(sha512, path="/tsa/default").body


def test_ordered_profile_issues_increasing_times(server: ServerProcess) -> None:
    request = encode_request(b"data")
    times = [
        tsp.TimeStampResp.load(server.stamp(request, path="/tsa/curve").body)["time_stamp_token"]["content"][
            "encap_content_info"
        ]["content"]
        .parsed["gen_time"]
        .native
        for _ in range(20)
    ]
    assert all(earlier < later for earlier, later in pairwise(times))


@pytest.mark.parametrize("path", ["/tsa/nothing", "/tsa/nothing/certchain"])
def test_profile_that_is_not_there_is_404(server: ServerProcess, path: str) -> None:
    reply = server.get(path) if path.endswith("certchain") else server.stamp(encode_request(), path=path)
    assert reply.status == 404
