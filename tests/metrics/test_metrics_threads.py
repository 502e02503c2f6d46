"""The metrics listener has few threads, and answers a scrape however many clients say nothing."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from tsa_core.config import MetricsSettings
from tsa_core.metrics.listener import MAX_THREADS, MetricsListener
from tsa_core.testing import wait_until

SECONDS = 60.0


def scrapes() -> int:
    return sum(thread.name == "scrape" for thread in threading.enumerate())


@contextmanager
def listener() -> Iterator[tuple[MetricsListener, tuple[str, int]]]:
    with MetricsListener(MetricsSettings(port=0)) as opened:
        opened.start(lambda: None)
        parts = urlsplit(opened.url)
        yield opened, (str(parts.hostname), int(parts.port or 0))
    wait_until(lambda: not scrapes(), seconds=SECONDS, what="all threads have ended")


def scrape(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        content: bytes = response.read()
    return content


def test_clients_that_say_nothing_have_few_threads_and_keep_nobody_out() -> None:
    with listener() as (opened, address), ExitStack() as stack:
        for number in range(200):
            held = stack.enter_context(socket.create_connection(address, timeout=SECONDS))
            if number % 2:
                held.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            assert scrapes() <= 2 * MAX_THREADS
        assert b"python_info" in scrape(opened.url)
        wait_until(lambda: scrapes() <= MAX_THREADS, seconds=SECONDS, what="the oldest have been closed")
        assert b"python_info" in scrape(opened.url)


def test_who_has_asked_is_not_closed_for_another() -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()

    def before_scrape() -> None:
        entered.release()
        assert go_on.wait(SECONDS)

    with MetricsListener(MetricsSettings(port=0)) as opened, ExitStack() as stack:
        opened.start(before_scrape)
        parts = urlsplit(opened.url)
        address = str(parts.hostname), int(parts.port or 0)
        asked = [stack.enter_context(socket.create_connection(address, timeout=SECONDS)) for _ in range(MAX_THREADS)]
        for each in asked:
            each.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert entered.acquire(timeout=SECONDS)
        with socket.create_connection(address, timeout=SECONDS) as one_more:
            assert one_more.recv(1) == b"", "it is refused"
        go_on.set()
        for each in asked:
            assert each.recv(12) == b"HTTP/1.0 200"
