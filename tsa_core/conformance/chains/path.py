"""The rules that every chain must fulfil before a server issues with it (RFC 3161 2.3, RFC 5280, the reference system).

The server judges them at start, in this order, and stops at the first that fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from tsa_core.conformance.chains.contents import other_usages
from tsa_core.conformance.chains.rule import ChainCase, NotJudged, Rule, extension, key_strength, rule
from tsa_core.paths.certificate import PathCertificate
from tsa_core.paths.chains import MAX_CERTIFICATES, issued_by, title
from tsa_core.protocol.signatures import MIN_RSA_BITS, describe_key, key_fingerprint, public_key_info

_SIGNING: Final = frozenset({"digital_signature", "content_commitment"})


@rule("chain-length", clause="RFC 3161 2.4.1; reference system")
def chain_length(case: ChainCase) -> str | None:
    """The chain has the TSA's certificate, any intermediates and the root."""
    if 2 <= len(case.certificates) <= MAX_CERTIFICATES:
        return None
    return (
        f"the certificate chain has {len(case.certificates)} certificate(s); it needs the TSA certificate, any "
        f"intermediates and the root, in that order, {MAX_CERTIFICATES} at most"
    )


@rule("validity", clause="RFC 5280 6.1.3 (a)(2)")
def validity(case: ChainCase) -> str | None:
    """Every certificate is valid now."""
    for certificate in case.certificates:
        if case.at < certificate.not_valid_before_utc:
            return (
                f"the {title(certificate)} is not valid before "
                f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S}Z; check the clock, or wait"
            )
        if case.at > certificate.not_valid_after_utc:
            return f"the {title(certificate)} ended on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}Z; renew it"
    return None


@rule("issued-by-the-next", clause="RFC 5280 6.1.3 (a)(1), (a)(4)")
def issued_by_the_next(case: ChainCase) -> str | None:
    """Each certificate was issued by the one that follows it: its name and its signature."""
    for certificate, issuer in zip(case.certificates, case.authorities, strict=False):
        if not issued_by(certificate, issuer):
            return (
                f"the {title(certificate)} was not issued by the {title(issuer)} that follows it; "
                "order the chain from the TSA certificate to the root"
            )
    return None


@rule("root-last", clause="RFC 5280 6.1; reference system")
def root_last(case: ChainCase) -> str | None:
    """The last certificate is self-signed."""
    if issued_by(case.root, case.root):
        return None
    return f"the last {title(case.root)} is not self-signed; put the root at the end of the chain"


@rule("leaf-no-ca", clause="RFC 3161 2.3; reference system")
def leaf_no_ca(case: ChainCase) -> str | None:
    """The TSA's certificate is no CA's."""
    constraints = extension(case.leaf, x509.BasicConstraints)
    if constraints is None or not constraints.value.ca:
        return None
    return f"the first {title(case.leaf)} is a CA's; the chain must begin with the TSA's own certificate"


@rule("leaf-usage-timestamping", clause="RFC 3161 2.3")
def leaf_usage_timestamping(case: ChainCase) -> str | None:
    """The TSA's extended key usage is timeStamping and nothing else."""
    usage = extension(case.leaf, x509.ExtendedKeyUsage)
    if usage is not None and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]:
        return None
    found = ", ".join(oid.dotted_string for oid in usage.value) if usage else "none"
    return (
        f"the extended key usage of the {title(case.leaf)} must be timeStamping (1.3.6.1.5.5.7.3.8) and nothing "
        f"else, it is: {found}; issue a certificate for timestamping alone (RFC 3161 2.3)"
    )


@rule("leaf-usage-critical", clause="RFC 3161 2.3")
def leaf_usage_critical(case: ChainCase) -> str | None:
    """The TSA's extended key usage is critical."""
    usage = extension(case.leaf, x509.ExtendedKeyUsage)
    if usage is not None and usage.critical:
        return None
    return (
        f"the extended key usage of the {title(case.leaf)} is not critical; RFC 3161 2.3 demands it: "
        "issue the certificate again with extendedKeyUsage = critical, timeStamping"
    )


@rule("leaf-signs", clause="RFC 5280 4.2.1.3")
def leaf_signs(case: ChainCase) -> str | None:
    """The TSA's key usage, if there is one, allows signatures."""
    usage = extension(case.leaf, x509.KeyUsage)
    if usage is None or usage.value.digital_signature or usage.value.content_commitment:
        return None
    return f"the key usage of the {title(case.leaf)} allows no signatures; it needs digitalSignature"


@rule("leaf-signs-only", clause="RFC 3161 2.3")
def leaf_signs_only(case: ChainCase) -> str | None:
    """The TSA's key usage, if there is one, allows nothing but signatures."""
    usage = extension(case.leaf, x509.KeyUsage)
    if usage is None or not (others := other_usages(usage.value, allowed=_SIGNING)):
        return None
    return f"the key usage of the {title(case.leaf)} allows more than signatures: {', '.join(others)}"


@rule("authorities-are-cas", clause="RFC 5280 6.1.4 (k)")
def authorities_are_cas(case: ChainCase) -> str | None:
    """Every other certificate is a CA's."""
    for certificate in case.authorities:
        constraints = extension(certificate, x509.BasicConstraints)
        if constraints is None or not constraints.value.ca:
            return f"the {title(certificate)} is no CA's (basicConstraints), so it cannot have issued the one before it"
    return None


@rule("authorities-sign-certificates", clause="RFC 5280 6.1.4 (n)")
def authorities_sign_certificates(case: ChainCase) -> str | None:
    """A CA's key usage, if there is one, allows it to sign certificates."""
    for certificate in case.authorities:
        usage = extension(certificate, x509.KeyUsage)
        if usage is not None and not usage.value.key_cert_sign:
            return f"the key usage of the {title(certificate)} lacks keyCertSign, so it cannot have issued any"
    return None


@rule("path-length", clause="RFC 5280 6.1.4 (l), (m)")
def path_length(case: ChainCase) -> str | None:
    """No CA has more CAs below it than it allows."""
    below = 0
    for certificate in case.authorities:
        constraints = extension(certificate, x509.BasicConstraints)
        limit = constraints.value.path_length if constraints else None
        if limit is not None and below > limit:
            return f"the {title(certificate)} allows {limit} CA certificate(s) below it, the chain has {below}"
        below += not PathCertificate(certificate).self_issued
    return None


@rule("intermediates-usage-timestamping", clause="reference system")
def intermediates_usage_timestamping(case: ChainCase) -> str | None:
    """Every intermediate's extended key usage lists timeStamping."""
    for certificate in case.intermediates:
        usage = extension(certificate, x509.ExtendedKeyUsage)
        if usage is None or ExtendedKeyUsageOID.TIME_STAMPING not in usage.value:
            return (
                f"the extended key usage of the intermediate {title(certificate)} does not list timeStamping; "
                "issue it so, or set enforce_intermediate_eku = false"
            )
    return None


@rule("rsa-size", clause="NIST SP 800-131A")
def rsa_size(case: ChainCase) -> str | None:
    """RSA keys have 2048 bits or more."""
    for certificate in (*case.authorities, case.leaf):
        family, bits = key_strength(certificate)
        if family == "rsa" and bits < MIN_RSA_BITS:
            return f"the RSA key of the {title(certificate)} has {bits} bits; {MIN_RSA_BITS} is the minimum"
    return None


@rule("key-is-the-signers", clause="RFC 3161 2.3")
def key_is_the_signers(case: ChainCase) -> str | None:
    """The TSA's certificate is for the signer's key."""
    if case.public_key is None:
        raise NotJudged("no key was given; --key URI compares it with the certificate")
    try:
        certified = case.leaf.public_key()
        same = public_key_info(certified) == public_key_info(case.public_key)  # type: ignore[arg-type] # X25519: unequal
        kind = f"{describe_key(certified)}, SHA-256 {key_fingerprint(certified)}"  # type: ignore[arg-type] # as above
    except (ValueError, UnsupportedAlgorithm):
        same, kind = False, "of an unknown kind"
    if same:
        return None
    own = f"{describe_key(case.public_key)}, SHA-256 {key_fingerprint(case.public_key)}"
    return (
        f"the signer's key ({own}) is not the one that the {title(case.leaf)} certifies ({kind}); give the chain that "
        "was issued for this key, or the other key"
    )


START_RULES: Final[Sequence[Rule]] = (
    chain_length,
    validity,
    issued_by_the_next,
    root_last,
    leaf_no_ca,
    leaf_usage_timestamping,
    leaf_usage_critical,
    leaf_signs,
    leaf_signs_only,
    authorities_are_cas,
    authorities_sign_certificates,
    path_length,
    intermediates_usage_timestamping,
    rsa_size,
    key_is_the_signers,
)
"""What the server demands at start."""
