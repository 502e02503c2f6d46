"""The page of a report in a real browser: both themes, a telephone and a screen; Debian's Chromium (decision 218)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.probe.faults import faulty
from tests.probe.faulty_authority import CHAIN, FaultyAuthority, make_signer, serving
from tests.probe.picture import PUT
from tsa_core.probe import html_page, probe
from tsa_core.testing import forge, require_program
from tsa_core.testing.forged_pki import name

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.package("playwright")

ROOT = Path(__file__).resolve().parents[2]
CONTRAST = (ROOT / "plugins" / "tsa-web" / "tests" / "contrast.js").read_text(encoding="utf-8")
MILLISECONDS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = require_program("chromium")
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=arguments, timeout=MILLISECONDS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with every kind of failure, and texts that are long and without a space."""
    authority = FaultyAuthority()
    authority.signer = make_signer(subject=name("W" * 60))
    faulty(*PUT, authority=authority)
    authority.refusal = lambda _failure, _text: forge.reply(status=2, texts=["x" * 300], failures=[25])
    with serving(authority) as url:
        report = probe(f"{url}/{'y' * 300}", rate=1000, trust=CHAIN.pem, clock_bound=0.5, conformance=["etsi"])
    place = tmp_path_factory.mktemp("page") / "report.html"
    place.write_text(html_page(report), encoding="utf-8")
    return place.as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(browser: Browser, page: str, theme: Literal["light", "dark"], width: int) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(page, timeout=MILLISECONDS)
    opened.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert opened.evaluate("() => document.documentElement.scrollWidth") <= width
    assert opened.evaluate(CONTRAST) == []
    assert complaints == []
    assert asked == [page]
    assert opened.locator("svg").count() == 5
    opened.close()


def test_a_good_report_has_no_list_of_failures(browser: Browser, tmp_path: Path) -> None:
    with serving(FaultyAuthority()) as url:
        report = probe(url, rate=1000, trust=CHAIN.pem, clock_bound=0.5)
    place = tmp_path / "report.html"
    place.write_text(html_page(report), encoding="utf-8")
    opened = browser.new_page()
    opened.goto(place.as_uri(), timeout=MILLISECONDS)
    assert opened.locator("h2").all_inner_texts()[0] == "At a glance"
    assert opened.title() == f"A+: {url}"
    opened.close()
