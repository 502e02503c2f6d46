"""PolicySelectorContract: what the core demands of those who choose a profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import ClassVar

import pytest

from tsa_core.api import (
    PluginOptions,
    PolicySelector,
    ProfileSummary,
    Provider,
    RequestContext,
    RequestRejected,
    TimeStampReq,
)
from tsa_core.testing.latency import check_latency
from tsa_core.testing.plugin_contract import PluginFixtures
from tsa_core.testing.samples import SAMPLE_POLICY, sample_context, sample_request
from tsa_core.testing.threads import on_threads

_CALLS = 1000

REQUESTS = (
    sample_request(),
    sample_request(policy=SAMPLE_POLICY),
    sample_request(policy="1.2.3.4"),
    sample_request(nonce=None, certificates=False),
    sample_request(extensions=[("1.2.3", b"\x05\x00")]),
)
CONTEXTS = (
    sample_context(),
    sample_context(address=""),
    sample_context(address="10.1.2.3"),
    sample_context(address="2001:db8::1"),
    sample_context(address="::ffff:10.1.2.3"),
    sample_context(address="fe80::1%eth0"),
    sample_context(address="localhost"),
    sample_context(profile="default"),
    sample_context(x_forwarded_for="10.1.2.3, 192.0.2.7"),
    sample_context(x_forwarded_for="\x00, ' OR 1=1 --"),
    sample_context(x_forwarded_for="," * 4096),
)


class PolicySelectorContract(PluginFixtures):
    """Subclass it as TestSelector; override `plugin` and `options`, and `profiles` when those name other profiles."""

    calls_seconds: ClassVar[float] = 1.0
    """Seconds for a thousand calls: every request is asked about."""

    @pytest.fixture
    def profiles(self) -> Sequence[ProfileSummary]:
        """Return the profiles that the selector is bound to."""
        return (
            ProfileSummary(name="default", policies=(SAMPLE_POLICY,)),
            ProfileSummary(name="other", policies=("1.2.3.4", SAMPLE_POLICY)),
        )

    @pytest.fixture
    def open_selector(
        self, provider: Provider[PolicySelector], validated_options: PluginOptions
    ) -> Iterator[Callable[[], PolicySelector]]:
        """Return a function that opens the selector through its provider, not bound yet."""
        opened: list[PolicySelector] = []

        def open_one() -> PolicySelector:
            opened.append(provider.open(validated_options))
            return opened[-1]

        yield open_one
        for selector in opened:
            selector.close()

    @pytest.fixture
    def selector(
        self, open_selector: Callable[[], PolicySelector], profiles: Sequence[ProfileSummary]
    ) -> PolicySelector:
        """Return the selector, bound to `profiles`."""
        selector = open_selector()
        selector.bind(profiles)
        return selector

    def test_is_a_selector(self, selector: PolicySelector) -> None:
        assert isinstance(selector, PolicySelector), "what `open` returns must extend tsa_core.api.PolicySelector"

    @pytest.mark.parametrize("context", CONTEXTS, ids=lambda c: f"{c.client_address or 'nowhere'}")
    @pytest.mark.parametrize("stamp_request", REQUESTS, ids=lambda r: r.policy or "any")
    def test_choice_is_a_profile_or_none_or_a_refusal(
        self,
        selector: PolicySelector,
        profiles: Sequence[ProfileSummary],
        stamp_request: TimeStampReq,
        context: RequestContext,
    ) -> None:
        try:
            chosen = selector.select(stamp_request, context)
        except RequestRejected as rejection:
            text = rejection.text
        else:
            names = {profile.name for profile in profiles}
            assert chosen is None or chosen in names, f"{chosen!r} is none of the profiles {sorted(names)}"
            return
        assert text.strip(), "the requester reads RequestRejected's text; say what to change"
        assert "\n" not in text, "the text of a refusal is one line"

    def test_same_request_gets_the_same_choice_on_many_threads(self, selector: PolicySelector) -> None:
        pairs = [(stamp_request, context) for stamp_request in REQUESTS for context in CONTEXTS]
        alone = [_choice(selector, pair) for pair in pairs]
        assert on_threads(lambda pair: _choice(selector, pair), pairs) == alone

    def test_local_selector_does_not_wait(self, selector: PolicySelector) -> None:
        check_latency(selector.latency, lambda: _choice(selector, (REQUESTS[0], CONTEXTS[0])), doing="select")

    def test_choosing_is_fast(self, selector: PolicySelector) -> None:
        if selector.latency == "remote":
            return
        started = perf_counter()
        for number in range(_CALLS):
            _choice(selector, (REQUESTS[number % len(REQUESTS)], CONTEXTS[number % len(CONTEXTS)]))
        elapsed = perf_counter() - started
        assert elapsed < self.calls_seconds, f"{_CALLS} choices took {elapsed:.2f} s; do no I/O in select()"

    def test_close_twice(self, open_selector: Callable[[], PolicySelector]) -> None:
        selector = open_selector()
        selector.close()
        selector.close()


def _choice(selector: PolicySelector, pair: tuple[TimeStampReq, RequestContext]) -> tuple[str | None, str]:
    try:
        return selector.select(*pair), ""
    except RequestRejected as rejection:
        return None, rejection.text
