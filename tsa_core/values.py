"""Values: objects that do not change, and are equal when their fields are.

They give what `@dataclass(frozen=True, kw_only=True)` gives. That decorator writes source code for each class and
compiles it whenever the class is imported: 1.3 ms for each class, and 14 ms for the module dataclasses, which a command
that verifies one file would spend a fifth of its time on (decision 289). Type checkers know the fields of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

if TYPE_CHECKING:
    from inspect import Signature


class _SignatureOfFields:
    """What `inspect.signature`, `help` and the documentation show of a class: its fields as keyword arguments."""

    def __get__(self, _instance: object, owner: type[Value]) -> Signature:
        from inspect import Parameter, Signature

        kinds = {name: kind for cls in owner.__mro__ for name, kind in getattr(cls, "__annotations__", {}).items()}
        return Signature(
            [
                Parameter(
                    name,
                    Parameter.KEYWORD_ONLY,
                    default=Parameter.empty if name in owner._required else getattr(owner, name),
                    annotation=kinds[name],
                )
                for name in owner._fields
            ]
        )


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Value:
    """The base of values. The annotations of a subclass are its fields, and what they are set to is their default.

    A subclass may check its fields in `__post_init__`, and compute from them with `functools.cached_property`. What
    `_hidden` names is left out of the repr: secrets, and what only makes it long.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _known: ClassVar[frozenset[str]] = frozenset()
    _required: ClassVar[frozenset[str]] = frozenset()
    _hidden: ClassVar[frozenset[str]] = frozenset()
    __signature__: ClassVar = _SignatureOfFields()

    def __init_subclass__(cls) -> None:
        """Find the fields, and those that have no default."""
        kinds = {name: str(kind).removeprefix("typing.") for name, kind in cls.__annotations__.items()}
        own = [name for name, kind in kinds.items() if not kind.startswith("ClassVar")]
        cls._fields = tuple(dict.fromkeys((*cls._fields, *own)))
        cls._known = frozenset(cls._fields)
        cls._required = cls._required.difference(own).union(name for name in own if name not in cls.__dict__)

    def __init__(self, **values: Any) -> None:
        if not (self._required <= values.keys() <= self._known):
            missing, unknown = self._required - values.keys(), values.keys() - self._known
            raise TypeError(
                f"{type(self).__name__}() "
                + (f"misses {', '.join(sorted(missing))}" if missing else f"has no field {', '.join(sorted(unknown))}")
            )
        self.__dict__.update(values)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields; raises what the subclass says."""

    def replace(self, **changes: Any) -> Self:
        """Return the same value but for some fields."""
        return type(self)(**{**{name: getattr(self, name) for name in self._fields}, **changes})

    __replace__ = replace
    """What `copy.replace` of Python 3.13 calls."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} does not change: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} does not change: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self._fields))

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self._fields if name not in self._hidden)
        return f"{type(self).__name__}({', '.join(shown)})"
