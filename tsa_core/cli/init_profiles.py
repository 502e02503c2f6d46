"""What `init` needs to know so that the chain passes the profiles that were asked for, and how it asks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click

from tsa_core.certs import Publication
from tsa_core.config import DEFAULT_POLICY
from tsa_core.conformance.etsi import BEST_PRACTICES_POLICY
from tsa_core.conformance.profiles import CONFORMANCE

CSBR_POLICY: Final = "2.23.140.1.4.2"
"""What the CA/Browser Forum reserves for timestamps."""
_NEEDS: Final[dict[str, Sequence[str]]] = {
    "etsi": ("organization", "country", "addresses", "policy", "https"),
    "csbr": ("addresses", "policy"),
    "acrobat": ("addresses",),
    "sigstore": (),
}
"""What each profile's rules ask for beyond what every chain and every configuration has."""
POLICY_TEXT: Final = """\
Every token states the OID of the policy under which it was issued. Type one of your organization's own; or "uuid", for
one under 2.25 that nobody else has, which clients written in Go (cosign for example) and sigstore-rust cannot read; or
press Enter for the one that Sigstore's authorities state."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What goes into the certificates and the tokens, as far as it is known."""

    organization: str | None
    country: str | None
    publication: Publication
    timestamp_policy: str | None
    public_url: str | None = None


def enforced(profiles: Sequence[str]) -> list[str]:
    """Return those profiles whose demands a server enforces: `conformance` in its settings."""
    return [name for name in CONFORMANCE if name in profiles]


def new_policy() -> str:
    """Return a policy OID that nobody else has (X.667: an arc for every UUID)."""
    return f"2.25.{uuid.uuid4().int}"


def published_at(base: str, publication: Publication) -> Publication:
    """Return the addresses below `base` where CRLs and certificates will be, beside those that were given."""
    base = base.rstrip("/")
    return publication.replace(
        crl_urls=[*publication.crl_urls, f"{base}/{{issuer}}.crl"],
        issuer_urls=[*publication.issuer_urls, f"{base}/{{issuer}}.cer"],
    )


def complete(wishes: Wishes, profiles: Sequence[str], *, ask: Callable[[str], str] | None) -> Wishes:
    """Return the wishes with what the profiles need; `ask` asks a person, None when nobody is there to answer.

    Raises UsageError that names every flag that is missing.
    """
    needs = {need for profile in profiles for need in _NEEDS[profile]}
    if ask is not None:
        wishes = _asked(wishes, needs, ask)
    missing = []
    if "organization" in needs and not wishes.organization:
        missing.append("--org NAME")
    if "country" in needs and not wishes.country:
        missing.append("--country CC")
    published = wishes.publication
    if "addresses" in needs and not ((published.crl_urls or published.ocsp_urls) and published.issuer_urls):
        missing.append("--publish-at URL, where the CAs' CRLs and certificates will be")
    if "https" in needs and not (wishes.public_url or "").startswith("https://"):
        missing.append("--public-url https://..., where clients reach the server: a proxy does TLS there")
    if missing:
        raise click.UsageError(f"--profile {' --profile '.join(profiles)} needs {'; '.join(missing)}")
    if "policy" in needs and not published.policies:
        own = wishes.timestamp_policy if wishes.timestamp_policy != DEFAULT_POLICY else None
        if "csbr" not in profiles and own is None:
            raise click.UsageError(
                "--profile etsi needs the OID of the certificate policy under which your CA issues: --policy-oid OID"
            )
        # The one that is reserved says what the profile is about; otherwise the CA's policy is that of its tokens.
        chosen = CSBR_POLICY if "csbr" in profiles else own
        wishes = replace(wishes, publication=published.replace(policies=[chosen or CSBR_POLICY]))
    if "etsi" in profiles and wishes.timestamp_policy is None:
        wishes = replace(wishes, timestamp_policy=BEST_PRACTICES_POLICY)
    return wishes


def _asked(wishes: Wishes, needs: set[str], ask: Callable[[str], str]) -> Wishes:
    """Return the wishes with a person's answers."""
    published = wishes.publication
    if "addresses" in needs and not ((published.crl_urls or published.ocsp_urls) and published.issuer_urls):
        base = ask("Address below which the CAs' CRLs and certificates will be, http://pki.example.org")
        if base:
            wishes = replace(wishes, publication=published_at(base, published))
    if "https" in needs and wishes.public_url is None:
        wishes = replace(wishes, public_url=ask("Address of the proxy that does TLS, https://tsa.example.org") or None)
    return wishes
