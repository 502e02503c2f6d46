"""Values that plugins make or get: the base of those that cost no dataclass at import."""

from __future__ import annotations

from typing import Any, ClassVar

from tsa_core.values import Value


class _DataclassFields:
    """What `dataclasses.replace`, `fields` and `asdict` ask a class for; made when one of them does."""

    def __get__(self, _instance: object, owner: type[Value]) -> dict[str, Any]:
        from dataclasses import field, make_dataclass

        def described(name: str) -> Any:
            shown = name not in owner._hidden
            if name in owner._required:
                return field(repr=shown)
            return field(default_factory=lambda: getattr(owner, name), repr=shown)

        fields = [(name, Any, described(name)) for name in owner._fields]
        made: dict[str, Any] = vars(make_dataclass(owner.__name__, fields, kw_only=True))["__dataclass_fields__"]
        return made


class PluginValue(Value):
    """A value of the plugin API, which the functions of the module `dataclasses` take, too."""

    __dataclass_fields__: ClassVar[Any] = _DataclassFields()
