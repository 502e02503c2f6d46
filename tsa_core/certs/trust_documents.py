"""Documents by which Sigstore's clients learn whom to trust and whom to ask: TrustedRoot and SigningConfig.

Both are the JSON of Sigstore's protobuf messages (dev.sigstore.trustroot.v1), which may leave out what has its default.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from tsa_core.certs.chain import CertificateChain
from tsa_core.protocol.encodings import Encoding
from tsa_core.values import Value

TRUSTED_ROOT_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SIGNING_CONFIG_TYPE: Final = "application/vnd.dev.sigstore.signingconfig.v0.2+json"


class PublishedAuthority(Value):
    """A chain with which timestamps are or were signed, from the TSA's certificate to the root.

    It could sign from `begun` to `ended`, both aware, None while it is in use. `uri` is the authority's URL, or empty.
    """

    chain: CertificateChain
    begun: datetime
    ended: datetime | None = None
    uri: str = ""


def trusted_root(authorities: Sequence[PublishedAuthority]) -> dict[str, Any]:
    """Return the TrustedRoot that trusts these chains for timestamps, each in its time."""
    return {
        "mediaType": TRUSTED_ROOT_TYPE,
        "tlogs": [],
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [_authority(each) for each in authorities],
    }


def signing_config(
    url: str, *, start: datetime, operator: str = "", base: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the SigningConfig that sends clients to the timestamp authority at `url` from `start`, aware, on.

    `base` is one whose certificate authorities and logs are kept; its timestamp authorities are replaced.
    """
    service = {"url": url, "majorApiVersion": 1, "validFor": {"start": _time(start)}, "operator": operator}
    empty = {"caUrls": [], "oidcUrls": [], "rekorTlogUrls": [], "rekorTlogConfig": {"selector": "ANY"}}
    own = {"mediaType": SIGNING_CONFIG_TYPE, "tsaUrls": [service], "tsaConfig": {"selector": "ANY"}}
    return {**(base if base is not None else empty), **own}


def _authority(authority: PublishedAuthority) -> dict[str, Any]:
    certificates = authority.chain.certificates
    window = {"start": _time(authority.begun)}
    if authority.ended is not None:
        window["end"] = _time(authority.ended)
    return {
        "subject": _subject(certificates[-1]),
        **({"uri": authority.uri} if authority.uri else {}),
        "certChain": {"certificates": [{"rawBytes": _base64(certificate)} for certificate in certificates]},
        "validFor": window,
    }


def _subject(certificate: x509.Certificate) -> dict[str, str]:
    """Return the organization and the common name, as the message has them."""
    fields = {"organization": NameOID.ORGANIZATION_NAME, "commonName": NameOID.COMMON_NAME}
    found = {name: certificate.subject.get_attributes_for_oid(oid) for name, oid in fields.items()}
    return {name: str(values[0].value) for name, values in found.items() if values}


def _base64(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
