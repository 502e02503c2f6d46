"""CertificateAuthorityContract catches what authors of certificate authorities get wrong, each by its check."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

KINDS = ("ecdsa-p256", "ecdsa-p384", "rsa-3072")
CHAINS = {f"test_chain_leads_from_the_requested_key_to_a_root[{kind}]" for kind in KINDS}

MODULE = """
from datetime import UTC, datetime, timedelta
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tsa_core.api import CertificateAuthority, CertificateAuthorityError, LocalKeySigner
from tsa_core.certs import Issuer, issue_certificate
from tsa_core.certs.hierarchy import Names, Validity, self_signed_root
from tsa_core.testing import CertificateAuthorityContract, new_key

class Good(CertificateAuthority):
    def __init__(self):
        self.signer = LocalKeySigner(new_key())
        self.root = self_signed_root(self.signer, Names(organization="o"), Validity.of(timedelta(days=99)))
        self.up = True

    def read(self, request):
        try:
            asked = x509.load_der_x509_csr(request)
        except ValueError:
            raise CertificateAuthorityError("no request") from None
        if not asked.is_signature_valid:
            raise CertificateAuthorityError("not signed")
        return asked

    def extensions(self, asked):
        return [(found.value, found.critical) for found in asked.extensions]

    def make(self, asked, validity):
        now = datetime.now(UTC)
        return issue_certificate(
            subject=self.subject(asked), public_key=self.key(asked), issuer=Issuer.of(self.root, self.signer),
            extensions=self.extensions(asked), not_before=now, not_after=now + validity,
        )

    def subject(self, asked):
        return asked.subject

    def key(self, asked):
        return asked.public_key()

    def chain(self, certificate):
        return [certificate, self.root]

    def issue(self, request, *, validity, timeout):
        if not self.up:
            raise CertificateAuthorityError("it is down")
        certificate = self.make(self.read(request), validity)
        return [item.public_bytes(Encoding.DER) for item in self.chain(certificate)]

{broken}

class TestAuthority(CertificateAuthorityContract):
    @pytest.fixture
    def open_authority(self):
        return Broken

    @pytest.fixture
    def unreachable_authority(self):
        authority = Broken()
        authority.up = False
        return authority
"""


@dataclass(frozen=True)
class Mistake:
    name: str
    code: str
    failures: set[str]
    message: str = ""


MISTAKES = [
    Mistake("none", "class Broken(Good): pass", set()),
    Mistake(
        "usage not critical",
        "class Broken(Good):\n    def extensions(self, asked):\n"
        "        return [(v, c and not isinstance(v, x509.ExtendedKeyUsage)) for v, c in super().extensions(asked)]",
        {"test_requested_extensions_are_in_the_certificate"},
        "the request asks for a critical extended key usage",
    ),
    Mistake(
        "own path length",
        "class Broken(Good):\n    def extensions(self, asked):\n"
        "        own = (x509.BasicConstraints(ca=True, path_length=3), True)\n"
        "        return [own if isinstance(v, x509.BasicConstraints) else (v, c)\n"
        "                for v, c in super().extensions(asked)]",
        {"test_requested_extensions_are_in_the_certificate"},
    ),
    Mistake(
        "another key",
        "class Broken(Good):\n    def key(self, asked):\n        return new_key().public_key()",
        CHAINS,
        "the first certificate must be for the key in the request",
    ),
    Mistake("no root", "class Broken(Good):\n    def chain(self, certificate):\n        return [certificate]", CHAINS),
    Mistake(
        "another name",
        "class Broken(Good):\n    def subject(self, asked):\n        return self.root.subject",
        {"test_subject_is_the_requested_one"},
    ),
    Mistake(
        "own validity",
        "class Broken(Good):\n    def make(self, asked, validity):\n"
        "        return super().make(asked, timedelta(days=4000))",
        {"test_validity_is_the_requested_one"},
    ),
    Mistake(
        "signature not checked",
        "class Broken(Good):\n    def read(self, request):\n"
        "        try:\n            return x509.load_der_x509_csr(request)\n"
        '        except ValueError:\n            raise CertificateAuthorityError("no request") from None',
        {"test_damaged_request_is_an_error[signature]"},
        "it must raise CertificateAuthorityError",
    ),
    Mistake(
        "library's error",
        "class Broken(Good):\n    def read(self, request):\n"
        "        asked = x509.load_der_x509_csr(request)\n"
        '        if not asked.is_signature_valid:\n            raise CertificateAuthorityError("not signed")\n'
        "        return asked",
        {"test_damaged_request_is_an_error[cut]"},
        "only CertificateAuthorityError may come out",
    ),
    Mistake(
        "connection's error",
        "class Broken(Good):\n    def issue(self, request, *, validity, timeout):\n"
        '        if not self.up:\n            raise ConnectionError("refused")\n'
        "        return super().issue(request, validity=validity, timeout=timeout)",
        {"test_unreachable_is_an_error"},
        "catch the library's errors in issue()",
    ),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Run all of them in one pytest and return, by mistake, each failed check with its message."""
    folder = tmp_path_factory.mktemp("authorities")
    for number, mistake in enumerate(MISTAKES):
        (folder / f"test_mistake_{number}.py").write_text(MODULE.replace("{broken}", mistake.code))
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    command += [f"--rootdir={folder}", f"--junitxml={report}", str(folder)]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    outcome = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=240, check=False)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    found: dict[str, dict[str, str]] = {mistake.name: {} for mistake in MISTAKES}
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        assert case.find("error") is None, ElementTree.tostring(case, encoding="unicode")
        if failure is not None:
            number = int(case.attrib["classname"].split(".")[0].rpartition("_")[2])
            found[MISTAKES[number].name][case.attrib["name"]] = failure.attrib["message"]
    return found


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_mistake_fails_the_check_that_is_for_it(mistake: Mistake, results: dict[str, dict[str, str]]) -> None:
    failed = results[mistake.name]
    assert set(failed) == mistake.failures
    assert all(mistake.message in message for message in failed.values()), failed
