"""The flags of timestamp-cli verify about trust: files, TrustedRoot, a name, an address with a fingerprint."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from tsa_core.cli.mistake import UsageMistake
from tsa_core.cli.timestamp.files import read_file
from tsa_core.cli.timestamp.flags import Call, flag

if TYPE_CHECKING:
    from tsa_core.cli.timestamp.authorities import Authority
    from tsa_core.verify import TrustStore

_MAX_FETCHED_OCTETS: Final = 4 << 20
_SIGSTORE: Final = {
    "sigstore": "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev",
    "sigstore-staging": "https%3A%2F%2Ftuf-repo-cdn.sigstage.dev",
}
"""Names of --trust, and the folders in which sigstore-python ships the trusted root of each."""
TRUST_FLAGS: Final = (
    flag("--certificate-chain", metavar="FILE", help="PEM chain up to its self-signed root, signer included or not."),
    flag("--root-certificates", metavar="FILE", help="PEM roots to trust."),
    flag("--intermediate-certificates", metavar="FILE", help="PEM certificates between signer and root."),
    flag("--trusted-root", metavar="FILE", help="Sigstore's TrustedRoot (JSON): its timestamp authorities."),
    flag(
        "--trust",
        metavar="WHOM",
        help="sigstore or sigstore-staging (needs the package sigstore), a FILE with a chain or a TrustedRoot, or such "
        "a file at https://...#SHA256, which is fetched and must have that SHA-256; or a name in [trusts.NAME].",
    ),
    flag(
        "--roots",
        metavar="WHERE",
        help="Trust every certificate of a FILE, of one at https://...#sha256=HEX, or of this `system`'s store.",
    ),
)
_WRONG_FLAGS: Final = (
    "the verify command must be called with either only the --certificate-chain flag or with the --root-certificates "
    "and --intermediate-certificates flags"
)
"""The reference's words; a script may look for them."""
_ONE_OF: Final = ("certificate_chain", "root_certificates", "trusted_root", "trust", "roots")
TRUSTS: Final = "trusts"
"""The table of a configuration file that names whom to trust."""


def trust_of(call: Call) -> TrustStore:
    """Return what the flags trust; raises UsageMistake, PathError or ClientError."""
    from tsa_core.paths.errors import PathError
    from tsa_core.verify import TrustStore

    flags = call.flags
    given = [name for name in (*_ONE_OF, "tsa") if flags.get(name) is not None]
    if len(given) != 1:
        raise UsageMistake(f"{_WRONG_FLAGS}, or with one of --trusted-root, --trust, --roots and --tsa")
    [name] = given
    value: str = flags[name]
    intermediates = flags["intermediate_certificates"]
    if intermediates is not None and name not in {"root_certificates", "roots", "tsa"}:
        raise UsageMistake(f"{_WRONG_FLAGS}: --intermediate-certificates goes with --root-certificates")
    if name == "trusted_root":
        return TrustStore.from_trusted_root(read_file(value))
    if name == "trust":
        return named_trust(call, value)
    if name in {"tsa", "roots"}:
        store = _trust_in_authority(call) if name == "tsa" else roots_of(call, value)
        return with_helpers(store, read_file(intermediates)) if intermediates is not None else store
    data, between = read_file(value), read_file(intermediates) if intermediates is not None else b""
    try:
        return TrustStore.from_chain(data) if name == "certificate_chain" else TrustStore.from_files(data, between)
    except PathError as error:
        raise PathError(f"failed to parse intermediate and root certs from PEM file: {error}") from None


def with_helpers(trust: TrustStore, certificates: bytes) -> TrustStore:
    """Return a trust with more certificates that help to reach its roots."""
    from tsa_core.verify.trust import read_certificates

    return trust.replace(certificates=(*trust.certificates, *read_certificates(certificates)))


def _trust_in_authority(call: Call) -> TrustStore:
    """Return the trust in the authority of --tsa; raises UsageMistake when there is none."""
    from tsa_core.cli.timestamp.authorities import authority_of, why_not_trusted

    authority = authority_of(call)
    assert authority is not None  # noqa: S101 - the flag was given
    if (store := trust_in(authority, call)) is None:
        raise UsageMistake(f"--tsa {authority.name}: {why_not_trusted(authority)}")
    return store


def trust_in(authority: Authority, call: Call) -> TrustStore | None:
    """Return the trust in an authority; None when nothing here says whom to trust, or its roots are not installed."""
    if authority.trust is not None:
        return named_trust(call, authority.trust)
    if not authority.roots:
        return None
    from tsa_core.cli.timestamp.system_store import system_roots
    from tsa_core.verify import TrustStore

    roots = system_roots(authority.roots)
    return TrustStore(roots=roots) if roots else None


def named_trust(call: Call, whom: str) -> TrustStore:
    """Return the trust in what --trust takes: a name of the configuration file or of Sigstore, an address, a file."""
    table = call.tables.get(TRUSTS, {}).get(whom)
    if table is not None:
        trust = roots_of(call, table["roots"])
        return with_helpers(trust, read_file(table["intermediates"])) if "intermediates" in table else trust
    if whom in _SIGSTORE:
        return _either(_shipped(call, _SIGSTORE[whom]))
    if re.match("[a-z]+://", whom):
        return _either(_fetched(whom, call.common("timeout"), "--trust"))
    return _either(read_file(whom))


def roots_of(call: Call, where: str) -> TrustStore:
    """Return the trust in all certificates of a place: `system`, an address with its SHA-256, or a file."""
    from tsa_core.verify import TrustStore

    if where == "system":
        from tsa_core.cli.timestamp.system_store import system_roots

        return TrustStore(roots=system_roots())
    if re.match("[a-z]+://", where):
        return TrustStore.from_files(_fetched(where, call.common("timeout"), "--roots"))
    return TrustStore.from_files(read_file(where))


def _either(data: bytes) -> TrustStore:
    """Return the trust in a file that is a TrustedRoot, which is JSON, or a chain."""
    from tsa_core.verify import TrustStore

    return TrustStore.from_trusted_root(data) if data.lstrip()[:1] == b"{" else TrustStore.from_chain(data)


def _shipped(call: Call, folder: str) -> bytes:
    """Return the trusted root that sigstore-python ships; nothing of it is imported, and nobody is asked."""
    from importlib import util
    from pathlib import Path

    found = util.find_spec("sigstore")
    places = list(found.submodule_search_locations or []) if found is not None else []
    if not places:
        instead = "--trusted-root FILE" if "trusted_root" in call.flags else "--verify-with CHAIN"
        raise UsageMistake(f"the roots of Sigstore come with the package sigstore; install it, or give {instead}")
    return read_file(str(Path(places[0]) / "_store" / folder / "trusted_root.json"))


def _fetched(url: str, timeout: float, option: str) -> bytes:
    address, _, fingerprint = url.partition("#")
    fingerprint = fingerprint.removeprefix("sha256=")
    if not address.startswith("https://") or not re.fullmatch("[0-9a-fA-F]{64}", fingerprint):
        raise UsageMistake(
            f"{option}: an address is https://...#SHA256, with the 64 hexadecimal digits of the file's SHA-256"
        )
    from tsa_core.client.deadline import Deadline
    from tsa_core.client.transport import fetch

    with Deadline(timeout) as deadline:
        data = fetch(address, deadline=deadline, max_octets=_MAX_FETCHED_OCTETS)
    found = hashlib.sha256(data).hexdigest()
    if not hmac.compare_digest(found, fingerprint.lower()):
        raise UsageMistake(f"{option}: what is at {address} has the SHA-256 {found}, not the one demanded")
    return data
