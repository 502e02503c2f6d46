"""EU DSS validates our qualified timestamps by a trusted list, which says who is qualified; the claim does not."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from tests.certs.chains_to_break import DAY, NOW, Part, extensions, name, usage
from tests.conformance.profiles.conforming import Conforming
from tests.interop.builds import LANGUAGES, NoToolchain, built, not_on_this_machine
from tests.interop.trusted_lists import NOT_QUALIFIED, QUALIFIED, WITHDRAWN, list_of_lists, trusted_list
from tsa_core.api import RequestContext
from tsa_core.protocol import der
from tsa_core.testing import encode_request, new_key

DATA = b"what was stamped"
SERVICES = {
    "qualified": {"kind": QUALIFIED},
    "another type": {"kind": NOT_QUALIFIED},
    "withdrawn": {"status": WITHDRAWN},
}
"""How the trusted list has the unit."""


def list_signer(folder: Path, of: str) -> x509.Certificate:
    """Make the key that signs a list, and return its certificate."""
    key = new_key("ecdsa-p256")
    part = Part(
        subject=name(f"Signer of {of}"),
        key=key,
        not_before=NOW - DAY,
        extensions=extensions(
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (usage("digital_signature"), True),
            (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        ),
    )
    certificate = part.make(part)
    assert isinstance(key, EllipticCurvePrivateKey)
    store = serialize_key_and_certificates(b"list", key, certificate, None, BestAvailableEncryption(b"test"))
    (folder / f"{of}.p12").write_bytes(store)
    (folder / f"{of}.cer").write_bytes(certificate.public_bytes(Encoding.DER))
    return certificate


def token_of(conforming: Conforming) -> tuple[bytes, x509.Certificate]:
    """Return the token of a qualified profile over DATA, and the unit's certificate."""
    with conforming.open("etsi") as service:
        reply = service.authority.respond(encode_request(DATA), RequestContext())
        certificate = service.authority.profiles["default"].chain.leaf
    assert reply.rejection is None
    _, start, end = der.read(reply.der, 0, len(reply.der))
    return reply.der[der.read(reply.der, start, end)[2] : end], certificate


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What DSS says of a token of ours, by what the trusted list says of its unit; one Java process for all."""
    try:
        judge = built("qualified")
    except NoToolchain as error:
        not_on_this_machine(str(error))
    place = tmp_path_factory.mktemp("qualified")
    token, unit = token_of(Conforming(profile={"qualified": True}))
    for case, service in SERVICES.items():
        folder = place / case
        folder.mkdir()
        (folder / "token.der").write_bytes(token)
        (folder / "data").write_bytes(DATA)
        (folder / "lotl.xml").write_bytes(list_of_lists(list_signer(folder, "lotl"), list_signer(folder, "tl")))
        (folder / "tl.xml").write_bytes(trusted_list(unit, **service))
    program, *start = LANGUAGES["qualified"].start
    command = [shutil.which(program) or program, *start, *(str(place / c) for c in SERVICES)]
    done = subprocess.run(command, cwd=judge, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, str]] = {}
    for line in done.stdout.splitlines():
        folder_name, what, value = line.split("\t", 2)
        found.setdefault(Path(folder_name).name, {})[what] = value
    return found


def test_dss_says_that_our_token_is_a_qualified_timestamp(verdicts: dict[str, dict[str, str]]) -> None:
    found = verdicts["qualified"]
    for each in ("lotl", "tl"):
        assert found[f"list https://lists.example.org/{each}.xml"].startswith("TOTAL_PASSED "), found
    assert found["indication"] == "PASSED null", found
    assert found["qualification"] == "QTSA", found
    assert abs(datetime.fromisoformat(found["time"]) - NOW) < DAY


@pytest.mark.parametrize("case", ["another type", "withdrawn"])
def test_the_list_decides_and_not_the_claim(verdicts: dict[str, dict[str, str]], case: str) -> None:
    assert verdicts[case]["indication"] == "PASSED null"
    assert verdicts[case]["qualification"] == "TSA", verdicts[case]
