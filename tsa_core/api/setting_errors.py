"""What is wrong with a setting, in words for people who have not heard of pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_SIZE: Final = "must be a size: 16384, 16KiB or 1MB for example"
_TABLE: Final = "must be a table: {{ name = value }}"
_TEXTS: Final = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "finite_number": "must be a number, neither infinite nor NaN",
    "byte_size": _SIZE,
    "byte_size_unit": _SIZE,
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text, in quotes",
    "string_pattern_mismatch": "does not have the form {pattern}",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_too_short": "must have {min_length} characters or more",
    "too_long": "must have {max_length} entries or fewer",
    "too_short": "must have {min_length} entries or more",
    "list_type": "must be a list: [...]",
    "tuple_type": "must be a list: [...]",
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "extra_forbidden": "is no setting",
    "path_type": "must be a path, in quotes",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
}


def setting_error(problem: Mapping[str, Any]) -> str:
    """Return what is wrong by one of pydantic's error details; the value, which may be a secret, is not in it."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in {"string_too_short", "too_short"} and context.get("min_length") == 1:
        return "must not be empty"
    text = _TEXTS.get(kind)
    if text is None:
        return str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    try:
        return text.format(**context)
    except (KeyError, IndexError):
        return str(problem["msg"]).replace("Input should be", "must be")
