"""Names that the code base no longer uses, because the field has a word for the thing (decision 139)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = frozenset(
    {".cfg", ".css", ".html", ".in", ".json", ".md", ".py", ".service", ".toml", ".txt", ".yaml", ".yml", ""}
)
SKIPPED_FOLDERS = frozenset({"__pycache__", "_build", "build", "dist", "node_modules", "site", "wheels"})
EXEMPT = {
    "tests/test_retired_names.py": "holds the patterns",
    "docs/decisions/139-the-fields-words.md": "says what the retired names were",
}

# The word that is used instead, and what must not come back. A pattern names the private term and not the plain English
# word in it: `together` and `silent` are good words elsewhere. Texts are searched in lower case, and a space also
# matches a line break. A pattern that begins with a literal is searched much faster.
RETIRED = {
    "batching": (
        r"finish(?:ed|es|ing)? (?:them |requests |what has come )?together\b",
        r"what ha(?:s|ve) come\b",
        r"requests that have come\b",
        r"all that have come\b",
        r"together\s*=\s*batch\(",
        r"together\.(?:add|enough|finish)\b",
        r"finish_together",
        r"http[./]together\b",
        r"self\._enough\b",
        r"_enough_seconds",
        r"authority\.(?:begin|finish)\(",
        r"authority[./]pending\b",
        r"class (?:begun|pending|together)\b",
        r"import (?:\w+, )*(?:begun|pending|together)\b",
    ),
    "fast path": (
        r"the usual request\b",
        r"put_(?:front|usual_first)\b",
        r"_usual_(?:digest|heads?|imprint|start)\b",
        r"http[./]usual\b",
    ),
    "timeouts": (r"patience\b", r"patient_?loop"),
    "CORS": (r"http[./]front\b", r"\bfront\.py\b"),
    "CPU affinity": (
        r"keep_to_one_processor",
        r"keeps? (?:each worker )?(?:to|on) (?:a|one) processor\b",
        r"processors? of (?:its|their) own\b",
        r"processor'?s'? caches\b",
        r"http[./]processors\b",
    ),
    "idle connections": (
        r"silent (?:connection|client)s?\b",
        r"silent_?(?:connections|seconds)",
        r"_ask_silent",
        r"who is silent\b",
    ),
    "request tracing, observability": (
        r"observatory",
        r"observingmiddleware",
        r"http[./]observing\b",
        r"authority[./]trace\b",
    ),
    "thread pool": (r"handover\b", r"hand_over", r"signer_pools", r"http[./]pools\b", r"enter, stay\b"),
    "thread limit, connection limit": (
        r"threadshares",
        r"streamshares",
        r"thread_shares",
        r"shares? of (?:the )?threads\b",
        r"toomuchatonce",
        r"http[./]streams\b",
    ),
    "prepare and commit": (r"fleet\.(?:exchange|settle)\(", r"reload in two halves\b"),
    "plain words": (r"not to be had\b", r"strangers to each other\b", r"street door\b", r"keep_what_stays"),
}


def text_files() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in SKIPPED_FOLDERS and not name.endswith(".egg-info") and (name == ".ci" or name[0] != ".")
        ]
        for name in names:
            path = Path(folder, name)
            if path.suffix in TEXT and not name.startswith(".") and path.is_file():
                yield path


def spaced(pattern: str) -> re.Pattern[str]:
    """Compile a pattern whose spaces also match a line break, with what a comment begins with on the next line."""
    return re.compile(pattern.replace(" ", r"(?: |\s*\n[ #>*-]*)"))


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    found = {}
    for path in text_files():
        name = path.relative_to(ROOT).as_posix()
        if name not in EXEMPT:
            found[name] = path.read_text(encoding="utf-8", errors="replace").lower()
    assert {"tsa_core/http/batching.py", "docs/configure.md", "CHANGELOG.md", "pyproject.toml"} <= found.keys()
    return found


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_name_does_not_come_back(word: str, texts: dict[str, str]) -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for pattern in map(spaced, RETIRED[word])
        for name, text in texts.items()
        for match in pattern.finditer(text)
    ]
    assert not found, f"say {word} instead:\n" + "\n".join(found)


def test_the_patterns_find_what_they_are_for() -> None:
    examples = {
        "batching": "requests are finished\n    # together",
        "fast path": "The usual request",
        "timeouts": "self._patience = 1".replace("_", " "),
        "CORS": "tsa_core/http/front.py",
        "CPU affinity": "a processor of its own",
        "idle connections": "silent clients",
        "request tracing, observability": "Observatory(settings)",
        "thread pool": "raise HandOver(pool)",
        "thread limit, connection limit": "ThreadShares(app)",
        "prepare and commit": "fleet.settle(plan)",
        "plain words": "an address that was not to be had",
    }
    assert examples.keys() == RETIRED.keys()
    for word, text in examples.items():
        assert any(pattern.search(text.lower()) for pattern in map(spaced, RETIRED[word])), word
