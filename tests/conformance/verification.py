"""What the tests of V1 to V15 share: a chain that is trusted, and replies forged under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tsa_core.testing import forge
from tsa_core.testing.forged_pki import (
    Chain,
    Issued,
    make_chain,
)
from tsa_core.verify import (
    TrustStore,
    VerificationError,
    VerifiedTimestamp,
    verify_response,
)
from tsa_core.verify.statement import Octets

CHAIN = make_chain()
TRUST = TrustStore(roots=(CHAIN.root.certificate,), certificates=(CHAIN.intermediate.certificate,))


def granted(content: bytes | None = None, *, chain: Chain = CHAIN, **parts: Any) -> bytes:
    parts.setdefault("certificates", [chain.signer.der])
    return forge.reply(forge.token(chain.signer, content, **parts))


def verify(reply: Octets, **arguments: Any) -> VerifiedTimestamp:
    arguments.setdefault("artifact", b"hello")
    arguments.setdefault("trust", TRUST)
    return verify_response(reply, **arguments)


def refused(kind: type[VerificationError], rule: str, call: Callable[[], object]) -> VerificationError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.rule == rule
    assert "\n" not in str(caught.value)
    return caught.value


def signed_by(signer: Issued, trust: TrustStore, **parts: Any) -> VerifiedTimestamp:
    reply = forge.reply(forge.token(signer, certificates=[signer.der], **parts))
    return verify_response(reply, artifact=b"hello", trust=trust)
