"""What the caller trusts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

from cryptography import exceptions, x509

from tsa_core.paths.certificate import PathCertificate, load_certificate, load_pem_certificates, text
from tsa_core.paths.extensions import PARSING_ERRORS
from tsa_core.protocol.errors import EncodingError
from tsa_core.sources import Source, octets
from tsa_core.values import Value
from tsa_core.verify.errors import PathError
from tsa_core.verify.trusted_authority import TrustedAuthority, check_window

MAX_TRUST_OCTETS: Final = 64 << 20


class TrustAnchor(Value):
    """A root that is trusted only for timestamps of a certain time, as long as a key was in good hands for example.

    `trusted_from` and `trusted_until` are aware and belong to the window; None leaves that side to the
    certificate's own validity, which counts in any case.
    """

    certificate: x509.Certificate
    trusted_from: datetime | None = None
    trusted_until: datetime | None = None

    def __post_init__(self) -> None:
        check_window(self.trusted_from, self.trusted_until)


class _Anchor(PathCertificate):
    """A trust anchor prepared for path building: its validity is cut to the window of trust."""

    def __init__(self, anchor: TrustAnchor) -> None:
        super().__init__(anchor.certificate)
        own = anchor.certificate
        self.not_before = max(own.not_valid_before_utc, anchor.trusted_from or own.not_valid_before_utc)
        self.not_after = min(own.not_valid_after_utc, anchor.trusted_until or own.not_valid_after_utc)
        self._trusted = anchor

    def check_time(self, time: datetime) -> None:
        """Raise PathError unless `time` is inside the validity and inside the window of trust."""
        trusted = self._trusted
        if trusted.trusted_from is not None and time < trusted.trusted_from:
            raise PathError(f"{self.name} is trusted from {text(trusted.trusted_from)}, which is after {text(time)}")
        if trusted.trusted_until is not None and time > trusted.trusted_until:
            raise PathError(f"{self.name} is trusted until {text(trusted.trusted_until)}, which is before {text(time)}")
        super().check_time(time)


class TrustStore(Value):
    """The roots that the caller trusts, and certificates that may help to reach them but carry no trust.

    A root is a certificate, or a TrustAnchor where it is trusted for some time only. `certificates` are
    intermediates, and the signer's own certificate where a token does not hold it. With `authorities`, a path to a
    root is not enough: one of them must vouch for it at the time for which it is verified.
    """

    roots: tuple[x509.Certificate | TrustAnchor, ...]
    certificates: tuple[x509.Certificate, ...] = ()
    authorities: tuple[TrustedAuthority, ...] = ()

    def __post_init__(self) -> None:
        if not self.roots:
            raise PathError("no root certificate was given, so nothing can be trusted")
        windows = [root.certificate for root in self.roots if isinstance(root, TrustAnchor)]
        plain = {root for root in self.roots if not isinstance(root, TrustAnchor)}
        if len(set(windows)) != len(windows) or plain.intersection(windows):
            raise ValueError("a root stands in the trust store twice, with different windows of trust")

    @cached_property
    def prepared_roots(self) -> tuple[PathCertificate, ...]:
        """The roots, prepared for path building once for every verifier that uses this store."""
        return tuple(_Anchor(r) if isinstance(r, TrustAnchor) else PathCertificate(r) for r in self.roots)

    @cached_property
    def prepared_certificates(self) -> tuple[PathCertificate, ...]:
        """The other certificates, prepared likewise."""
        return tuple(map(PathCertificate, self.certificates))

    def check_authorities(self, path: Sequence[PathCertificate], time: datetime) -> None:
        """Raise PathError when there are authorities and none vouches for a path, from signer to root, at `time`."""
        reasons = [authority.why_not(path, time) for authority in self.authorities]
        if reasons and None not in reasons:
            reason = next(filter(None, reasons), f"{path[0].name} is not the signer of any trusted authority")
            raise PathError(reason)

    @classmethod
    def from_authorities(cls, authorities: Iterable[TrustedAuthority]) -> TrustStore:
        """Trust these authorities, each in its window; raises PathError when there is none."""
        authorities = tuple(authorities)
        own = [c for a in authorities for c in (a.signer, *a.intermediates) if c is not None]
        return cls(
            roots=tuple(dict.fromkeys(authority.root for authority in authorities)),
            certificates=tuple(dict.fromkeys(own)),
            authorities=authorities,
        )

    @classmethod
    def read(cls, source: Source) -> TrustStore:
        """Read a chain up to its root, PEM or DER, or a TrustedRoot, which is JSON: a path, bytes or an open file.

        Raises PathError when it is neither or holds nothing to trust, and OSError when it cannot be read.
        """
        data = _octets(source)
        return cls.from_trusted_root(data) if data.lstrip()[:1] == b"{" else cls.from_chain(data)

    @classmethod
    def from_trusted_root(cls, document: Source) -> TrustStore:
        """Read Sigstore's TrustedRoot, JSON: its timestamp authorities with their windows of trust.

        `document` is a path, bytes or an open file. Raises PathError when it cannot be read, or names no authority.
        """
        # Not at the top: a command that trusts a chain does without it.
        from tsa_core.verify.trusted_root import read_trusted_root

        return cls.from_authorities(read_trusted_root(_octets(document)))

    @classmethod
    def from_chain(cls, chain: Source) -> TrustStore:
        """Read a chain as an authority serves it: signer, intermediates, root; PEM in any order, or one DER.

        `chain` is a path, bytes or an open file. The self-signed certificates are the roots. Raises PathError when
        there is none, because then nothing in the file says what is to be trusted.
        """
        certificates = read_certificates(_octets(chain))
        roots = tuple(c for c in certificates if is_self_signed(c))
        if not roots:
            raise PathError(
                "the certificate chain holds no self-signed root; give the root with --root-certificates "
                "and this file with --intermediate-certificates"
            )
        return cls(roots=roots, certificates=tuple(c for c in certificates if c not in roots))

    @classmethod
    def from_files(cls, roots: Source, intermediates: Source = b"") -> TrustStore:
        """Read roots and intermediates, each PEM with any number of certificates or one DER certificate.

        Each is a path, bytes or an open file. Raises PathError, or OSError for a file that cannot be read.
        """
        between = _octets(intermediates)
        return cls(
            roots=read_certificates(_octets(roots)),
            certificates=read_certificates(between) if between else (),
        )


def _octets(source: Source) -> bytes:
    data = octets(source, "the certificates", MAX_TRUST_OCTETS)
    if len(data) > MAX_TRUST_OCTETS:
        raise PathError(f"the certificates have more than {MAX_TRUST_OCTETS} bytes")
    return data


def read_one_certificate(source: Source) -> x509.Certificate:
    """Return the one certificate that a source holds; raises PathError when it holds none, or several."""
    found = read_certificates(_octets(source))
    if len(found) != 1:
        raise PathError(f"one certificate was expected, and there are {len(found)}")
    return found[0]


def read_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `data`, PEM or one DER; raises PathError when there is none to read."""
    if b"-----BEGIN" not in data and not data.startswith(b"\x30"):
        raise PathError("the certificates cannot be read: they are neither PEM nor DER")
    try:
        if b"-----BEGIN" in data:
            return tuple(load_pem_certificates(data))
        return (load_certificate(data),)
    except (EncodingError, *PARSING_ERRORS) as error:
        raise PathError(f"the certificates cannot be read: {error}") from None


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is signed with its own key."""
    try:
        certificate.verify_directly_issued_by(certificate)
    except (exceptions.InvalidSignature, *PARSING_ERRORS):
        return False
    return True
