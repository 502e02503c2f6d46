"""The authority: profiles, serial numbers, the clock gate and the checks at start."""

from tsa_core.authority.admission import may_hang
from tsa_core.authority.authority import TimestampAuthority
from tsa_core.authority.awaited_signer import AwaitedSigner
from tsa_core.authority.batch_guard import BatchGuard, BatchTaken
from tsa_core.authority.causes import Cause, CauseKind, Causes
from tsa_core.authority.chain import CertificateChain, load_chain, parse_chain, read_chain_file
from tsa_core.authority.clock_announcements import ClockChange
from tsa_core.authority.clock_reference import ClockReference, renew_system_reference, system_reference
from tsa_core.authority.clock_state import ClockState, ClockStatus
from tsa_core.authority.clock_steps import ClockStep
from tsa_core.authority.gate import ClockGate
from tsa_core.authority.kernel_clock import KernelClock, read_kernel_clock
from tsa_core.authority.limited_clock import LimitedClock
from tsa_core.authority.pending_request import LeaveThread, PendingRequest, Reply, context_of
from tsa_core.authority.plugin_calls import PluginCalls
from tsa_core.authority.profile import Profile
from tsa_core.authority.request_trace import GUARD_ROUTE, AnsweredRequest, RequestTrace
from tsa_core.authority.validity import days_between, issuing_period

__all__ = [
    "GUARD_ROUTE",
    "AnsweredRequest",
    "AwaitedSigner",
    "BatchGuard",
    "BatchTaken",
    "Cause",
    "CauseKind",
    "Causes",
    "CertificateChain",
    "ClockChange",
    "ClockGate",
    "ClockReference",
    "ClockState",
    "ClockStatus",
    "ClockStep",
    "KernelClock",
    "LeaveThread",
    "LimitedClock",
    "PendingRequest",
    "PluginCalls",
    "Profile",
    "Reply",
    "RequestTrace",
    "TimestampAuthority",
    "context_of",
    "days_between",
    "issuing_period",
    "load_chain",
    "may_hang",
    "parse_chain",
    "read_chain_file",
    "read_kernel_clock",
    "renew_system_reference",
    "system_reference",
]
