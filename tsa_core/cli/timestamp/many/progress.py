"""A bar on standard error while many files are worked on, where a person may be watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tsa_core.cli import console

_FEWEST: Final = 2


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yield what is called after each file, with a word on what is going on; off a terminal it does nothing."""
    if total < _FEWEST or not console.is_terminal(sys.stderr) or not console.has_rich():
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[now]}"), console=console.stderr(), transient=True) as bar:
        task = bar.add_task(title, total=total, now="")
        yield lambda now: bar.update(task, advance=1, now=now)
