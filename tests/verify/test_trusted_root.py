"""TrustStore.from_trusted_root: whose timestamps a Sigstore TrustedRoot lets pass, and when."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tsa_core.certs import CertificateChain
from tsa_core.certs.trust_documents import PublishedAuthority, trusted_root
from tsa_core.testing import forge
from tsa_core.testing.forged_pki import Chain, Issued, issue, make_chain, signer_extensions
from tsa_core.verify import PathError, TrustedAuthority, TrustStore, VerifiedTimestamp, Verifier

CHAIN = make_chain()
OTHER = make_chain()
SUCCESSOR = issue("Signer", issuer=CHAIN.intermediate, extensions=signer_extensions())
CHANGE = datetime(2025, 6, 1, tzinfo=UTC)
"""Until then CHAIN.signer signs, from then on SUCCESSOR."""


def published(signer: Issued, chain: Chain, begun: datetime, ended: datetime | None) -> PublishedAuthority:
    certificates = (signer.certificate, chain.intermediate.certificate, chain.root.certificate)
    return PublishedAuthority(chain=CertificateChain(certificates=certificates), begun=begun, ended=ended)


DOCUMENT = trusted_root(
    [
        published(SUCCESSOR, CHAIN, CHANGE, None),
        published(CHAIN.signer, CHAIN, CHANGE - timedelta(days=400), CHANGE),
        published(OTHER.signer, OTHER, CHANGE, None),
    ]
)


def store(document: Any = DOCUMENT) -> TrustStore:
    return TrustStore.from_trusted_root(json.dumps(document).encode())


def verify(signer: Issued, time: datetime, *, embedded: bool = True) -> VerifiedTimestamp:
    bag = [signer.der, *([CHAIN.intermediate.der] if embedded else [])]
    reply = forge.reply(forge.token(signer, forge.tst_info(gen_time=time), certificates=bag))
    return Verifier(store()).verify_response(reply, artifact=b"hello")


DAY = timedelta(days=1)


@pytest.mark.parametrize("embedded", [True, False])
def test_each_signer_is_trusted_in_its_time(embedded: bool) -> None:
    assert verify(CHAIN.signer, CHANGE - DAY, embedded=embedded).trust_anchor == CHAIN.root.certificate
    assert verify(SUCCESSOR, CHANGE + DAY, embedded=embedded).trust_anchor == CHAIN.root.certificate


def test_a_window_counts_under_both_of_its_names() -> None:
    """The JSON of Protocol Buffers knows a field by the name in lowerCamelCase and by the one of the message."""
    other_name = json.dumps(DOCUMENT).replace('"validFor"', '"valid_for"').encode()
    reply = forge.reply(
        forge.token(CHAIN.signer, forge.tst_info(gen_time=CHANGE + DAY), certificates=[CHAIN.signer.der])
    )
    with pytest.raises(PathError, match="is trusted until"):
        Verifier(TrustStore.from_trusted_root(other_name)).verify_response(reply, artifact=b"hello")


@pytest.mark.parametrize("second", ["validFor", "valid_for"])
def test_a_window_that_is_there_twice_is_refused(second: str) -> None:
    twice = json.dumps(DOCUMENT).replace('"validFor": {', f'"{second}": {{}}, "validFor": {{', 1).encode()
    with pytest.raises(PathError, match="two fields of one name"):
        TrustStore.from_trusted_root(twice)


def test_the_ends_of_a_window_belong_to_it() -> None:
    verify(CHAIN.signer, CHANGE)
    verify(SUCCESSOR, CHANGE)


def test_a_former_key_cannot_sign_in_the_time_of_its_successor() -> None:
    with pytest.raises(PathError, match="is trusted until 2025-06-01 00:00:00Z, which is before 2025-06-02"):
        verify(CHAIN.signer, CHANGE + DAY)
    with pytest.raises(PathError, match="is trusted from 2025-06-01 00:00:00Z, which is after 2025-05-31"):
        verify(SUCCESSOR, CHANGE - DAY)


def test_a_remembered_path_does_not_outlive_the_window() -> None:
    verifier = Verifier(store())

    def ask(time: datetime) -> VerifiedTimestamp:
        bag = [CHAIN.signer.der, CHAIN.intermediate.der]
        reply = forge.reply(forge.token(CHAIN.signer, forge.tst_info(gen_time=time), certificates=bag))
        return verifier.verify_response(reply, artifact=b"hello")

    for _ in range(3):
        ask(CHANGE - DAY)
    with pytest.raises(PathError, match="is trusted until"):
        ask(CHANGE + DAY)


def test_another_signer_under_a_trusted_root_is_not_trusted() -> None:
    stranger = issue("Signer", issuer=CHAIN.intermediate, extensions=signer_extensions())
    with pytest.raises(PathError, match="is not the signer of any trusted authority"):
        verify(stranger, CHANGE + DAY)


def test_without_a_signer_the_root_vouches_for_all_in_its_time() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    del document["timestampAuthorities"][1:]
    document["timestampAuthorities"][0]["certChain"]["certificates"].pop(0)
    trust = store(document)
    assert trust.authorities[0].signer is None
    reply = forge.reply(
        forge.token(CHAIN.signer, forge.tst_info(gen_time=CHANGE + DAY), certificates=[CHAIN.signer.der])
    )
    assert Verifier(trust).verify_response(reply, artifact=b"hello").trust_anchor == CHAIN.root.certificate
    reply = forge.reply(
        forge.token(CHAIN.signer, forge.tst_info(gen_time=CHANGE - DAY), certificates=[CHAIN.signer.der])
    )
    with pytest.raises(PathError, match="is trusted from"):
        Verifier(trust).verify_response(reply, artifact=b"hello")


def change(**changes: Any) -> bytes:
    return json.dumps({**DOCUMENT, **changes}).encode()


def entry(**changes: Any) -> bytes:
    return change(timestampAuthorities=[{**DOCUMENT["timestampAuthorities"][0], **changes}])


NO_OBJECTS: list[Any] = [7, 0, False, "", []]
RAW = base64.b64encode(b"no certificate").decode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "its mediaType is none of"),
        (change(mediaType="application/json"), "its mediaType is none of"),
        (change(timestampAuthorities=[]), "names no timestamp authority"),
        (change(timestampAuthorities=None), "names no timestamp authority"),
        (change(timestampAuthorities={}), "is not a list"),
        (change(timestampAuthorities="x"), "is not a list"),
        (change(timestampAuthorities=[7]), r"timestampAuthorities\[0\] has no certChain"),
        (entry(certChain={"certificates": []}), "has 0 certificates"),
        (entry(certChain={"certificates": [{"rawBytes": "*"}]}), "a certificate of .* cannot be read"),
        (entry(certChain={"certificates": [{"rawBytes": RAW}]}), "a certificate of .* cannot be read"),
        (entry(certChain={"certificates": [{}]}), "has no rawBytes"),
        (entry(validFor={"start": "yesterday"}), r"validFor.start is not a time of RFC 3339"),
        (entry(validFor={"end": "2025-06-01T00:00:00"}), r"validFor.end is not a time of RFC 3339"),
        *((entry(validFor=value), "validFor is not an object") for value in NO_OBJECTS),
        (entry(validFor={"End": "2025-06-01T00:00:00Z"}), "validFor has 'End', and may have start and end"),
        (b"{" + b" " * (4 << 20), "more than 4194304 bytes"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, message: str) -> None:
    with pytest.raises(PathError, match=message):
        TrustStore.from_trusted_root(data)


def test_windows_are_aware() -> None:
    with pytest.raises(TypeError, match="aware"):
        TrustedAuthority(root=CHAIN.root.certificate, trusted_until=CHANGE.replace(tzinfo=None))
