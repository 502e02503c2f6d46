"""The authority: profiles, serial numbers, the clock gate and the checks at start."""

from tsa_core.authority.authority import Reply, TimestampAuthority
from tsa_core.authority.chain import CertificateChain, load_chain
from tsa_core.authority.gate import ClockGate
from tsa_core.authority.profile import Profile

__all__ = ["CertificateChain", "ClockGate", "Profile", "Reply", "TimestampAuthority", "load_chain"]
