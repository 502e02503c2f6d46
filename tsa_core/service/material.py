"""The certificate chains of one configuration, read once for all processes, and the profiles' former chains.

If each process read the files, they could see different states of a rotation in progress. Chains are plain bytes here,
so that a parent can send them to its workers.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tsa_core.api import ConfigError, cannot_write, replace_file
from tsa_core.api.files import unless_it_hangs
from tsa_core.authority import Profile, parse_chain, read_chain_file
from tsa_core.config import Settings
from tsa_core.values import Value

log = logging.getLogger(__name__)

MAX_EARLIER_CHAINS = 32
"""For each profile; the oldest are dropped first."""


class Material(Value):
    """`chains` has the PEM of each profile with a chain file; `earlier` has that of former chains, newest first."""

    chains: Mapping[str, bytes] = MappingProxyType({})
    earlier: Mapping[str, tuple[bytes, ...]] = MappingProxyType({})


def read_material(settings: Settings, *, before: Material | None = None) -> Material:
    """Read every profile's chain, and the former chains from the state directory; raises ConfigError.

    `before` is the material that a reload replaces: its chains become former ones where they differ.
    """
    chains = {
        name: parse_chain(read_chain_file(path), where=str(path)).pem()
        for name, profile in settings.profiles.items()
        if (path := profile.certificate_chain) is not None
    }
    directory = settings.server.state_directory
    earlier = {}
    for name in settings.profiles:
        former: list[bytes] = []
        if before is not None:
            former = [*filter(None, [before.chains.get(name)]), *before.earlier.get(name, ())]
        stored = read_chains(directory / "chains" / name) if directory else []
        earlier[name] = without_repeats([*former, *stored], current=chains.get(name))
    return Material(chains=chains, earlier=earlier)


def without_repeats(chains: Iterable[bytes], *, current: bytes | None) -> tuple[bytes, ...]:
    """Return the chains without the current one and without repetitions, at most MAX_EARLIER_CHAINS."""
    return tuple(chain for chain in dict.fromkeys(chains) if chain != current)[:MAX_EARLIER_CHAINS]


def read_chains(directory: Path) -> list[bytes]:
    """Return the stored chains of a profile, the one stored last first; none when there is no directory."""
    try:
        files = unless_it_hangs(lambda: sorted(directory.glob("*.pem"), reverse=True), "state directory", directory)
        return [parse_chain(read_chain_file(path), where=str(path)).pem() for path in files]
    except OSError as error:
        raise ConfigError(
            f"the state directory cannot be read: {error.strerror}", path="server.state_directory"
        ) from None


def former_chains(
    material: Material,
    profiles: Mapping[str, Profile],
    before: Mapping[str, Profile],
    earlier: Mapping[str, tuple[bytes, ...]],
) -> dict[str, tuple[bytes, ...]]:
    """Return the PEM of each profile's former chains, the newest first: those of the material, and those of `before`.

    `before` are the profiles that a reload replaces, and `earlier` their former chains.
    """
    found = {}
    for name, profile in profiles.items():
        former = [before[name].certificate_chain_pem, *earlier[name]] if name in before else []
        found[name] = without_repeats([*former, *material.earlier.get(name, ())], current=profile.certificate_chain_pem)
    return found


def store_chain(directory: Path, chain: bytes) -> None:
    """Store a chain, and remove the oldest beyond the limit; raises ConfigError when it cannot be written.

    Several processes may do this at once: a file gets its name when it is complete.
    """
    name = hashlib.sha256(chain).hexdigest()[:32]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stored = sorted(directory.glob("*.pem"))
        if stored and stored[-1].stem.endswith(name):
            return
        number = _number(stored) + 1
        replace_file(directory / f"{number:08d}-{name}.pem", chain, mode=0o600)
        repeated = [each for each in stored if each.stem.endswith(name)]
        others = [each for each in stored if each not in repeated]
        for old in (*repeated, *others[:-MAX_EARLIER_CHAINS]):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(
            f"the certificate chain cannot be remembered in {directory}: {error.strerror}",
            error,
            remedy="give a directory that the server may write to",
            path="server.state_directory",
        ) from None


def _number(stored: Sequence[Path]) -> int:
    """Return the number in the last file's name, which orders the files."""
    digits = stored[-1].stem.partition("-")[0] if stored else "0"
    return int(digits) if digits.isdecimal() else 0
