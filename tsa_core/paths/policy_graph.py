"""Certificate policies along a path: valid_policy_graph (RFC 5280 6.1 as RFC 9618 updates it).

The tree of RFC 5280 grows with the product of mappings (CVE-2023-0464). The graph of RFC 9618 means the same and
holds a policy once per depth, so that it is never larger than the certificates that made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

ANY_POLICY: Final = "2.5.29.32.0"


class _Node:
    """A policy at one depth: what may follow it, and the policies one depth above that it comes from."""

    __slots__ = ("expected_policy_set", "parents")

    def __init__(self, expected: frozenset[str], parents: frozenset[str]) -> None:
        self.expected_policy_set = expected
        self.parents = parents


class PolicyGraph:
    """valid_policy_graph: one layer of nodes for each certificate so far, by their valid_policy.

    A node whose descendants are gone is never looked at again, as the graph is read from its deepest layer upwards.
    That is what pruning would achieve, so nothing is pruned.
    """

    def __init__(self) -> None:
        self._layers: list[dict[str, _Node]] = [{ANY_POLICY: _Node(frozenset({ANY_POLICY}), frozenset())}]

    @property
    def null(self) -> bool:
        """Whether the graph is NULL: no policy is valid for the whole path so far."""
        return not self._layers[-1]

    def add(self, policies: Iterable[str], *, any_policy: bool) -> None:
        """Add the policies of the next certificate (RFC 9618 6.1.3 (d), (e)).

        `any_policy` says whether anyPolicy, if it is among them, counts.
        """
        own = frozenset(policies)
        above = self._layers[-1]
        if not own or not above:
            self._layers.append({})
            return
        expecting: dict[str, set[str]] = {}
        for valid, node in above.items():
            for expected in node.expected_policy_set:
                expecting.setdefault(expected, set()).add(valid)
        layer: dict[str, _Node] = {}
        for policy in own - {ANY_POLICY}:
            parents = expecting.get(policy) or ({ANY_POLICY} if ANY_POLICY in above else None)
            if parents:
                layer[policy] = _Node(frozenset({policy}), frozenset(parents))
        if ANY_POLICY in own and any_policy:
            for policy in expecting.keys() - layer.keys():
                layer[policy] = _Node(frozenset({policy}), frozenset(expecting[policy]))
        self._layers.append(layer)

    def map(self, mappings: Mapping[str, frozenset[str]]) -> None:
        """Let each issuerDomainPolicy be followed by its subjectDomainPolicies (RFC 9618 6.1.4 (b)(1))."""
        layer = self._layers[-1]
        for policy, subject_policies in mappings.items():
            if policy in layer:
                layer[policy].expected_policy_set = subject_policies
            elif ANY_POLICY in layer:
                layer[policy] = _Node(subject_policies, layer[ANY_POLICY].parents)

    def delete(self, policies: Iterable[str]) -> None:
        """Delete the nodes of policies that may not be mapped from the deepest layer (RFC 9618 6.1.4 (b)(2))."""
        for policy in policies:
            self._layers[-1].pop(policy, None)

    def authority_constrained_policies(self) -> frozenset[str]:
        """Return the policies, in the terms of the trust anchor, that are valid for the whole path (RFC 9618 6.1.5)."""
        found: set[str] = set()
        wanted = set(self._layers[-1])
        if ANY_POLICY in wanted:
            found.add(ANY_POLICY)
        for layer in reversed(self._layers[1:]):
            above: set[str] = set()
            for policy in wanted:
                parents = layer[policy].parents
                if ANY_POLICY in parents:
                    found |= {policy} - {ANY_POLICY}
                above |= parents
            wanted = above
        return frozenset(found)


def user_constrained_policies(authority: frozenset[str], user: frozenset[str]) -> frozenset[str]:
    """Return which of the path's policies the user accepts (RFC 9618 6.1.5 (g))."""
    if ANY_POLICY in user:
        return authority
    return user if ANY_POLICY in authority else authority & user
