"""Configuration files of Sigstore's timestamp server: YAML, JSON or TOML whose keys are the names of its flags."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tsa_core.api import ConfigError
from tsa_core.api.files import read_file

NAME: Final = "timestamp-server"
_MAX_OCTETS: Final = 4 * 1024 * 1024
_YAML: Final = frozenset({".yaml", ".yml"})
_SUFFIXES: Final = (".json", ".toml", ".yaml", ".yml")
"""In the order in which Sigstore's server looks for them."""


def find_file(environ: Mapping[str, str]) -> Path | None:
    """Return the file that Sigstore's server would read unasked: timestamp-server.yaml in $HOME, else here."""
    folders = [*filter(None, [environ.get("HOME")]), "."]
    candidates = [Path(folder, f"{NAME}{suffix}") for folder in folders for suffix in _SUFFIXES]
    return next((path for path in candidates if path.is_file()), None)


def reference_document(path: Path, flags: frozenset[str]) -> dict[str, str] | None:
    """Return what the file gives to Sigstore's flags, by their names and as they would be written.

    None for what is no such file, a tsa.toml for example: of TOML, only that counts whose first level names flags.
    `flags` are their names, without dashes in front. Raises ConfigError for a file that cannot be read, for a name that
    is no flag's, and for one without a value.
    """
    document = _parse(path, read_file(path, "configuration file", limit=_MAX_OCTETS), flags)
    if document is None:
        return None
    values: dict[str, str] = {}
    for key, value in document.items():
        name = _name(key)
        if name not in flags:
            raise ConfigError(unknown_flag(key, flags), path=str(path))
        if name in values:
            raise ConfigError(f"{name} stands there twice", path=str(path))
        values[name] = _text(name, value, path)
    return values


def unknown_flag(key: str, flags: frozenset[str]) -> str:
    """Return what to say of a name that is no flag's, with the nearest one."""
    import difflib

    near = difflib.get_close_matches(_name(key), sorted(flags), n=1)
    hint = f"did you mean {near[0]!r}?" if near else "timestamp-server serve --help lists them"
    return f"{key!r} is not the name of a flag; {hint}"


def _name(key: str) -> str:
    """Return a key as flags are written; case is ignored, as Sigstore's server does."""
    return key.strip().lower()


def _parse(path: Path, data: bytes, flags: frozenset[str]) -> dict[str, Any] | None:
    try:
        if path.suffix not in _YAML and path.suffix != ".json":
            return _toml(data, flags)
        text = data.decode("utf-8")
        document = _yaml(text) if path.suffix in _YAML else json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"the configuration file cannot be read: {reason}", path=str(path)) from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigError("the configuration file does not hold names with values", path=str(path))
    return document


def _toml(data: bytes, flags: frozenset[str]) -> dict[str, Any] | None:
    """Return a TOML document that gives values to flags; None for any other, which is read as tsa.toml."""
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except ValueError:
        return None
    named = any(_name(key) in flags and not isinstance(value, dict) for key, value in document.items())
    return document if named else None


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return pairs as a dict; ValueError for a name that stands there twice."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} stands there twice")
        found[key] = value
    return found


def _yaml(text: str) -> Any:
    """Return a YAML mapping with its values as they are written; ValueError for another document."""
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if not isinstance(node, yaml.MappingNode):
        return None if node is None else []
    return _once([(key.value, _yaml_value(value)) for key, value in node.value])


def _yaml_value(node: Any) -> Any:
    """Return a scalar as it is written, so that 1.10 stays an OID, and a list of them; None for a null."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_yaml_value(each) for each in node.value]
    if not isinstance(node, yaml.ScalarNode):
        return {}
    return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)


def _text(name: str, value: Any, path: Path) -> str:
    """Return a value as a flag takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    what = "has no value" if value is None or value == [] else "has a value that no flag takes"
    raise ConfigError(f"{name} {what}", path=str(path))
