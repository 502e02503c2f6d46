"""A function that opens signers for a running OpenBao."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tsa_backends.openbao import ROOT_TOKEN, OpenBao
from tsa_core.api import Signer
from tsa_signer_hashivault.options import TransitOptions
from tsa_signer_hashivault.plugin import tsa_signers


@pytest.fixture
def open_signer(openbao: OpenBao) -> Iterator[Callable[..., Signer]]:
    opened: list[Signer] = []
    (provider,) = (p for p in tsa_signers() if p.name == "hashivault")

    def open_one(key: str, **options: Any) -> Signer:
        table = {"uri": f"hashivault://{key}", "address": openbao.address, "token": ROOT_TOKEN, **options}
        opened.append(provider.open(TransitOptions.model_validate(table)))
        return opened[-1]

    yield open_one
    for signer in opened:
        signer.close()
