"""Tells policy selectors the profiles there are, and asks each once, before the first request does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tsa_core.api import (
    PluginError,
    PolicySelector,
    ProfileSummary,
    RequestContext,
    RequestRejected,
    TimeStampReq,
)
from tsa_core.api.wrong_types import describe
from tsa_core.host import PluginHost
from tsa_core.host.loading import at_fault
from tsa_core.protocol.request import read_request
from tsa_core.service.binding import ask_selected

_REQUEST = bytes.fromhex("30360201013031300d060960864801650304020105000420") + bytes(32)
"""A TimeStampReq for a SHA-256 digest of zeros, without policy, nonce and extensions."""


def bind_selectors(
    selectors: Sequence[tuple[str, PolicySelector]], profiles: Sequence[ProfileSummary], host: PluginHost
) -> None:
    """Call `bind` of each selector, and `select` for a request made here; raises TsaError alone.

    A selector may refuse that request, but must not choose a profile that does not exist.
    """
    request = read_request(_REQUEST)
    for name, selector in selectors:
        distribution = host.distribution(name)
        what = f"the policy selector {name!r}{f' ({distribution})' if distribution else ''}"
        ask_selected(partial(selector.bind, profiles), "policy selector", name, host, asked="bind")
        trial = partial(_complaint, selector, request, {profile.name for profile in profiles})
        complaint = ask_selected(trial, "policy selector", name, host, asked="a trial of select")
        if complaint:
            raise PluginError(f"{what}: {complaint}; {at_fault(host.plugin(name))}", plugin=name)


def _complaint(selector: PolicySelector, request: TimeStampReq, profiles: set[str]) -> str:
    try:
        chosen: object = selector.select(request, RequestContext(request_id="trial"))
    except RequestRejected:
        return ""
    if chosen is not None and not isinstance(chosen, str):
        return f"select returned {describe(chosen)}, not a profile's name"
    if chosen is not None and chosen not in profiles:
        return f"select returned {chosen[:64]!r}, which is no profile; there are: {', '.join(sorted(profiles))}"
    return ""
