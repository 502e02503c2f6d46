"""Which addresses let others read what is sent to them."""

from __future__ import annotations

import pytest

from tsa_core.api import sends_cleartext


@pytest.mark.parametrize(
    "url",
    ["https://example.org", "http://localhost:8200", "http://127.0.0.1", "http://127.9.9.9:80/x", "http://[::1]:8200"],
)
def test_tls_and_this_machine_keep_what_is_sent(url: str) -> None:
    assert not sends_cleartext(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "HTTP://example.org:8200",
        "http://192.0.2.1",
        "http://[2001:db8::1]",
        "http://0.0.0.0",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost@example.org",
    ],
)
def test_plain_http_to_other_machines_does_not(url: str) -> None:
    assert sends_cleartext(url)
