"""Name constraints: which names the CAs above allow a certificate to have (RFC 5280 4.2.1.10, 6.1.3 (b) and (c)).

What cannot be checked is refused: a name of a form that is constrained but not compared here, and a subtree that
no standard explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from tsa_core.paths import names
from tsa_core.paths.names import FORMS, GeneralName, canonical_name, contents, elements
from tsa_core.protocol import der
from tsa_core.protocol.errors import EncodingError


class NotAllowed(Exception):
    """A name that a CA's constraints exclude, do not permit, or that cannot be compared with them."""


class NameConstraints(NamedTuple):
    """The subtrees of a NameConstraints extension; empty where the field is absent."""

    permitted: tuple[GeneralName, ...] = ()
    excluded: tuple[GeneralName, ...] = ()


def read_name_constraints(encoded: bytes) -> NameConstraints:
    """Return the subtrees of a NameConstraints extension; raises EncodingError."""
    start, end = contents(encoded, der.SEQUENCE, "nameConstraints")
    found: dict[int, tuple[GeneralName, ...]] = {}
    for tag, _, first, last in elements(encoded, start, end):
        if tag not in {0xA0, 0xA1} or tag in found:
            raise EncodingError(f"nameConstraints has an unexpected field {tag:#04x}")
        found[tag] = tuple(
            _subtree_base(encoded, *place) for kind, _, *place in elements(encoded, first, last) if _is_sequence(kind)
        )
    return NameConstraints(found.get(0xA0, ()), found.get(0xA1, ()))


def _is_sequence(tag: int) -> bool:
    if tag != der.SEQUENCE:
        raise EncodingError("a subtree of nameConstraints is not a SEQUENCE")
    return True


def _subtree_base(encoded: bytes, start: int, end: int) -> GeneralName:
    """Return the base of a GeneralSubtree, whose minimum must be 0 and whose maximum must be absent."""
    fields = list(elements(encoded, start, end))
    if not fields:
        raise EncodingError("a subtree of nameConstraints is empty")
    for tag, _, first, last in fields[1:]:
        if tag != 0x80 or encoded[first:last] != b"\x00":
            raise EncodingError("a subtree of nameConstraints has a minimum or a maximum, which RFC 5280 forbids")
    return names.general_name(encoded[fields[0][1] : fields[0][3]])


class Subtrees(NamedTuple):
    """Subtrees, and the certificate or whoever else demands them."""

    by: object
    trees: tuple[GeneralName, ...]


def check_name(name: GeneralName, permitted: Sequence[Subtrees], excluded: Sequence[Subtrees]) -> None:
    """Raise NotAllowed unless a name lies in a subtree of each `permitted` list of its form and in no `excluded` one.

    A list that has no subtree of the name's form does not restrict it. Raises EncodingError for a name or a
    subtree that cannot be read.
    """
    for by, trees in excluded:
        if any(tree.form == name.form and _within(name, tree) for tree in trees):
            raise NotAllowed(f"has a name, {name}, that {by} excludes")
    for by, trees in permitted:
        of_form = [tree for tree in trees if tree.form == name.form]
        if of_form and not any(_within(name, tree) for tree in of_form):
            raise NotAllowed(f"has a name, {name}, that {by} does not permit")


def _within(name: GeneralName, tree: GeneralName) -> bool:
    match name.form:
        case names.DIRECTORY_NAME:
            base = canonical_name(tree.value)
            return canonical_name(name.value)[: len(base)] == base
        case names.RFC822_NAME:
            return _mailbox_within(_text(name), _text(tree))
        case names.DNS_NAME:
            return _dns_within(_host(_text(name)), _host(_text(tree)))
        case names.URI:
            return _host_within(_host_of_uri(name.value), _host(_text(tree)))
        case names.IP_ADDRESS:
            return _address_within(name.value, tree.value)
    raise NotAllowed(f"has a {FORMS[name.form]}, a form that is constrained and cannot be compared")


def _text(name: GeneralName) -> str:
    try:
        return name.value.decode("ascii")
    except UnicodeDecodeError:
        raise EncodingError(f"a {FORMS[name.form]} is not ASCII") from None


def _host(host: str) -> str:
    """Return a host name for comparing: case does not count (RFC 4343), nor does the dot of the root zone."""
    return host.lower().removesuffix(".")


def _host_within(host: str, constraint: str) -> bool:
    """Say whether a host is the constraint, or below it where the constraint begins with a dot."""
    if not constraint:
        raise EncodingError("a constraint on host names is empty")
    return host.endswith(constraint) and host != constraint if constraint[0] == "." else host == constraint


def _dns_within(host: str, constraint: str) -> bool:
    """Say whether a DNS name is the constraint with any number of labels before it; all are below the empty one."""
    if not constraint or constraint[0] == ".":
        return host.endswith(constraint)
    return host == constraint or host.endswith("." + constraint)


def _mailbox_within(mailbox: str, constraint: str) -> bool:
    """Say whether a mailbox is the constraint, or at a host that is within it; the local part is compared exactly."""
    local, at, host = mailbox.rpartition("@")
    if not at or not local:
        raise NotAllowed(f"has an rfc822Name, {mailbox}, that is not a mailbox")
    wanted, at, domain = constraint.rpartition("@")
    if at:
        return local == wanted and _host(host) == _host(domain)
    return _host_within(_host(host), _host(constraint))


@lru_cache(maxsize=64)
def _host_of_uri(uri: bytes) -> str:
    """Return the host name of a URI; one that has none is not within any constraint (RFC 5280 4.2.1.10)."""
    text = uri.decode("ascii", "replace")
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        host = ""
    labels = _host(host).split(".")
    if not host or ":" in host or labels[-1].isdigit() or "" in labels:
        raise NotAllowed(f"has a URI without a host name, {text}, while hosts are constrained")
    return ".".join(labels)


def _address_within(address: bytes, constraint: bytes) -> bool:
    """Say whether an address is in a range given as address and mask, of the same version of IP."""
    size = len(constraint) // 2
    if len(constraint) not in {8, 32}:
        raise EncodingError("a constraint on IP addresses is neither one of IPv4 nor one of IPv6")
    if len(address) not in {4, 16}:
        raise EncodingError("an iPAddress is neither one of IPv4 nor one of IPv6")
    if len(address) != size:
        return False
    mask = int.from_bytes(constraint[size:], "big")
    return int.from_bytes(address, "big") & mask == int.from_bytes(constraint[:size], "big") & mask
