"""CertificateAuthorityContract: what fetch-tsa-certs demands of every certificate authority's plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.api import CertificateAuthority, CertificateAuthorityError, LocalKeySigner, Provider, PublicKey
from tsa_core.certs import certificate_name, intermediate_extensions, issue_request
from tsa_core.protocol.signatures import public_key_info
from tsa_core.testing.pki import shared_key
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.raising import raised

_VALIDITY = timedelta(days=30)
_SUBJECT = certificate_name("contract intermediate", organization="tsa-core tests", country="DE")


class CertificateAuthorityContract(PluginFixtures):
    """Subclass it as TestCertificateAuthority; override `plugin`, `uri` and `unreachable_authority`."""

    kind = "ca"
    issue_timeout: ClassVar[float] = 20.0
    """Seconds for one certificate."""

    @pytest.fixture
    def uri(self, provider: Provider[CertificateAuthority]) -> str:
        """Return what `--parent-ca` would be told; the bare name unless overridden."""
        return f"{provider.name}:"

    @pytest.fixture
    def fixed_options(self, uri: str) -> Mapping[str, Any]:
        """Return what the core fills in."""
        return {"uri": uri}

    @pytest.fixture
    def open_authority(
        self, provider: Provider[CertificateAuthority], options: Mapping[str, Any], fixed_options: Mapping[str, Any]
    ) -> Iterator[Callable[..., CertificateAuthority]]:
        """Return a function that opens the CA through its provider; arguments go over the options."""
        opened: list[CertificateAuthority] = []

        def open_one(**more: Any) -> CertificateAuthority:
            opened.append(self.open(provider, {**options, **fixed_options, **more}))
            return opened[-1]

        yield open_one
        for authority in opened:
            authority.close()

    @pytest.fixture
    def authority(self, open_authority: Callable[..., CertificateAuthority]) -> CertificateAuthority:
        """Return the opened CA."""
        return open_authority()

    @pytest.fixture
    def unreachable_authority(self) -> CertificateAuthority:
        """Return an opened CA that does not answer; override it."""
        pytest.fail(f"{type(self).__name__} must override the fixture `unreachable_authority`", pytrace=False)

    def _request(self, kind: str = "ecdsa-p256") -> tuple[bytes, PublicKey]:
        signer = LocalKeySigner(shared_key(kind))
        extensions = intermediate_extensions(signer.public_key, None, usage_critical=True)
        request = issue_request(subject=_SUBJECT, signer=signer, extensions=extensions)
        return request.public_bytes(Encoding.DER), signer.public_key

    def _issue(self, authority: CertificateAuthority, kind: str = "ecdsa-p256") -> list[x509.Certificate]:
        request, _ = self._request(kind)
        issued = authority.issue(request, validity=_VALIDITY, timeout=self.issue_timeout)
        return [x509.load_der_x509_certificate(certificate) for certificate in issued]

    def test_is_a_certificate_authority(self, authority: CertificateAuthority) -> None:
        assert isinstance(authority, CertificateAuthority), "what `open` returns must extend CertificateAuthority"

    @pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-3072"])
    def test_chain_leads_from_the_requested_key_to_a_root(self, authority: CertificateAuthority, kind: str) -> None:
        chain = self._issue(authority, kind)
        assert public_key_info(chain[0].public_key()) == public_key_info(  # type: ignore[arg-type] # unequal otherwise
            shared_key(kind).public_key()
        ), "the first certificate must be for the key in the request"
        for certificate, issuer in pairwise([*chain, chain[-1]]):
            certificate.verify_directly_issued_by(issuer)

    def test_subject_is_the_requested_one(self, authority: CertificateAuthority) -> None:
        assert set(self._issue(authority)[0].subject) == set(_SUBJECT)

    def test_requested_extensions_are_in_the_certificate(self, authority: CertificateAuthority) -> None:
        extensions = self._issue(authority)[0].extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical
        assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_cert_sign
        assert usage.crl_sign
        assert not usage.digital_signature
        extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert list(extended.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
        assert extended.critical, "the request asks for a critical extended key usage"

    def test_validity_is_the_requested_one(self, authority: CertificateAuthority) -> None:
        certificate = self._issue(authority)[0]
        assert certificate.not_valid_before_utc <= datetime.now(UTC) + timedelta(minutes=1)
        length = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert timedelta(0) < length <= _VALIDITY + timedelta(hours=1)

    @pytest.mark.parametrize("damage", ["cut", "signature"])
    def test_damaged_request_is_an_error(self, authority: CertificateAuthority, damage: str) -> None:
        request, _ = self._request()
        damaged = request[:-5] if damage == "cut" else request[:-1] + bytes((request[-1] ^ 1,))
        raised(
            CertificateAuthorityError,
            lambda: authority.issue(damaged, validity=_VALIDITY, timeout=self.issue_timeout),
            doing="issuing for a request that is damaged",
            remedy="check the request's signature in issue()",
        )

    def test_unreachable_is_an_error(self, unreachable_authority: CertificateAuthority) -> None:
        request, _ = self._request()
        raised(
            CertificateAuthorityError,
            lambda: unreachable_authority.issue(request, validity=_VALIDITY, timeout=2.0),
            doing="issuing by a CA that does not answer",
            remedy="catch the library's errors in issue()",
        )

    def test_close_twice(self, authority: CertificateAuthority) -> None:
        authority.close()
        authority.close()
