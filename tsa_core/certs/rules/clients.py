"""What two families of clients need beyond the standards: Sigstore's, and Adobe Acrobat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.x509.oid import NameOID

from tsa_core.certs.chain import title
from tsa_core.certs.rules.contents import has_attribute, key_complaint, without_revocation
from tsa_core.certs.rules.rule import ChainCase, NotJudged, Rule, key_strength, rule

_SHA_2: Final = frozenset({"sha256", "sha384", "sha512"})


@rule("sigstore-names", clause="Sigstore trusted root: CertificateAuthority.subject", level="should")
def sigstore_names(case: ChainCase) -> str | None:
    """The TSA's name has an organizationName and a commonName, which a trusted root shows."""
    for attribute in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if not has_attribute(case.leaf, attribute):
            return f"the {title(case.leaf)} has no {attribute._name}; issue it with one"
    return None


@rule("sigstore-key", clause="clients: sigstore-js, rfc3161-client", level="should")
def sigstore_key(case: ChainCase) -> str | None:
    """The TSA's key is ECDSA: sigstore-js cannot verify RSA, and sigstore-python neither EdDSA nor ML-DSA."""
    family, _ = key_strength(case.leaf)
    if family.startswith("secp"):
        return None
    name = "RSA" if family == "rsa" else family
    return f"the key of the {title(case.leaf)} is {name}; some Sigstore clients verify nothing but ECDSA"


@rule("sigstore-padding", clause="clients: rfc3161-client, sigstore-js")
def sigstore_padding(case: ChainCase) -> str | None:
    """Tokens are not signed with RSA-PSS."""
    if case.algorithm is None:
        raise NotJudged("no key was given; --key URI tells how it signs")
    if case.algorithm.scheme != "rsa-pss":
        return None
    return "the signer makes RSA-PSS signatures, which no Sigstore client verifies; use PKCS #1 v1.5 or an ECDSA key"


SIGSTORE_RULES: Final[Sequence[Rule]] = (sigstore_names, sigstore_key, sigstore_padding)


@rule("acrobat-key", clause="ISO 32000-2 12.8.3.3; ISO/TS 32002; AATL technical requirements")
def acrobat_key(case: ChainCase) -> str | None:
    """Keys are RSA of 2048 to 4096 bits, or on P-256, P-384 or P-521."""
    complaints = (key_complaint(certificate, rsa_bits=2048, max_rsa_bits=4096) for certificate in case.certificates)
    return next(filter(None, complaints), None)


@rule("acrobat-signature", clause="ISO 32000-2 12.8.3.3")
def acrobat_signature(case: ChainCase) -> str | None:
    """Certificates below the root are signed by RSA or ECDSA with SHA-2."""
    for certificate in case.certificates[:-1]:
        signed = certificate.signature_hash_algorithm
        if signed is None or signed.name not in _SHA_2:
            name = signed.name if signed else certificate.signature_algorithm_oid.dotted_string
            return f"the {title(certificate)} is signed with {name}, which Acrobat does not accept"
    return None


@rule("acrobat-revocation", clause="ISO 32000-2 12.8.4 (LTV); Acrobat checks revocation of every timestamp")
def acrobat_revocation(case: ChainCase) -> str | None:
    """Every certificate below the root leads to a CRL or an OCSP responder, over http."""
    if (certificate := without_revocation(case.certificates[:-1])) is None:
        return None
    return (
        f"the {title(certificate)} leads to no CRL and no OCSP responder; Acrobat then cannot check it, and a "
        "signature with this timestamp never becomes LTV enabled"
    )


@rule("acrobat-name", clause="Acrobat: signature properties", level="should")
def acrobat_name(case: ChainCase) -> str | None:
    """The TSA's name has a commonName, which Acrobat shows."""
    if has_attribute(case.leaf, NameOID.COMMON_NAME):
        return None
    return f"the {title(case.leaf)} has no commonName for Acrobat to show"


ACROBAT_RULES: Final[Sequence[Rule]] = (acrobat_key, acrobat_signature, acrobat_revocation, acrobat_name)
