"""A server that ends at a signal does so whichever thread the kernel gives it to."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import signal, threading
from tsa_core.hosting.in_process import Wait

wait = Wait()
signal.signal(signal.SIGTERM, lambda *_: wait.stop())

def receive():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

# By then the main thread waits. Where it does not yet, the handler runs before, and there is nothing to see.
threading.Timer(0.5, receive).start()
wait.run()
"""


def test_a_signal_that_another_thread_receives_ends_the_wait() -> None:
    """One that came right before the main thread waited was not noticed either: granian's worker served on."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=30)
