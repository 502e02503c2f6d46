"""The response processors: they add extensions before the signature, and work on the reply after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from tsa_core.api import PluginCrash, PluginError, RequestRejected, ResponseProcessor, TokenDraft, TsaError
from tsa_core.api.wrong_types import describe
from tsa_core.authority.batch_guard import BatchGuard
from tsa_core.authority.causes import Cause, CauseKind, Causes
from tsa_core.authority.plugin_calls import PluginCalls
from tsa_core.protocol.response import signed_parts

PROCESSOR_FAILED = "the response processor withheld a reply; the log says why"
"""The cause after a failure, until a reply passes or the processor's `health` says that it works."""


class _Processor(NamedTuple):
    name: str
    plugin: ResponseProcessor
    failed: Cause
    calls: PluginCalls

    def failure(self, error: BaseException) -> TsaError:
        """Return what is raised for an error of the processor; one that refuses a request has not failed."""
        if isinstance(error, RequestRejected):
            return error
        self.failed.set(PROCESSOR_FAILED)
        if not isinstance(error, TsaError):
            return PluginCrash(f"the response processor {self.name!r} crashed", plugin=self.name)
        error.plugin = self.name
        return error

    def wrong(self, what: str) -> PluginError:
        """Return what is raised for a wrong result."""
        return PluginError(f"the response processor {self.name!r} is wrong: {what}", plugin=self.name)

    def extensions(self, draft: TokenDraft) -> list[bytes]:
        """Return what `extend` returned, once it is seen to be encoded extensions."""
        added: object = self.plugin.extend(draft)
        if not isinstance(added, Iterable) or isinstance(added, bytes | str):
            raise self.wrong(f"extend returned {describe(added)}, not a list of encoded extensions")
        parts = []
        for part in added:
            if not isinstance(part, bytes):
                raise self.wrong(f"extend returned {describe(part)} among the extensions, which are bytes")
            parts.append(part)
        return parts


class Processors:
    """Runs processors in order, given with the names that the configuration has for them.

    `calls` makes the PluginCalls of a processor from what errors call it and the cause that it hangs.
    """

    def __init__(
        self,
        processors: Sequence[tuple[str, ResponseProcessor]],
        causes: Causes,
        calls: Callable[..., PluginCalls] = PluginCalls,
    ) -> None:
        self._all = tuple(
            _Processor(
                name,
                plugin,
                causes.add(CauseKind.RESPONSE, name),
                calls(f"the response processor {name!r}", hangs=causes.add(CauseKind.RESPONSE, name)),
            )
            for name, plugin in processors
        )
        self._extending = tuple(each for each in self._all if _overrides(each.plugin, "extend"))
        self._processing = tuple(each for each in self._all if _overrides(each.plugin, "process"))
        self.failed = tuple(each.failed for each in self._all)
        """The cause of each processor: active when the last reply could not pass it."""
        self.request_extensions = frozenset[str]().union(*(each.request_extensions for _, each in processors))
        """The OIDs of all request extensions that a processor understands."""
        self.remote = any(plugin.latency == "remote" for _, plugin in processors)
        """Whether a processor waits for a network."""

    def __bool__(self) -> bool:
        return bool(self._all)

    def extend(self, draft: TokenDraft, guard: BatchGuard | None) -> list[tuple[str, bytes]]:
        """Return the extensions that the processors add to a token, with their names; raises TsaError alone.

        With a guard the processors are called in this thread, and the guard's owner notices when one hangs.
        """
        parts: list[tuple[str, bytes]] = []
        for each in self._extending:
            try:
                if guard is None:
                    added = each.calls.call(partial(each.extensions, draft))
                else:
                    guard.begin(each.calls)
                    added = each.extensions(draft)
            except BaseException as error:
                raise each.failure(error) from error
            parts.extend((each.name, part) for part in added)
        return parts

    def process(self, response: bytes, draft: TokenDraft, guard: BatchGuard | None) -> bytes:
        """Return the reply as the processors have made it; raises TsaError alone, also when one hangs.

        That is also what happens when one of them changed bytes under the signature. `guard` as above.
        """
        before = signed_parts(response)
        outputs: list[bytes] = []
        for each in self._processing:
            try:
                if guard is None:
                    returned: object = each.calls.call(partial(each.plugin.process, response, draft))
                else:
                    guard.begin(each.calls)
                    returned = each.plugin.process(response, draft)
                if not isinstance(returned, bytes):
                    raise each.wrong(f"process returned {describe(returned)}, not bytes")
            except BaseException as error:
                raise each.failure(error) from error
            response = returned
            outputs.append(response)
        if _signed_parts(response) != before:
            changer = self._who_changed(before, outputs)
            changer.failed.set(PROCESSOR_FAILED)
            raise changer.wrong("process changed bytes under the signature, or broke the reply, which is withheld")
        for failed in self.failed:
            if failed.reason:
                failed.clear()
        return response

    def _who_changed(self, before: object, outputs: Sequence[bytes]) -> _Processor:
        """Return the first processor whose output has other bytes under the signature."""
        changed = (_signed_parts(output) != before for output in outputs)
        return next(each for each, wrong in zip(self._processing, changed, strict=True) if wrong)

    def close(self) -> None:
        """End the threads that call the processors."""
        for each in self._all:
            each.calls.close()


def _overrides(plugin: ResponseProcessor, method: str) -> bool:
    return getattr(getattr(plugin, method), "__func__", None) is not getattr(ResponseProcessor, method)


def _signed_parts(response: bytes) -> object:
    """Return the bytes under the signature; None for what is no reply."""
    try:
        return signed_parts(response)
    except TsaError:
        return None
