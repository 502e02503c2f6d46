"""--chain-in: certificates in any order become a chain, or a line says what is missing."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from tsa_core.api import ConfigError, LocalKeySigner
from tsa_core.certs import order_chain
from tsa_core.certs.hierarchy import Names, Validity, chain_under, self_signed_root
from tsa_core.testing import Pki, shared_key

KEY = shared_key().public_key()


def test_every_order_gives_the_chain() -> None:
    chain = Pki(intermediates=2).chain(KEY)
    for shuffled in itertools.permutations(chain):
        assert order_chain(shuffled, KEY).certificates == chain


def test_duplicates_and_strangers_are_left_out() -> None:
    chain, other = Pki().chain(KEY), Pki().chain(shared_key("ecdsa-p384").public_key())
    assert order_chain([*other, *chain, *chain], KEY).certificates == chain


def test_a_certificate_of_another_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of the certificates is for the signer's key; they are: 'CN=Test TSA"):
        order_chain(Pki().chain(shared_key("ecdsa-p384").public_key()), KEY)


@pytest.mark.parametrize("left", [1, 2])
def test_a_missing_issuer_is_named(left: int) -> None:
    chain = Pki().chain(KEY)
    missing = chain[left].subject.rfc4514_string()
    with pytest.raises(ConfigError, match=r"the issuer of the certificate .* is missing: ") as caught:
        order_chain([c for c in chain if c is not chain[left]], KEY)
    assert missing in str(caught.value)


def test_of_two_roots_with_one_key_the_one_that_ends_later_is_taken() -> None:
    parent, names = LocalKeySigner(shared_key("ecdsa-p384")), Names(organization="o")
    old = self_signed_root(parent, names, Validity.of(timedelta(days=10)))
    renewed = self_signed_root(parent, names, Validity.of(timedelta(days=20)))
    leaf = chain_under([old], parent, KEY, names).leaf
    assert order_chain([old, leaf, renewed], KEY).certificates == (leaf, renewed)


def test_of_two_certificates_for_the_key_the_one_with_a_whole_path_is_taken() -> None:
    complete, broken = Pki().chain(KEY), Pki().issue(KEY, not_after=Pki().now + timedelta(days=3000))
    assert order_chain([broken, *complete], KEY).certificates == complete
