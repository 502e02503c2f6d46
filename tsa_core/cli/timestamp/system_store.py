"""The certificates that this system trusts, in the file that its programs read for TLS."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import read_file

if TYPE_CHECKING:
    from cryptography import x509

_PLACES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, FreeBSD, OpenBSD
)


def store_file() -> str:
    """Return the file of the system's store: SSL_CERT_FILE, OpenSSL's, or a usual one; raises UsageMistake."""
    if named := os.environ.get("SSL_CERT_FILE"):
        return named
    import ssl

    for place in (ssl.get_default_verify_paths().cafile or "", *_PLACES):
        if Path(place).is_file():
            return place
    raise UsageMistake(
        "the system's store of certificates was not found; name its file in SSL_CERT_FILE, or give --roots FILE"
    )


def system_roots(fingerprints: Collection[str] | None = None) -> tuple[x509.Certificate, ...]:
    """Return the store's certificates, or those with these SHA-256 fingerprints; raises UsageMistake.

    Certificates that the verifier cannot read are left out.
    """
    from cryptography.hazmat.primitives import hashes

    from tsa_core.paths.certificate import PathCertificate
    from tsa_core.paths.errors import PathError
    from tsa_core.verify.trust import read_certificates

    name = store_file()
    found = []
    for block in read_file(name).split(b"-----END CERTIFICATE-----"):
        begin = block.find(b"-----BEGIN CERTIFICATE-----")
        if begin < 0:
            continue
        try:
            [certificate] = read_certificates(block[begin:] + b"-----END CERTIFICATE-----\n")
            if fingerprints is None or certificate.fingerprint(hashes.SHA256()).hex() in fingerprints:
                PathCertificate(certificate)
                found.append(certificate)
        except (PathError, ValueError):
            continue
    if not found and fingerprints is None:
        raise UsageMistake(f"the system's store of certificates, {name}, holds none that can be read")
    return tuple(found)
