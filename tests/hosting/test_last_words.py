"""The last lines of a process that is given up, when no other thread gets to say or to write them."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import _thread, logging, time
from datetime import timedelta
from tsa_core.hosting import ending
from tsa_core.logs import set_up_logging
from tsa_core.logs.writer import LineWriter

LineWriter._run = lambda self: time.sleep(3600)  # the thread that writes the log gets no CPU
start = _thread.start_new_thread
_thread.start_new_thread = lambda call, words: call.__name__ == "_give_up" or start(call, words)
ending._LAST_RESORT_SECONDS = 3600.0
set_up_logging()
log = logging.getLogger("test")
log.warning("a line that waits")
given_up = ending.Ending(
    timedelta(0), slack=0.0, exit_code=lambda _: 7, last_words=lambda known: log.warning("last words: %s", known.name)
)
given_up.begin()
time.sleep(3600)
"""


def test_who_ends_the_process_writes_what_no_other_thread_has_written() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 7, ended.stderr
    first, hangs, last = ended.stderr.splitlines()
    assert "a line that waits" in first
    assert "the end hangs in __main__" in hangs
    assert "last words: NOT_ALL" in last
