"""Certificate paths: everything RFC 5280 6.1 lets go wrong, and agreement with cryptography's own verifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    START,
    Issued,
    ca_extensions,
    issue,
    key_usage,
    make_chain,
    make_key,
    name,
    signer_extensions,
)
from tsa_core.verify import PathError, TrustStore, VerificationError, verify_response

ROOT = issue("Root", extensions=ca_extensions())


def path(signer: Issued, *others: Issued, root: Issued = ROOT) -> list[x509.Certificate]:
    """Return the path that a token of this signer gets when the other certificates are in the token."""
    bag = [signer.der, *(other.der for other in others)]
    reply = forge.reply(forge.token(signer, certificates=bag))
    trust = TrustStore(roots=(root.certificate,))
    return list(verify_response(reply, artifact=b"hello", trust=trust).path)


def certificates(*issued: Issued) -> list[x509.Certificate]:
    return [one.certificate for one in issued]


def signer_of(issuer: Issued, **arguments: Any) -> Issued:
    return issue("Signer", issuer=issuer, extensions=signer_extensions(), **arguments)


def test_kinds_of_keys_may_be_mixed() -> None:
    root = issue("Old", key=make_key("rsa2048"), extensions=ca_extensions())
    middle = issue("Middle", issuer=root, key=make_key("ml-dsa-65"), extensions=ca_extensions())
    low = issue("Low", issuer=middle, key=make_key("ed25519"), extensions=ca_extensions())
    signer = signer_of(low, key=make_key("p521"))
    assert path(signer, low, middle, root=root) == certificates(signer, low, middle, root)


def test_a_signature_fills_its_octets() -> None:
    """The count of unused bits is signed by nothing; where the last bit is zero, any DER reader lets a one pass."""
    while (middle := issue("CA", issuer=ROOT, extensions=ca_extensions())).der[-1] & 1:
        pass
    signer = signer_of(middle)
    assert path(signer, middle) == certificates(signer, middle, ROOT)
    count = middle.der.rindex(middle.certificate.signature) - 1
    changed = middle.der[:count] + b"\x01" + middle.der[count + 1 :]
    x509.load_der_x509_certificate(changed)
    reply = forge.reply(forge.token(signer, certificates=[signer.der, changed]))
    with pytest.raises(PathError, match="does not fill its octets"):
        verify_response(reply, artifact=b"hello", trust=TrustStore(roots=(ROOT.certificate,)))


def test_another_certificate_of_the_same_ca_is_tried() -> None:
    key = make_key()
    expired = issue("CA", issuer=ROOT, key=key, extensions=ca_extensions(), not_after=START + timedelta(days=1))
    impostor = issue("CA", issuer=ROOT, extensions=ca_extensions())
    good = issue("CA", issuer=ROOT, key=key, extensions=ca_extensions())
    signer = signer_of(good)
    for order in ((expired, impostor, good), (good, impostor, expired), (impostor, good, expired)):
        assert path(signer, *order) == certificates(signer, good, ROOT)


def test_a_cross_certificate_leads_to_the_root_that_is_trusted() -> None:
    other_root = issue("Other root", extensions=ca_extensions())
    key = make_key()
    from_other = issue("CA", issuer=other_root, key=key, extensions=ca_extensions())
    crossed = issue("CA", issuer=ROOT, key=key, extensions=ca_extensions())
    signer = signer_of(from_other)
    assert path(signer, from_other, crossed) == certificates(signer, crossed, ROOT)
    assert path(signer, from_other, crossed, root=other_root) == certificates(signer, from_other, other_root)


def test_key_identifiers_are_hints_and_no_more() -> None:
    key = make_key()
    wrong_hint = (x509.SubjectKeyIdentifier(b"\x00" * 20), False)
    good = issue("CA", issuer=ROOT, key=key, extensions=(*ca_extensions(), wrong_hint))
    hint = x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)
    impostor_hint = (x509.SubjectKeyIdentifier(b"\x01" * 20), False)
    impostor = issue("CA", issuer=ROOT, extensions=(*ca_extensions(), impostor_hint))
    signer = issue("Signer", issuer=good, extensions=(*signer_extensions(), (hint, False)))
    assert path(signer, impostor, good) == certificates(signer, good, ROOT)


def test_self_issued_intermediates_do_not_count() -> None:
    old = issue("CA", issuer=ROOT, extensions=ca_extensions(0))
    rolled = issue(name("CA"), issuer=old, extensions=ca_extensions(0))
    signer = signer_of(rolled)
    assert path(signer, old, rolled) == certificates(signer, rolled, old, ROOT)


def test_a_signer_that_is_trusted_itself_needs_no_path() -> None:
    alone = issue("Alone", extensions=signer_extensions())
    assert path(alone, root=alone) == certificates(alone)
    with pytest.raises(PathError):
        path(alone)


def test_an_intermediate_may_be_what_is_trusted() -> None:
    chain = make_chain()
    assert path(chain.signer, root=chain.intermediate) == certificates(chain.signer, chain.intermediate)


def test_the_roots_own_constraints_count() -> None:
    for extensions in (ca_extensions(0), (key_usage(crls=True), ca_extensions()[0])):
        root = issue("Root", extensions=extensions)
        middle = issue("CA", issuer=root, extensions=ca_extensions())
        signer = signer_of(middle)
        with pytest.raises(PathError):
            path(signer, middle, root=root)


def test_a_path_that_is_too_long() -> None:
    issuers = [ROOT]
    for depth in range(12):
        issuers.append(issue(f"CA {depth}", issuer=issuers[-1], extensions=ca_extensions()))
    good = signer_of(issuers[8])
    assert len(path(good, *issuers[1:9])) == 10
    with pytest.raises(PathError, match="longer than 10"):
        path(signer_of(issuers[9]), *issuers[1:10])


# --- name constraints ---


def directory(*names: x509.Name) -> list[x509.GeneralName]:
    return [x509.DirectoryName(each) for each in names]


ORGANISATION = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "TSA-core   Tests")])
ELSEWHERE = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "elsewhere")])


@pytest.mark.parametrize(
    ("permitted", "excluded", "good"),
    [
        (directory(ORGANISATION), None, True),
        (directory(ELSEWHERE), None, False),
        (directory(ELSEWHERE, ORGANISATION), None, True),
        (directory(name("Signer")), None, True),
        (directory(name("Somebody")), None, False),
        (None, directory(ORGANISATION), False),
        (None, directory(ELSEWHERE), True),
        (directory(ORGANISATION), directory(name("Signer")), False),
        ([x509.DNSName("tsa.example")], None, True),
    ],
)
def test_name_constraints_on_directory_names(permitted: Any, excluded: Any, good: bool) -> None:
    constraints = (x509.NameConstraints(permitted, excluded), True)
    ca = issue("CA", issuer=ROOT, extensions=(*ca_extensions(), constraints))
    signer = signer_of(ca)
    if good:
        assert len(path(signer, ca)) == 3
    else:
        with pytest.raises(PathError, match="name"):
            path(signer, ca)


def test_name_constraints_that_cannot_be_checked_are_not_passed_over() -> None:
    """A form that is constrained, used below and not compared here is refused; one that is not used does no harm."""
    registered = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    constraints = (x509.NameConstraints(None, [registered]), True)
    ca = issue("CA", issuer=ROOT, extensions=(*ca_extensions(), constraints))
    names = (x509.SubjectAlternativeName([registered]), False)
    with_name = issue("Signer", issuer=ca, extensions=(*signer_extensions(), names))
    with pytest.raises(PathError, match="registeredID, a form that is constrained and cannot be compared"):
        path(with_name, ca)
    assert len(path(signer_of(ca), ca)) == 3


def test_name_constraints_hold_further_down_but_not_above() -> None:
    constraints = (x509.NameConstraints(directory(ELSEWHERE), None), True)
    outer = issue("Outer", issuer=ROOT, extensions=(*ca_extensions(), constraints))
    inner = issue("Inner", issuer=outer, extensions=ca_extensions())
    with pytest.raises(PathError, match=r"Outer.*does not permit"):
        path(signer_of(inner), inner, outer)
    above = issue(x509.Name([*ELSEWHERE]), issuer=ROOT, extensions=(*ca_extensions(), constraints))
    below = x509.Name([*ELSEWHERE, *name("Signer").get_attributes_for_oid(NameOID.COMMON_NAME)])
    signer = issue(below, issuer=above, extensions=signer_extensions())
    assert len(path(signer, above)) == 3


# --- policies ---


def policies(*oids: str) -> tuple[x509.ExtensionType, bool]:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]), False


def required(skip: int) -> tuple[x509.ExtensionType, bool]:
    return x509.PolicyConstraints(require_explicit_policy=skip, inhibit_policy_mapping=None), True


ANY = "2.5.29.32.0"


@pytest.mark.parametrize(
    ("ca", "leaf", "good"),
    [
        ((required(0), policies("1.2.3")), (policies("1.2.3"),), True),
        ((required(0), policies("1.2.3")), (policies("1.2.4"),), False),
        ((required(0), policies("1.2.3")), (), False),
        ((required(0), policies(ANY)), (policies("1.2.4"),), True),
        ((required(0), policies("1.2.3")), (policies(ANY),), True),
        ((required(0), policies("1.2.3"), (x509.InhibitAnyPolicy(0), True)), (policies(ANY),), False),
        ((required(0),), (policies("1.2.3"),), False),
        ((required(1), policies("1.2.3")), (policies("1.2.4"),), False),
        ((required(5), policies("1.2.3")), (policies("1.2.4"),), True),
        ((policies("1.2.3"),), (policies("1.2.4"),), True),
        ((policies("1.2.3"),), (policies("1.2.4"), required(0)), False),
        ((policies("1.2.3"),), (policies("1.2.3"), required(0)), True),
    ],
)
def test_policies(ca: tuple[Any, ...], leaf: tuple[Any, ...], good: bool) -> None:
    middle = issue("CA", issuer=ROOT, extensions=(*ca_extensions(), *ca))
    signer = issue("Signer", issuer=middle, extensions=(*signer_extensions(), *leaf))
    if good:
        assert len(path(signer, middle)) == 3
    else:
        with pytest.raises(PathError, match="policy"):
            path(signer, middle)


# --- agreement with cryptography's verifier, where that one can express the policy ---


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How one chain differs from a good one."""

    root: dict[str, Any] = field(default_factory=dict)
    middle: dict[str, Any] = field(default_factory=dict)
    signer: dict[str, Any] = field(default_factory=dict)
    bag: Callable[[Issued, Issued], list[Issued]] = lambda signer, middle: [middle]
    good: bool = False


UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
HARMLESS = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)
BATCH, EARLIER = forge.GEN_TIME + timedelta(days=1), forge.GEN_TIME - timedelta(days=1)

FAULTS = {
    "none": Fault(good=True),
    "harmless extension": Fault(signer={"extensions": (*signer_extensions(), HARMLESS)}, good=True),
    "exactly now": Fault(signer={"not_before": forge.GEN_TIME, "not_after": forge.GEN_TIME}, good=True),
    "signer not yet": Fault(signer={"not_before": BATCH}),
    "signer no longer": Fault(signer={"not_after": EARLIER}),
    "middle not yet": Fault(middle={"not_before": BATCH}),
    "middle no longer": Fault(middle={"not_after": EARLIER}),
    "root no longer": Fault(root={"not_after": EARLIER}),
    "middle is no CA": Fault(middle={"extensions": ((x509.BasicConstraints(ca=False, path_length=None), True),)}),
    "middle without constraints": Fault(middle={"extensions": ()}),
    "path length": Fault(root={"extensions": ca_extensions(0)}),
    "middle missing": Fault(bag=lambda _, __: []),
    "unknown critical in signer": Fault(signer={"extensions": (*signer_extensions(), UNKNOWN)}),
    "unknown critical in middle": Fault(middle={"extensions": (*ca_extensions(), UNKNOWN)}),
    "impostor": Fault(bag=lambda _, middle: [issue("CA", extensions=ca_extensions())]),
}


def identifiers(issued_by: Issued | None, key: Any) -> tuple[Any, ...]:
    """Return the key identifiers that cryptography's verifier demands."""
    own = (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    if issued_by is None:
        return (own,)
    public_key: Any = issued_by.key.public_key()
    return own, (x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), False)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_we_agree_with_cryptography(kind: str, fault: Fault) -> None:
    def make(subject: str, issuer: Issued | None, default: Any, changes: dict[str, Any]) -> Issued:
        key = make_key(kind)
        arguments = {"extensions": default, **changes}
        extensions = (*arguments.pop("extensions"), *identifiers(issuer, key))
        return issue(subject, issuer=issuer, key=key, extensions=extensions, **arguments)

    root = make("Root", None, ca_extensions(), fault.root)
    middle = make("CA", root, ca_extensions(), fault.middle)
    signer = make("Signer", middle, signer_extensions(), fault.signer)
    bag = fault.bag(signer, middle)

    ca_policy = verification.ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, verification.Criticality.AGNOSTIC, None
    )
    theirs = (
        verification.PolicyBuilder()
        .store(verification.Store([root.certificate]))
        .time(forge.GEN_TIME)
        .extension_policies(ca_policy=ca_policy, ee_policy=verification.ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    if fault.good:
        chain = theirs.verify(signer.certificate, certificates(*bag)).chain
        assert path(signer, *bag, root=root) == list(chain)
    else:
        with pytest.raises(verification.VerificationError):
            theirs.verify(signer.certificate, certificates(*bag))
        with pytest.raises(VerificationError):
            path(signer, *bag, root=root)
