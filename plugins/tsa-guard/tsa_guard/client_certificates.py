"""Client certificates (mutual TLS): those of this server's own TLS, or as a reverse proxy passes them on in a header.

Who ended TLS has checked that the client has the key. Everything else about the certificate is checked here: issuer,
time, purpose, revocation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from tsa_core.api import ConfigError, Identity, read_file
from tsa_guard.options import ClientCertificates
from tsa_guard.watched_files import WatchedFiles

T = TypeVar("T")

_MAX_HEADER: Final = 16_384
_MAX_FILE: Final = 64 * 1_048_576
_CACHED: Final = 1_000
_BEGIN_CRL: Final = b"-----BEGIN X509 CRL-----"
_ALTERNATIVE_NAMES: Final[dict[str, Any]] = {
    "dns": x509.DNSName,
    "email": x509.RFC822Name,
    "uri": x509.UniformResourceIdentifier,
}
_USAGES: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


class _Trust:
    """The issuers and their revocation lists, as they were read."""

    def __init__(self, settings: ClientCertificates) -> None:
        self.issuers = _load(settings.ca, "issuers' certificates", x509.load_pem_x509_certificates)
        self._lists: dict[bytes, list[x509.CertificateRevocationList]] = {}
        for path in settings.crls:
            for crl in _load(path, "revocation list", _read_crls):
                signers = [issuer for issuer in self.issuers if _signed(crl, issuer)]
                if not signers:
                    raise ConfigError("no certificate of `ca` has signed this revocation list", path=str(path))
                if any(extension.critical for extension in crl.extensions):
                    raise ConfigError(
                        "this revocation list is not a whole one: a delta, or for some only", path=str(path)
                    )
                for issuer in signers:
                    self._lists.setdefault(issuer.fingerprint(SHA256()), []).append(crl)
        self.must_have_lists = bool(settings.crls)
        self.known: dict[bytes, tuple[datetime, Identity]] = {}
        """What was checked by these, by the hash of header or certificate, and until when it counts."""

    def lists_of(self, issuer: x509.Certificate) -> list[x509.CertificateRevocationList]:
        """Return the lists that an issuer's key has signed; a name may have several keys, and a key several lists."""
        return self._lists.get(issuer.fingerprint(SHA256()), [])


class ClientCertificateReader:
    """Says whose a certificate is. Thread-safe. Files that change are read again within a second or two."""

    def __init__(self, settings: ClientCertificates) -> None:
        self._settings = settings
        self._header = settings.header
        self._proxies = [ip_network(text) for text in settings.trusted_proxies if text != "unix"]
        self._unix = "unix" in settings.trusted_proxies
        self._trust = WatchedFiles(
            "issuers and revocation lists of clients", [settings.ca, *settings.crls], lambda: _Trust(settings)
        )

    @property
    def header(self) -> str:
        """The name of the header."""
        return self._header

    def trusts(self, client_address: str) -> bool:
        """Say whether the header is believed when it comes from this peer."""
        if client_address == "unix":
            return self._unix
        try:
            address = ip_address(client_address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._proxies)

    def known(self, given: str | bytes) -> Identity | None:
        """Return whose certificate this is when it was checked before, and counts still; None for any other."""
        known = self._trust.value.known.get(_digest(given)) if len(given) <= _MAX_HEADER else None
        return known[1] if known is not None and datetime.now(UTC) < known[0] else None

    def identity(self, given: str | bytes) -> Identity:
        """Return whose certificate this is; raises ValueError, with a sentence for the client, if it does not count.

        It is a header's text, or in DER.
        """
        if len(given) > _MAX_HEADER:
            raise ValueError("the client certificate is too long")
        now = datetime.now(UTC)
        trust = self._trust.value
        certificate = _certificate_in(given)
        until = _check(certificate, trust, now)
        identity = self._name(certificate)
        if len(trust.known) >= _CACHED:
            trust.known.clear()
        trust.known[_digest(given)] = until, identity
        return identity

    def _name(self, certificate: x509.Certificate) -> Identity:
        name = _name_of(certificate, self._settings.name_from)
        tenant = ""
        if self._settings.tenant_from != "none":
            oid = NameOID.ORGANIZATION_NAME if self._settings.tenant_from == "O" else NameOID.ORGANIZATIONAL_UNIT_NAME
            found = certificate.subject.get_attributes_for_oid(oid)
            if len(found) != 1:
                raise ValueError(f"the client certificate's subject has no {self._settings.tenant_from}, or several")
            tenant = str(found[0].value)
        try:
            return Identity(name=name, tenant=tenant, how="client-certificate")
        except ValueError:
            raise ValueError("the client certificate's name has characters that cannot be logged") from None

    def close(self) -> None:
        """End the thread."""
        self._trust.close()


def _digest(given: str | bytes) -> bytes:
    octets = given if isinstance(given, bytes) else b"header " + given.encode("utf-8", "replace")
    return hashlib.sha256(octets).digest()


def _load(path: Path, what: str, parse: Callable[[bytes], T]) -> T:
    """Return what `parse` makes of a file; raises ConfigError."""
    try:
        return parse(read_file(path, what, limit=_MAX_FILE))
    except ValueError:
        raise ConfigError(f"there is no {what} that can be read", path=str(path)) from None


def _read_crls(data: bytes) -> list[x509.CertificateRevocationList]:
    """Return every list of a file; raises ValueError when it holds none."""
    if not data.lstrip().startswith(b"-----"):
        return [x509.load_der_x509_crl(data)]
    found = [x509.load_pem_x509_crl(_BEGIN_CRL + each) for each in data.split(_BEGIN_CRL)[1:]]
    if not found:
        raise ValueError("there is no list")
    return found


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key: Any = issuer.public_key()
    try:
        return crl.issuer == issuer.subject and crl.is_signature_valid(key)
    except (TypeError, UnsupportedAlgorithm):  # this kind of key signs no lists
        return False


def _name_of(certificate: x509.Certificate, kind: str) -> str:
    """Return what names the client; raises ValueError when the certificate has no such name."""
    if kind == "sha256":
        return certificate.fingerprint(SHA256()).hex()
    if kind in _ALTERNATIVE_NAMES:
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            return str(next(iter(names.get_values_for_type(_ALTERNATIVE_NAMES[kind]))))
        except (x509.ExtensionNotFound, StopIteration):
            raise ValueError(f"the client certificate has no subject alternative name of the kind {kind}") from None
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if kind == "CN" else []
    return str(common[-1].value) if common else certificate.subject.rfc4514_string()


def _certificate_in(given: str | bytes) -> x509.Certificate:
    """Return the certificate: DER, or PEM, percent-encoded as nginx writes it, or base64 of DER as HAProxy does."""
    if isinstance(given, str) and "," in given:  # how two headers of one name arrive; no way to write one has a comma
        raise ValueError(
            "there are several client certificates: the proxy must overwrite the header that a client sends"
        )
    try:
        if isinstance(given, bytes):
            return x509.load_der_x509_certificate(given)
        data = unquote_to_bytes(given.strip())
        if data.startswith(b"-----"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(base64.b64decode(data.strip(b":"), validate=True))
    except (ValueError, binascii.Error):
        raise ValueError("the client certificate cannot be read") from None


def _check(certificate: x509.Certificate, trust: _Trust, now: datetime) -> datetime:
    """Return how long the certificate counts; raises ValueError."""
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ValueError("the client certificate is not valid now")
    issuers = [issuer for issuer in trust.issuers if _issued_by(certificate, issuer, now)]
    if not issuers:
        raise ValueError("the client certificate is of another issuer than those that count here")
    _check_usage(certificate)
    until = min(each.not_valid_after_utc for each in (certificate, *issuers))
    if trust.must_have_lists:
        lists = [crl for issuer in issuers for crl in trust.lists_of(issuer)]
        if not lists:
            raise ValueError("there is no revocation list of the client certificate's issuer here")
        if any(crl.get_revoked_certificate_by_serial_number(certificate.serial_number) for crl in lists):
            raise ValueError("the client certificate is revoked")
        newest = max(crl.next_update_utc or now for crl in lists)
        if newest <= now:
            raise ValueError("the revocation list of the client certificate's issuer is out of date here")
        until = min(until, newest)
    return until


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_usage(certificate: x509.Certificate) -> None:
    """Refuse a certificate that is not for clients (RFC 5280 4.2.1.12), or that is a CA's."""
    try:
        for extension in certificate.extensions:
            if extension.oid == ExtensionOID.EXTENDED_KEY_USAGE and not _USAGES & set(extension.value):
                raise ValueError("the client certificate is not for clients")
            if extension.oid == ExtensionOID.BASIC_CONSTRAINTS and extension.value.ca:
                raise ValueError("the client certificate is a CA's")
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError("the client certificate cannot be read") from None
