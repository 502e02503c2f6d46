"""SignerContract: what the core demands of every signer."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tsa_core.api import Provider, PublicKey, Signer, SignerError, SignerUnavailable, TsaError, signature_algorithm
from tsa_core.testing.diagnosis import explain, is_dss_signature
from tsa_core.testing.latency import check_latency, returns_within
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.raising import raised
from tsa_core.testing.threads import on_threads
from tsa_core.testing.tokens import check_token, issue_token

MESSAGE_SIZES = (0, 1, 32, 64, 300, 4096, 5000)
"""Sizes that backends stumble over: nothing, a digest's, and beyond the 4096 bytes of several KMS interfaces."""

_THREADS = 8
_MESSAGES = 32
_PART_OF_THE_TIME = 0.3
"""Of the time for a signature that has no backend: for its error and no verdict on when it comes."""
_SIGNATURE_SIZES = {"ed25519": 64, "ed448": 114, "ml-dsa-44": 2420, "ml-dsa-65": 3309, "ml-dsa-87": 4627}


class SignerContract(PluginFixtures):
    """Subclass it as TestSigner; override `plugin` and `uri`, and `options` where the signer needs settings.

    A signer with a backend must override `unreachable_signer`, `silent_signer` and `nonsense_signer` too. One whose key
    is in this process declares `has_backend = False` instead. Every fixture may have params, to run the contract with
    several keys.
    """

    kind = "signer"
    has_backend: ClassVar[bool] = True
    """Whether signing needs something outside this process that can fail."""
    keeps_key: ClassVar[bool] = True
    """Whether opening again with the same settings finds the same key."""
    sign_timeout: ClassVar[float] = 10.0
    """Seconds for one signature."""
    unreachable_timeout: ClassVar[float] = 1.0
    """Seconds that a signature may take with the backend gone."""
    nonsense_timeout: ClassVar[float] = 2.0
    """Seconds that a signature may take whose backend answers nonsense: a library may ask again until then."""
    timeout_slack: ClassVar[float] = 20.0
    """Seconds by which a busy machine may be late. With fewer, the test's verdict is one on how fast the machine is."""
    keeps_time: ClassVar[bool] = True
    """Whether `sign` ends in time when the backend is silent. A library that cannot be interrupted forbids that; then
    the core's limit has to do, and each signature that hangs takes a thread."""

    # -- what to override -----------------------------------------------------------------------------------------

    @pytest.fixture
    def uri(self, provider: Provider[Signer]) -> str:
        """Return the key URI; the bare scheme unless overridden."""
        return f"{provider.name}:"

    @pytest.fixture
    def fixed_options(self, uri: str) -> Mapping[str, Any]:
        """Return what the profile would fill in."""
        return {"uri": uri}

    @pytest.fixture
    def open_signer(
        self, provider: Provider[Signer], options: Mapping[str, Any], fixed_options: Mapping[str, Any]
    ) -> Iterator[Callable[..., Signer]]:
        """Return a function that opens the signer through its provider; arguments go over the profile's fields."""
        opened: list[Signer] = []

        def open_one(**fixed: Any) -> Signer:
            signer: Signer = self.open(provider, {**options, **fixed_options, **fixed})
            opened.append(signer)
            return signer

        yield open_one
        for signer in opened:
            signer.close()

    @pytest.fixture
    def signer(self, open_signer: Callable[..., Signer]) -> Signer:
        """Return the opened signer."""
        return open_signer()

    @pytest.fixture
    def unreachable_signer(self) -> Signer | None:
        """Return a signer that was opened and whose backend has gone since; override it."""
        self._must_override("unreachable_signer", "whose backend is gone", needed=self.has_backend)
        return None

    @pytest.fixture
    def silent_signer(self) -> Signer | None:
        """Return a signer that was opened and whose backend takes requests and answers none; override it."""
        needed = self.has_backend and self.keeps_time
        self._must_override(
            "silent_signer", "whose backend takes requests and answers none (Relay.hush)", needed=needed
        )
        return None

    @pytest.fixture
    def nonsense_signer(self) -> Signer | None:
        """Return a signer that was opened and whose backend answers what is no answer; override it."""
        self._must_override("nonsense_signer", "whose backend answers nonsense (Relay.babble)", needed=self.has_backend)
        return None

    def _must_override(self, fixture: str, what: str, *, needed: bool) -> None:
        if needed:
            pytest.fail(
                f"{type(self).__name__} must override the fixture `{fixture}` with a signer {what}, or declare "
                "has_backend = False because the key is in this process",
                pytrace=False,
            )

    # -- what it is -----------------------------------------------------------------------------------------------

    def test_is_a_signer(self, signer: Signer) -> None:
        assert isinstance(signer, Signer), "what `open` returns must extend tsa_core.api.Signer"
        expected = "remote" if self.has_backend else "local"
        assert signer.latency == expected, (
            f"latency is {signer.latency!r}: a signer {'with' if self.has_backend else 'without'} a backend declares "
            f"{expected!r}, which decides on which thread the server calls it"
        )

    def test_algorithm_is_one_for_its_key(self, signer: Signer) -> None:
        fitting = []
        for digest in ("sha256", "sha384", "sha512", None):
            for pss in (False, True):
                try:
                    fitting.append(signature_algorithm(signer.public_key, digest=digest, pss=pss))
                except TsaError:
                    continue
        assert signer.algorithm in fitting, (
            f"{signer.algorithm} is none of {[a.name for a in fitting]}, which this key can do; take it from "
            "tsa_core.api.signature_algorithm(public_key, ...)"
        )

    def test_key_and_algorithm_are_stable(self, signer: Signer) -> None:
        before = _spki(signer.public_key), signer.algorithm
        signer.sign(b"stable", timeout=self.sign_timeout)
        assert (_spki(signer.public_key), signer.algorithm) == before, "public_key or algorithm changed by signing"

    def test_opening_again_finds_the_same_key(self, open_signer: Callable[..., Signer], signer: Signer) -> None:
        same = _spki(open_signer().public_key) == _spki(signer.public_key)
        assert same == self.keeps_key, "the key changed" if self.keeps_key else "the key stayed: set keeps_key = True"

    def test_own_certificates_are_for_its_key(self, signer: Signer) -> None:
        chain = [x509.load_der_x509_certificate(der) for der in signer.certificate_chain()]
        for leaf in chain[:1]:
            key = leaf.public_key()
            assert key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == _spki(signer.public_key), (
                "the first certificate of certificate_chain() is for another key"
            )
        for certificate, issuer in pairwise(chain):
            certificate.verify_directly_issued_by(issuer)

    # -- what it signs --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", MESSAGE_SIZES)
    def test_signature_verifies(self, signer: Signer, size: int) -> None:
        message = _message(size)
        signature = signer.sign(message, timeout=self.sign_timeout)
        assert isinstance(signature, bytes), f"sign returned {type(signature).__name__}, not bytes"
        assert _valid(signer, signature, message), explain(signer, signature, message)

    @pytest.mark.parametrize("size", MESSAGE_SIZES)
    def test_signature_is_of_no_other_message(self, signer: Signer, size: int) -> None:
        message = _message(size)
        signature = signer.sign(message, timeout=self.sign_timeout)
        for other in (message + b"\0", message[:-1] + b"\xff" if message else b"\xff", b"another message"):
            assert not _valid(signer, signature, other), f"the signature of {size} bytes also verifies for others"

    def test_digests_are_signed_as_messages_are(self, signer: Signer) -> None:
        if signer.sign_digest is None:
            return
        for message in map(_message, MESSAGE_SIZES):
            signature = signer.sign_digest(signer.algorithm.digest.digest(message))
            assert _valid(signer, signature, message), (
                f"sign_digest and sign differ: {explain(signer, signature, message)}"
            )

    def test_signature_is_encoded_as_cms_wants_it(self, signer: Signer) -> None:
        signature = signer.sign(_message(32), timeout=self.sign_timeout)
        if signer.algorithm.scheme == "ecdsa":
            assert is_dss_signature(signature), (
                f"these {len(signature)} bytes are not DER ECDSA-Sig-Value; "
                "for the raw r||s use encode_dss_signature(r, s)"
            )
        elif isinstance(signer.public_key, rsa.RSAPublicKey):
            assert len(signature) == (signer.public_key.key_size + 7) // 8, "an RSA signature is as long as the modulus"
        else:
            assert len(signature) == _SIGNATURE_SIZES[signer.algorithm.name], f"{len(signature)} bytes are not right"

    def test_signs_on_many_threads(self, signer: Signer) -> None:
        messages = [b"message %d of many" % number for number in range(_MESSAGES)]
        signatures = on_threads(lambda m: signer.sign(m, timeout=self.sign_timeout), messages, threads=_THREADS)
        signed = zip(messages, signatures, strict=True)
        wrong = [(message, signature) for message, signature in signed if not _valid(signer, signature, message)]
        assert not wrong, (
            f"{len(wrong)} of {_MESSAGES} signatures made on {_THREADS} threads do not verify; "
            f"{explain(signer, wrong[0][1], wrong[0][0])}"
        )

    def test_whole_token_verifies(self, signer: Signer, tmp_path: Path) -> None:
        token = issue_token(signer, tmp_path)
        check_token(token, signer, tmp_path)

    # -- what the profile asks for --------------------------------------------------------------------------------

    @pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
    def test_digest_is_honoured_or_refused(self, open_signer: Callable[..., Signer], digest: str) -> None:
        try:
            signer = open_signer(signature_digest=digest)
        except TsaError:
            return
        assert signer.algorithm.digest.name == digest, (
            f"signature_digest = {digest!r} was ignored; pass it on to signature_algorithm(), or raise ConfigError"
        )
        signature = signer.sign(_message(300), timeout=self.sign_timeout)
        assert _valid(signer, signature, _message(300)), explain(signer, signature, _message(300))

    def test_rsa_pss_is_honoured_or_refused(self, open_signer: Callable[..., Signer]) -> None:
        try:
            signer = open_signer(rsa_pss=True)
        except TsaError:
            return
        assert signer.algorithm.scheme == "rsa-pss", (
            "rsa_pss was ignored; pass it on to signature_algorithm(), or raise ConfigError"
        )
        signature = signer.sign(_message(300), timeout=self.sign_timeout)
        assert _valid(signer, signature, _message(300)), explain(signer, signature, _message(300))

    # -- how it fails and ends ------------------------------------------------------------------------------------

    def test_unreachable_backend_is_signer_unavailable(self, unreachable_signer: Signer | None) -> None:
        if unreachable_signer is None:
            assert not self.has_backend, "unreachable_signer is None, but has_backend is True"
            return
        self._given_up_in_time(
            unreachable_signer,
            doing="signing with the backend gone",
            remedy="catch the SDK's exceptions in sign(), set its connect and read time-outs from `timeout`, "
            "and switch its retries off",
        )

    def test_silent_backend_is_given_up_in_time(self, silent_signer: Signer | None) -> None:
        if silent_signer is None:
            assert not (self.has_backend and self.keeps_time), "silent_signer is None, and there is a backend"
            return
        self._given_up_in_time(
            silent_signer,
            doing="signing with a backend that is silent",
            remedy="give every call of the backend a time limit: `timeout` is for all of them together",
        )

    def _given_up_in_time(self, signer: Signer, *, doing: str, remedy: str) -> None:
        limit = self.unreachable_timeout
        raised(
            SignerUnavailable,
            lambda: returns_within(
                lambda: signer.sign(b"in vain", timeout=limit),
                seconds=limit,
                late_seconds=self.timeout_slack,
                doing=doing,
                remedy=remedy,
            ),
            doing=doing,
            remedy=remedy,
        )

    def test_nonsense_from_the_backend_is_an_error(self, nonsense_signer: Signer | None) -> None:
        if nonsense_signer is None:
            assert not self.has_backend, "nonsense_signer is None, and there is a backend"
            return
        raised(
            SignerError,
            lambda: nonsense_signer.sign(b"nonsense", timeout=self.nonsense_timeout),
            doing="signing with a backend that answers nonsense",
            remedy="look whether the answer has the form that the backend's interface promises",
        )

    def test_local_signer_does_not_wait(self, signer: Signer) -> None:
        check_latency(signer.latency, lambda: signer.sign(b"quick", timeout=self.sign_timeout), doing="sign")

    def test_no_secret_is_shown(self, signer: Signer, secrets: list[str]) -> None:
        shown = {"repr": repr(signer), "str": str(signer), "details()": str(dict(signer.details()))}
        leaks = [name for name, text in shown.items() for secret in secrets if secret and secret in text]
        assert not leaks, f"a secret is in {' and '.join(leaks)}"

    def test_no_secret_is_in_errors(self, unreachable_signer: Signer | None, secrets: list[str]) -> None:
        if unreachable_signer is None:
            assert not self.has_backend, "unreachable_signer is None, but has_backend is True"
            return
        error = raised(
            Exception,
            lambda: unreachable_signer.sign(b"unreachable", timeout=self.unreachable_timeout * _PART_OF_THE_TIME),
            doing="signing with the backend gone",
            remedy="raise SignerUnavailable",
        )
        text = "".join(traceback.format_exception(error)) + repr(error)
        assert not any(secret in text for secret in secrets if secret), (
            "a secret is in the error or in one that it was raised from, which a log would show"
        )

    def test_details_are_texts(self, signer: Signer) -> None:
        others = [item for pair in signer.details().items() for item in pair if type(item) is not str]
        assert not others, f"details() must map texts to texts, it holds: {others}"

    def test_close_twice(self, open_signer: Callable[..., Signer]) -> None:
        signer = open_signer()
        signer.sign(b"before close", timeout=self.sign_timeout)
        signer.close()
        signer.close()


def _message(size: int) -> bytes:
    return bytes(number * 31 % 256 for number in range(size))


def _spki(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _valid(signer: Signer, signature: bytes, message: bytes) -> bool:
    return signer.algorithm.is_valid(signer.public_key, signature, message)
