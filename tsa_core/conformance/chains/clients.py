"""What two families of clients need beyond the standards: Sigstore's, and Adobe Acrobat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.x509.oid import NameOID

from tsa_core.conformance.chains.contents import has_attribute, key_complaint, without_revocation
from tsa_core.conformance.chains.rule import ChainCase, NotJudged, Rule, key_strength, rule
from tsa_core.paths.chains import title

_SHA_2: Final = frozenset({"sha256", "sha384", "sha512"})


@rule("sigstore-names", clause="Sigstore trusted root: CertificateAuthority.subject", level="should")
def sigstore_names(case: ChainCase) -> str | None:
    """The TSA's name has an organizationName and a commonName, which a trusted root shows."""
    for attribute in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        if not has_attribute(case.leaf, attribute):
            return f"the {title(case.leaf)} has no {attribute._name}; issue it with one"
    return None


@rule("sigstore-key", clause="clients: sigstore-python, sigstore-js, sigstore-go, sigstore-rust", level="should")
def sigstore_key(case: ChainCase) -> str | None:
    """The TSA's key is ECDSA on P-256 or P-384, which every Sigstore client verifies."""
    family, _ = key_strength(case.leaf)
    if family in {"secp256r1", "secp384r1"}:
        return None
    key = f"the key of the {title(case.leaf)} is"
    if family in {"rsa", "secp521r1"}:
        name = "RSA" if family == "rsa" else "on P-521"
        return f"{key} {name}; sigstore-js, sigstore-go and sigstore-python verify it, sigstore-rust does not"
    return f"{key} {family}; sigstore-python does not verify it, and other Sigstore clients only Ed25519 if at all"


@rule("sigstore-digest", clause="clients: sigstore-js", level="should")
def sigstore_digest(case: ChainCase) -> str | None:
    """An RSA key signs with SHA-256; sigstore-js verifies RSA with no other digest."""
    algorithm = case.token_algorithm()
    if algorithm is None or algorithm.scheme != "rsa-pkcs1v15" or algorithm.digest.name == "sha256":
        return None
    return (
        f"the signer makes RSA signatures with {algorithm.digest.name}, which sigstore-js refuses; set signer_hash to "
        "sha256, or use an ECDSA key"
    )


@rule("sigstore-gen-time", clause="clients: sigstore-js", level="should")
def sigstore_gen_time(case: ChainCase) -> str | None:
    """Times have whole seconds (fraction_digits = 0); sigstore-js reads three digits of a fraction, or none."""
    if case.fraction_digits is None:
        raise NotJudged("no profile that issues with this chain was given; --config FILE tells its fraction_digits")
    return next(filter(None, map(fraction_digits_complaint, case.fraction_digits)), None)


def fraction_digits_complaint(digits: int) -> str | None:
    """Return which of the times with so many fraction digits sigstore-js refuses, None when it reads all.

    It reads whole seconds and fractions of exactly three digits, while a token has no trailing zeros.
    """
    if digits == 0:
        return None
    refused = {3: "the one token in ten whose fraction is shorter"}.get(digits, "nearly every token")
    return (
        f"fraction_digits = {digits}: sigstore-js reads whole seconds or exactly three digits of a fraction, and "
        f"refuses {refused}, because trailing zeros are not written; set it to 0 if such clients verify"
    )


@rule("sigstore-padding", clause="clients: sigstore-python, sigstore-js, sigstore-go")
def sigstore_padding(case: ChainCase) -> str | None:
    """Tokens are not signed with RSA-PSS."""
    if case.algorithm is None:
        raise NotJudged("no key was given; --key URI tells how it signs")
    if case.algorithm.scheme != "rsa-pss":
        return None
    return "the signer makes RSA-PSS signatures, which no Sigstore client verifies; use PKCS #1 v1.5 or an ECDSA key"


SIGSTORE_RULES: Final[Sequence[Rule]] = (
    sigstore_names,
    sigstore_key,
    sigstore_digest,
    sigstore_padding,
    sigstore_gen_time,
)


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
