"""The stage of a request in which its signature is made."""

from __future__ import annotations

from time import perf_counter_ns

from tsa_core.api import PluginCrash, SignerError
from tsa_core.authority.pending_request import PendingRequest


def sign(pending: PendingRequest, limited: bool = False) -> None:
    """Set the signature of a request, and accept it, but for what a batch accepts; `limited` gives up in time.

    Raises SignerError, PluginError for something else than a signature, PluginCrash for what no signer should raise.
    """
    profile, trace = pending.profile, pending.trace
    if trace is not None:
        trace.algorithm = profile.algorithm.name
        trace.serial_der = pending.serial_der
        trace.sign_began = perf_counter_ns()
    signature: object
    try:
        if limited or pending.waits or pending.signing is not None:
            signature = _signature(pending, limited=limited)
        else:
            signature = profile.sign(pending.to_sign)
    except SignerError as error:
        profile.signing.set(profile.signer_failed)
        error.plugin = profile.settings.scheme
        raise
    except BaseException as error:
        profile.signing.set(profile.signer_failed)
        plugin = profile.settings.scheme
        raise PluginCrash(f"the signer plugin {plugin!r} of profile {profile.name!r} crashed", plugin=plugin) from error
    if type(signature) is not bytes and not isinstance(signature, bytes):
        profile.signing.set(profile.signer_failed)
        raise profile.no_signature(signature)
    pending.signature = signature
    if trace is not None:
        trace.sign_ended = perf_counter_ns() if pending.signing is None else pending.signing.ended
    if not (pending.waits and profile.accepts_in_batch):
        accept(pending)


def accept(pending: PendingRequest) -> None:
    """Verify the signature of a request where its profile wants that; raises SignerError."""
    profile, signature = pending.profile, pending.signature
    if profile.verifies and not profile.algorithm.is_valid(
        profile.signer.public_key, signature, pending.signed_attributes
    ):
        profile.signing.set(profile.signer_failed)
        if pending.trace is not None:
            pending.trace.sign_ended = 0  # which says that there is no valid one
        raise SignerError(f"profile {profile.name}: the signature does not verify; the key may have changed")
    profile.signed = True
    if profile.signing.reason:
        profile.signing.clear()
    pending.accepted = True


def _signature(pending: PendingRequest, *, limited: bool) -> object:
    """Return what the signer returns, in whichever thread it is called; raises what it raises."""
    profile, shared, signing = pending.profile, pending.batch.shared, pending.signing
    if pending.waits and pending.batch.guard is not None:
        return profile.sign_here(pending.to_sign, pending.batch.guard)
    if shared is None or signing is None:
        return (profile.sign_within_limit if limited else profile.sign)(pending.to_sign)
    shared.wait_for(signing)
    if pending.trace is not None:
        pending.trace.sign_began = signing.began
    return signing.result()
