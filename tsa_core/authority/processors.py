"""The response processors: they add extensions before the signature, and work on the reply after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tsa_core.api import PluginCrash, PluginError, RequestRejected, ResponseProcessor, TokenDraft, TsaError
from tsa_core.api.wrong_types import describe
from tsa_core.authority.causes import Cause, CauseKind, Causes
from tsa_core.protocol.response import signed_parts

PROCESSOR_FAILED = "the response processor withheld a reply; the log says why"
"""The cause after a failure, until a reply passes or the processor's `health` says that it works."""


class Processors:
    """Runs processors in order, given with the names that the configuration has for them."""

    def __init__(self, processors: Sequence[tuple[str, ResponseProcessor]], causes: Causes) -> None:
        self._all = tuple((name, processor, causes.add(CauseKind.RESPONSE, name)) for name, processor in processors)
        self.failed = tuple(failed for _, _, failed in self._all)
        """The cause of each processor: active when the last reply could not pass it."""
        self.request_extensions = frozenset[str]().union(*(each.request_extensions for _, each in processors))
        """The OIDs of all request extensions that a processor understands."""

    def __bool__(self) -> bool:
        return bool(self._all)

    def extend(self, draft: TokenDraft) -> list[tuple[str, bytes]]:
        """Return the extensions that the processors add to a token, with their names; raises TsaError alone."""
        parts: list[tuple[str, bytes]] = []
        for name, processor, failed in self._all:
            try:
                added: object = processor.extend(draft)
                parts.extend((name, part) for part in _extensions(name, added))
            except Exception as error:
                raise self._failure(name, failed, error) from error
        return parts

    def process(self, response: bytes, draft: TokenDraft) -> bytes:
        """Return the reply as the processors have made it; raises TsaError alone.

        That is also what happens when one of them changed bytes under the signature.
        """
        before = signed_parts(response)
        outputs: list[bytes] = []
        for name, processor, failed in self._all:
            try:
                returned: object = processor.process(response, draft)
                if not isinstance(returned, bytes):
                    raise _wrong(name, f"process returned {describe(returned)}, not bytes")
            except Exception as error:
                raise self._failure(name, failed, error) from error
            response = returned
            outputs.append(response)
        if _signed_parts(response) != before:
            name, failed = self._who_changed(before, outputs)
            failed.set(PROCESSOR_FAILED)
            raise _wrong(name, "process changed bytes under the signature, or broke the reply, which is withheld")
        for failed in self.failed:
            if failed.reason:
                failed.clear()
        return response

    @staticmethod
    def _failure(name: str, failed: Cause, error: Exception) -> TsaError:
        """Return what is raised for an error of a processor; one that refuses a request has not failed."""
        if isinstance(error, RequestRejected):
            return error
        failed.set(PROCESSOR_FAILED)
        if not isinstance(error, TsaError):
            return PluginCrash(f"the response processor {name!r} crashed", plugin=name)
        error.plugin = name
        return error

    def _who_changed(self, before: object, outputs: Sequence[bytes]) -> tuple[str, Cause]:
        """Return name and cause of the first processor whose output has other bytes under the signature."""
        changed = (_signed_parts(output) != before for output in outputs)
        return next((name, failed) for (name, _, failed), wrong in zip(self._all, changed, strict=True) if wrong)


def _wrong(name: str, what: str) -> PluginError:
    return PluginError(f"the response processor {name!r} is wrong: {what}", plugin=name)


def _extensions(name: str, added: object) -> list[bytes]:
    """Return what `extend` returned, once it is seen to be encoded extensions."""
    if not isinstance(added, Iterable) or isinstance(added, bytes | str):
        raise _wrong(name, f"extend returned {describe(added)}, not a list of encoded extensions")
    parts = []
    for part in added:
        if not isinstance(part, bytes):
            raise _wrong(name, f"extend returned {describe(part)} among the extensions, which are bytes")
        parts.append(part)
    return parts


def _signed_parts(response: bytes) -> object:
    """Return the bytes under the signature; None for what is no reply."""
    try:
        return signed_parts(response)
    except TsaError:
        return None
