"""The kit catches what plugin authors get wrong: each deliberately broken signer fails the check that is for it.

Every signer here is run through SignerContract in a pytest of its own; the set of failures must be the right one,
and the message must name the mistake.
"""

from __future__ import annotations

import pytest

pytest_plugins = "pytester"

SIZES = (0, 1, 32, 64, 300, 4096, 5000)
EVERY_MESSAGE = {f"test_signature_verifies[{size}]" for size in SIZES}
SIGNING = {*EVERY_MESSAGE, "test_signs_on_many_threads", "test_whole_token_verifies"}
DIGESTS = {f"test_digest_is_honoured_or_refused[{digest}]" for digest in ("sha256", "sha384", "sha512")}

MODULE = """
import threading
from typing import ClassVar
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tsa_core.api import SignerUnavailable, UnsupportedKey, signature_algorithm
from tsa_core.testing import FakeSigner, SignerContract, new_key

KEY = new_key("{key}")

class Backend:
    up = True

class Good(FakeSigner):
    latency: ClassVar = "remote"

    def __init__(self, backend, **options):
        super().__init__(KEY, **options)
        self.backend = backend
        self.token = "hvs.secret-token"

    def sign(self, message, *, timeout):
        if not self.backend.up:
            raise SignerUnavailable("the backend does not answer")
        return super().sign(message, timeout=timeout)

{broken}

class TestSigner(SignerContract):
    @pytest.fixture
    def backend(self):
        return Backend()

    @pytest.fixture
    def open_signer(self, backend):
        return lambda signature_digest=None, rsa_pss=False: Broken(backend, digest=signature_digest, rsa_pss=rsa_pss)

    @pytest.fixture
    def unreachable_signer(self, open_signer, backend):
        signer = open_signer()
        backend.up = False
        return signer

    @pytest.fixture
    def secrets(self):
        return ["hvs.secret-token"]
"""


def failures(pytester: pytest.Pytester, broken: str, *, key: str = "ecdsa-p256") -> tuple[set[str], str]:
    """Return the names of the contract's tests that a signer fails, and what pytest printed."""
    pytester.makepyfile(MODULE.format(broken=broken, key=key))
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-rfE", "--import-mode=importlib")
    failed = {
        line.split(" - ")[0].rpartition("::")[2] for line in result.outlines if line.startswith(("FAILED", "ERROR "))
    }
    return failed, result.stdout.str()


@pytest.mark.parametrize("key", ["ecdsa-p256", "rsa-2048", "ed25519"])
def test_good_signer_passes_everything(pytester: pytest.Pytester, key: str) -> None:
    failed, output = failures(pytester, "Broken = Good", key=key)
    assert failed == set(), output
    assert " passed in " in output


def test_hashing_twice(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    def sign(self, message, *, timeout):
        return super().sign(self.algorithm.digest.digest(message), timeout=timeout)
""",
    )
    assert failed == SIGNING | DIGESTS
    assert "the message is hashed twice; hand the backend a digest" in output


def test_limit_of_4_kib(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    def sign(self, message, *, timeout):
        return super().sign(message[:4096], timeout=timeout)
""",
    )
    assert failed == {"test_signature_verifies[5000]"}
    assert "only its first 4096 bytes were signed" in output


def test_limit_of_4_kib_that_is_an_error(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    def sign(self, message, *, timeout):
        if len(message) > 4096:
            raise ValueError("Member must have length less than or equal to 4096")
        return super().sign(message, timeout=timeout)
""",
    )
    assert failed == {"test_signature_verifies[5000]", "test_signature_is_of_no_other_message[5000]"}
    assert "less than or equal to 4096" in output


def test_raw_r_and_s_instead_of_der(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    def sign(self, message, *, timeout):
        r, s = decode_dss_signature(super().sign(message, timeout=timeout))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
""",
    )
    assert failed == SIGNING | DIGESTS | {"test_signature_is_encoded_as_cms_wants_it"}
    assert "these 64 bytes are not DER ECDSA-Sig-Value" in output
    assert "it is the raw r||s" in output


def test_leaking_the_exceptions_of_an_sdk(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class EndpointConnectionError(Exception):
    pass

class Broken(Good):
    def sign(self, message, *, timeout):
        if not self.backend.up:
            raise EndpointConnectionError("Could not connect to the endpoint URL")
        return super().sign(message, timeout=timeout)
""",
    )
    assert failed == {"test_unreachable_backend_is_signer_unavailable"}
    assert "EndpointConnectionError; only SignerUnavailable may come out" in output


def test_ignoring_the_timeout(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    def sign(self, message, *, timeout):
        if not self.backend.up:
            threading.Event().wait(timeout + 1.5)
        return super().sign(message, timeout=timeout)
""",
    )
    assert failed == {"test_unreachable_backend_is_signer_unavailable"}
    assert "set the SDK's connect and read time-outs" in output


def test_signing_with_another_key_than_public_key(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
OTHER = new_key()

class Broken(Good):
    @property
    def public_key(self):
        return OTHER.public_key()
""",
    )
    assert failed == SIGNING | DIGESTS
    assert "another key, another digest than sha256 or another padding signed it" in output


def test_key_that_changes(pytester: pytest.Pytester) -> None:
    failed, _ = failures(
        pytester,
        """
class Broken(Good):
    def sign(self, message, *, timeout):
        self._private_key = new_key()
        self._public_key = self._private_key.public_key()
        return super().sign(message, timeout=timeout)
""",
    )
    # On many threads the key may change before a signature is looked at, or not.
    assert failed - {"test_signs_on_many_threads"} == {"test_key_and_algorithm_are_stable", "test_whole_token_verifies"}


def test_sharing_a_buffer_between_threads(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    together = threading.Barrier(8)

    def sign(self, message, *, timeout):
        self.buffer = message
        if threading.current_thread() is not threading.main_thread():
            self.together.wait(timeout)
        return super().sign(self.buffer, timeout=timeout)
""",
    )
    assert failed == {"test_signs_on_many_threads"}
    assert "signatures made on 8 threads do not verify" in output


@pytest.mark.parametrize(
    "leak",
    [
        "def __repr__(self): return f'<Broken token={self.token}>'",
        "def details(self): return {'token': self.token}",
    ],
    ids=["repr", "details"],
)
def test_showing_a_secret(pytester: pytest.Pytester, leak: str) -> None:
    failed, output = failures(pytester, f"class Broken(Good):\n    {leak}\n")
    assert failed == {"test_no_secret_is_shown"}
    assert "a secret is in" in output


def test_secret_in_an_error_or_its_cause(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    def sign(self, message, *, timeout):
        if not self.backend.up:
            try:
                raise OSError(f"cannot connect with {self.token}")
            except OSError as error:
                raise SignerUnavailable("the backend does not answer") from error
        return super().sign(message, timeout=timeout)
""",
    )
    assert failed == {"test_no_secret_is_in_errors"}
    assert "a secret is in the error or in one that it was raised from" in output


def test_ignoring_what_the_profile_asks_for(pytester: pytest.Pytester) -> None:
    failed, output = failures(
        pytester,
        """
class Broken(Good):
    def __init__(self, backend, *, digest, rsa_pss):
        super().__init__(backend)
""",
        key="rsa-2048",
    )
    assert failed == {
        "test_digest_is_honoured_or_refused[sha384]",
        "test_digest_is_honoured_or_refused[sha512]",
        "test_rsa_pss_is_honoured_or_refused",
    }
    assert "rsa_pss was ignored" in output


def test_closing_twice_fails(pytester: pytest.Pytester) -> None:
    failed, _ = failures(
        pytester,
        """
class Broken(Good):
    def close(self):
        del self.backend
""",
    )
    assert failed == {"test_close_twice"}


def test_being_called_on_the_wrong_thread(pytester: pytest.Pytester) -> None:
    failed, output = failures(pytester, "class Broken(Good):\n    latency = 'local'\n")
    assert failed == {"test_is_a_signer"}
    assert "a signer with a backend declares 'remote'" in output


def test_forgetting_to_say_what_an_outage_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        MODULE.format(broken="Broken = Good", key="ecdsa-p256").replace(
            "def unreachable_signer", "def not_that_fixture"
        )
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-k", "unreach")
    result.stdout.fnmatch_lines(["*TestSigner must override the fixture `unreachable_signer`*"])
