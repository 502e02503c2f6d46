"""The file of answers: a text in TOML for each gap."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from tsa_core.api import ConfigError, read_file

_MAX_OCTETS: Final = 1024 * 1024


def read_answers(path: Path, keys: Collection[str]) -> dict[str, str]:
    """Return the answers of a file by the gaps' keys; raises ConfigError for a key that no statement asks for."""
    data = read_file(path, "file of answers", limit=_MAX_OCTETS)
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is no TOML: {error}", path=str(path)) from None
    for key, answer in document.items():
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]}?" if near else "--questions prints the keys"
            raise ConfigError(f"nothing asks for {key!r:.80}; {hint}", path=str(path))
        if not isinstance(answer, str) or not answer.strip():
            raise ConfigError("an answer is a text that is not empty", path=f"{path}: {key}")
    return document


def questions_text(gaps: Mapping[str, str]) -> str:
    """Return a file of answers whose answers are to be written: every question as a comment above its key."""
    lines = [
        "# Answers for timestamp-server policy-document --answers FILE. An empty line in an answer begins a paragraph."
    ]
    for key, question in gaps.items():
        lines += ["", f"# {question}", f'# {key} = """', '# """']
    return "\n".join(lines) + "\n"
