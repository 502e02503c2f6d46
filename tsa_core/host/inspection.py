"""Looks at what a plugin registered and opened before it is used: classes, methods and the types of values.

Python would find most of these mistakes when the first request comes, and some of them never: an audit sink whose
`write` is an async function stores nothing, and says nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from tsa_core.api import (
    AuditSink,
    Clock,
    ClockError,
    Provider,
    PublicKey,
    ResponseProcessor,
    SignatureAlgorithm,
    Signer,
)
from tsa_core.api.clock import reading_complaint
from tsa_core.api.wrong_types import describe, with_article
from tsa_core.host.kinds import Kind

_MAY_YIELD: Final = frozenset({"extend"})
"""Methods whose result is iterated over, so that a generator is as good as a list."""
_LATENCIES: Final = ("local", "remote")
_PROPERTIES: Final[Mapping[str, tuple[Any, str]]] = {
    "algorithm": (SignatureAlgorithm, "a SignatureAlgorithm of tsa_core.api"),
    "public_key": (PublicKey, "a public key of the library cryptography that can verify timestamps"),
    "period": (timedelta | None, "a timedelta or None"),
}
"""The types of the properties of what plugins open, and what to call them."""


def provider_complaint(kind: Kind[Any], provider: object) -> str:
    """Return what is wrong with what a hook yielded; empty when nothing is."""
    if not isinstance(provider, Provider):
        return f"{kind.hook} yields {describe(provider)}, which is not a Provider"
    name: object = provider.name
    if not isinstance(name, str) or not name:
        return f"the name of a Provider is {describe(name)}, not a text"
    base = kind.options
    options: object = provider.options
    opens: object = provider.open
    if not (isinstance(options, type) and issubclass(options, base)):
        what = f"the class {options.__name__}" if isinstance(options, type) else describe(options)
        return f"its options are {what}, which is no model of settings; derive it from tsa_core.api.{base.__name__}"
    try:
        options.model_rebuild()  # once: else a type that pydantic does not know is found when settings are read
    except Exception as error:  # noqa: BLE001 - whatever a type's own code raises
        said = str(error).partition("\n")[0]
        return f"its options {options.__name__} cannot be used: {type(error).__name__}: {said}"
    if not callable(opens):
        return f"its open is {describe(opens)}, not a function"
    if inspect.iscoroutinefunction(opens):
        return "its open is an async function (async def), which nothing would await"
    for what in ("open_trail", "trail_of_files"):
        function: object = getattr(provider, what)
        if function is not None and kind.base is not AuditSink:
            return f"it has {what}, which is for audit sinks"
        if function is not None and not callable(function):
            return f"its {what} is {describe(function)}, not a function"
    return ""


def opened_complaint(kind: Kind[Any], opened: object) -> str:
    """Return what is wrong with what `open` returned; empty when nothing is.

    Reads the object's properties, and calls those of its methods that tell facts. Raises what these raise of TsaError.
    """
    base = kind.base
    if not isinstance(opened, base):
        return f"open returned {describe(opened)}, not {with_article(base)}"
    return next(_complaints(base, opened), "")


def _complaints(base: type[Any], opened: Any) -> Iterator[str]:
    for name in dir(base):
        declared = inspect.getattr_static(base, name)
        if name.startswith("_"):
            continue
        if isinstance(declared, FunctionType):
            if inspect.getattr_static(opened, name, None) is not declared:
                yield from _method_complaints(name, declared, getattr(opened, name, None))
        elif isinstance(declared, property):
            yield from _property_complaints(name, opened)
    if (latency := getattr(opened, "latency", "local")) not in _LATENCIES:
        yield f"its latency is {latency!r}; it must be one of: {', '.join(map(repr, _LATENCIES))}"
    if isinstance(opened, AuditSink) and opened.wants_refusals:
        if type(opened).write_refusals is AuditSink.write_refusals:
            yield "its wants_refusals is true, and it has no write_refusals"
    elif isinstance(opened, Signer):
        yield from _signer_complaints(opened)
    elif isinstance(opened, ResponseProcessor):
        oids: object = opened.request_extensions
        if not _is_list_of(str, oids):
            yield f"its request_extensions are {describe(oids)}, not a frozenset of OIDs as texts"
    elif isinstance(opened, Clock):
        yield from _clock_complaints(opened)


def _property_complaints(name: str, opened: object) -> Iterator[str]:
    wanted, text = _PROPERTIES[name]
    try:
        value = getattr(opened, name)
    except AttributeError as error:
        yield f"its {name} cannot be read: {error} (is super().__init__() called?)"
    else:
        if not isinstance(value, wanted):
            yield f"its {name} is {describe(value)}, not {text}"


def _clock_complaints(clock: Clock) -> Iterator[str]:
    try:
        reading = clock.now()
    except ClockError:
        return  # it has no time now, and says so as it should
    if complaint := reading_complaint(reading):
        yield f"now returned {complaint}"


def _method_complaints(name: str, declared: Callable[..., Any], mine: Any) -> Iterator[str]:
    if not callable(mine):
        yield f"its {name} is {describe(mine)}, not a method"
    elif inspect.iscoroutinefunction(mine) or inspect.isasyncgenfunction(mine):
        yield f"its {name} is an async function (async def), which nothing would await"
    elif inspect.isgeneratorfunction(mine) and name not in _MAY_YIELD:
        yield f"its {name} has a yield in it, so that a call of it does nothing"
    else:
        wanted = list(inspect.signature(declared).parameters.values())[1:]
        by_place = [None for parameter in wanted if parameter.kind is not parameter.KEYWORD_ONLY]
        by_name = {parameter.name: None for parameter in wanted if parameter.kind is parameter.KEYWORD_ONLY}
        try:
            signature = inspect.signature(mine)
        except (TypeError, ValueError):
            return  # written in C, for example
        try:
            signature.bind(*by_place, **by_name)
        except TypeError as error:
            call = ", ".join([p.name if p.kind is not p.KEYWORD_ONLY else f"{p.name}=..." for p in wanted])
            yield f"its {name} cannot be called as {name}({call}): {error}"


def _signer_complaints(signer: Signer) -> Iterator[str]:
    sign_digest: object = signer.sign_digest
    if sign_digest is not None and not callable(sign_digest):
        yield f"its sign_digest is {describe(sign_digest)}, neither a function nor None"
    chain: object = signer.certificate_chain()
    if not _is_list_of(bytes, chain):
        yield f"certificate_chain returned {describe(chain)}, not a list of DER certificates as bytes"
    files: object = signer.files()
    if not _is_list_of(Path, files):
        yield f"files returned {describe(files)}, not a list of Paths"


def _is_list_of(kind: type[object], value: object) -> bool:
    if not isinstance(value, Sequence | AbstractSet) or isinstance(value, bytes | str):
        return False
    return all(isinstance(each, kind) for each in value)
