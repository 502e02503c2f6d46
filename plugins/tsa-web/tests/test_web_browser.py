"""The page in a real browser: headless Chromium against a real server, one of each for all tests.

The browser is Debian's; playwright drives it and downloads nothing. It resolves no name and reaches loopback only.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tsa_backends.commands import run_command
from tsa_core.testing import FakeSigner, ServerProcess, encode_request, issue_token, require_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.plugin("memory"),
    pytest.mark.package("playwright"),
]

ALGORITHMS = ("ecdsa-p384", "ed25519", "ml-dsa-44")
CONFIG = """
[profiles.default]
signer = "memory:"
[profiles.rsa-pss]
signer = "memory:"
rsa_pss = true
signer_options = { algorithm = "rsa-2048" }
fraction_digits = 3
accuracy = "5ms"
[routes]
plugins = ["web"]
[metrics]
enabled = false
""" + "".join(
    f'[profiles.{name}]\nsigner = "memory:"\nsigner_options = {{ algorithm = "{name}" }}\n' for name in ALGORITHMS
)
DATA = b"The quick brown fox.\n" * 5000
NAME = "Annual report 2026.pdf"
ELSEWHERE = "tsa.test"
"""A name of the server with which the browser does not trust plain HTTP, as it does on loopback."""
A_LONG_NAME = "x" * 200 + ".pdf"
MILLISECONDS = 60_000
"""How long anything in the browser may take, on a machine with better things to do."""
CONTRAST = Path(__file__).with_name("contrast.js").read_text()
FAULTS = Path(__file__).with_name("faults.js").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    config = tmp_path_factory.mktemp("web") / "tsa.toml"
    config.write_text(CONFIG)
    with ServerProcess(config) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = require_program("chromium")
    arguments = [f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=arguments, timeout=MILLISECONDS)
        yield launched
        launched.close()


class Visit:
    """The open page, and what it did: requests with their bodies, errors and complaints on the console."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(MILLISECONDS)
        self.page: Page = self.context.new_page()
        self.requests: list[tuple[str, bytes]] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append((request.url, request.post_data_buffer or b"")))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(f"{url}/")

    def choose(self, field: str, data: bytes, name: str = NAME) -> None:
        """Choose a file of this content in one of the page's fields."""
        self.page.set_input_files(f"#{field}", {"name": name, "mimeType": "application/pdf", "buffer": data})

    def stamp(self, data: bytes = DATA, name: str = NAME) -> dict[str, str]:
        """Timestamp a file, and return the facts that are shown."""
        self.choose("stamp-file", data, name)
        return self.facts("stamp")

    def facts(self, panel: str) -> dict[str, str]:
        """Wait for a panel's result and return its facts, its `verdict` and its `checks`, a line for each."""
        self.page.wait_for_selector(f"#{panel}-result:not([hidden])")
        found: dict[str, str] = self.page.eval_on_selector(
            f"#{panel}-result",
            """(result) => Object.fromEntries([
              ...Array.from(result.querySelectorAll("dl > div"), (row) => Array.from(row.children, (c) => c.innerText)),
              ["verdict", result.querySelector(".verdict").innerText],
              ["checks", Array.from(result.querySelectorAll(".checks p"),
                (row) => row.innerText.replace(/\\s+/g, " ")).join("\\n")],
            ])""",
        )
        return found

    def check(self, data: bytes, token: bytes) -> dict[str, str]:
        """Check a timestamp against a file, and return the facts that are shown."""
        # The last file comes first: it is checked against an empty timestamp, so that no former result is read.
        self.refuse(data, b"")
        self.choose("check-token", token, "report.tsr")
        return self.facts("check")

    def refuse(self, data: bytes, token: bytes) -> str:
        """Check what is no timestamp, and return what is said of it."""
        self.choose("check-file", data)
        self.choose("check-token", token, "report.tsr")
        self.page.wait_for_selector("#check-status.error")
        return self.page.inner_text("#check-status")

    def download(self, text: str, folder: Path) -> Path:
        """Click a link and return the file that it saves."""
        with self.page.expect_download() as download:
            self.page.get_by_text(text, exact=True).click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path


@pytest.fixture(scope="module")
def opened(browser: Browser, server: ServerProcess) -> Iterator[Visit]:
    """Return the page, open for all tests. Nobody but the server was asked for anything in the end."""
    visit = Visit(browser, server.url)
    yield visit
    visit.context.close()
    assert all(url.removeprefix("blob:").startswith(f"{server.url}/") for url, _ in visit.requests)


@pytest.fixture
def visit(opened: Visit) -> Iterator[Visit]:
    """Return the page; a test leaves no error and no complaint of the browser behind."""
    del opened.requests[:]
    yield opened
    complaints, opened.complaints = opened.complaints, []
    assert complaints == []


@pytest.fixture(scope="module")
def token(opened: Visit, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a timestamp of DATA that the page has downloaded."""
    opened.stamp()
    return opened.download("Download timestamp", tmp_path_factory.mktemp("token")).read_bytes()


def test_file_is_stamped_and_the_printed_command_verifies_it(visit: Visit, tmp_path: Path) -> None:
    facts = visit.stamp()
    assert facts["SHA-256"] == hashlib.sha256(DATA).hexdigest()
    assert facts["Accuracy"] == "\u00b1 1 s"
    assert facts["Policy"] == "1.3.6.1.4.1.57264.2"
    assert facts["Signed by"] == "CN=Test TSA Timestamping, O=local"
    assert facts["Chain"] == "CN=Test TSA Intermediate, O=local"
    assert "operator vouches" in facts["Clock"]
    assert visit.page.inner_text("#stamp-result summary") == "All 6 checks passed"
    assert visit.page.inner_text("#stamp-status") == f"{NAME} is timestamped."
    [body] = [body for _, body in visit.requests if body]
    assert len(body) < 80
    assert hashlib.sha256(DATA).digest() in body
    (tmp_path / NAME).write_bytes(DATA)
    assert visit.download("Download timestamp", tmp_path).name == f"{NAME}.tsr"
    assert visit.download("Download chain", tmp_path).name == "chain.pem"
    name, *arguments = shlex.split(visit.page.inner_text("#stamp-result pre").replace("\\\n", ""))
    verified = run_command(*arguments, program=name, cwd=tmp_path)
    assert verified.returncode == 0, verified.stderr


def test_dropped_file_is_stamped(visit: Visit) -> None:
    visit.page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(["dropped"], "dropped.txt"));
          const label = document.querySelector("label[for=stamp-file]");
          for (const type of ["dragenter", "dragover", "drop"]) {
            label.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: transfer }));
          }
        }"""
    )
    assert visit.facts("stamp")["SHA-256"] == hashlib.sha256(b"dropped").hexdigest()


def test_every_profile_is_offered_and_its_signature_checked(visit: Visit) -> None:
    summaries, accuracies = {}, {}
    for profile in (*ALGORITHMS, "rsa-pss", "default"):
        visit.page.select_option("#stamp-profile", label=profile)
        accuracies[profile] = visit.stamp(profile.encode(), profile)["Accuracy"]
        summaries[profile] = visit.page.inner_text("#stamp-result summary")
    # No browser has ML-DSA: that is said, and nothing is called wrong.
    assert summaries.pop("ml-dsa-44") == "4 checks passed, 2 could not be made"
    assert set(summaries.values()) == {"All 6 checks passed"}
    assert accuracies["rsa-pss"] == "\u00b1 5 ms"


def test_timestamp_holds_for_its_file(visit: Visit, token: bytes) -> None:
    facts = visit.check(DATA, token)
    assert facts["verdict"].startswith("\u2713\nThis file existed on ")
    assert [line.split(": ")[0] for line in facts["checks"].splitlines()] == ["Passed"] * 5
    assert visit.page.inner_text("#check-status") == "The timestamp holds."
    assert "Not checked here: whether a certificate was revoked" in visit.page.inner_text("#check-result")
    assert [body for _, body in visit.requests if body] == []


def test_another_file_fails_by_its_hash_alone(visit: Visit, token: bytes) -> None:
    facts = visit.check(DATA + b".", token)
    assert "This timestamp does not hold for this file" in facts["verdict"]
    [failed] = [line for line in facts["checks"].splitlines() if line.startswith("Failed")]
    assert failed.startswith("Failed: File")
    assert hashlib.sha256(DATA + b".").hexdigest() in failed


def test_changed_timestamp_fails(visit: Visit, token: bytes) -> None:
    """The last byte is one of the signature's; the digest of the content is checked apart from the signature."""
    facts = visit.check(DATA, token[:-1] + bytes([token[-1] ^ 1]))
    assert "Failed: Signature" in facts["checks"]
    assert "Passed: Signed content" in facts["checks"]
    at = token.index(hashlib.sha256(DATA).digest())
    other = DATA + b"!"
    facts = visit.check(other, token[:at] + hashlib.sha256(other).digest() + token[at + 32 :])
    assert "Passed: File" in facts["checks"]
    assert "Failed: Signed content" in facts["checks"]


def test_another_authoritys_timestamp_fails_at_the_root(visit: Visit, tmp_path: Path) -> None:
    facts = visit.check(DATA, issue_token(FakeSigner(), tmp_path, data=DATA).response)
    assert [line.split(" ")[1] for line in facts["checks"].splitlines() if line.startswith("Failed")] == ["Root"]


def test_what_is_no_timestamp_is_said(visit: Visit) -> None:
    for reply in (b"", b"%PDF-1.7", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80", bytes(1_100_000)):
        assert visit.refuse(DATA, reply) == "report.tsr is not a timestamp."


def test_refusal_is_told_in_its_own_words(visit: Visit, server: ServerProcess) -> None:
    said = visit.refuse(DATA, server.stamp(encode_request(policy="1.2.3.4")).body)
    assert said.startswith("This reply holds no timestamp: the authority refused. ")
    assert "(unacceptedPolicy)" in said


def test_server_that_is_down_is_said_and_tried_again(visit: Visit) -> None:
    visit.context.set_offline(True)
    visit.choose("stamp-file", b"offline")
    visit.page.wait_for_selector("#stamp-status.error")
    assert visit.page.inner_text("#stamp-status").startswith("The authority cannot be reached.")
    visit.context.set_offline(False)
    visit.page.get_by_text("Try again").click()
    assert visit.facts("stamp")["SHA-256"] == hashlib.sha256(b"offline").hexdigest()
    assert not visit.page.is_visible("#stamp-retry")
    visit.complaints.clear()  # the browser has said that it was offline


def test_without_a_script_the_state_and_the_commands_are_there(browser: Browser, server: ServerProcess) -> None:
    page = Visit(browser, server.url, java_script_enabled=False)
    text = page.page.inner_text("body")
    assert "Issuing timestamps" in text
    assert "Root, SHA-256" in text
    assert "timestamp-cli verify --artifact FILE" in text
    assert not page.page.is_visible("#panels")
    page.context.close()


def test_without_https_files_are_stamped_and_what_cannot_be_checked_is_said(
    browser: Browser, server: ServerProcess
) -> None:
    page = Visit(browser, f"http://{ELSEWHERE}:{server.port}")
    facts = page.stamp()
    assert facts["SHA-256"] == hashlib.sha256(DATA).hexdigest()
    assert page.page.inner_text("#stamp-result summary") == "4 checks passed, 2 could not be made"
    assert "browsers check signatures on pages with HTTPS only" in page.page.inner_html("#stamp-result")
    assert page.complaints == []
    page.context.close()


def test_everything_is_readable_and_nothing_overflows(visit: Visit, token: bytes) -> None:
    visit.stamp(DATA, A_LONG_NAME)
    visit.check(DATA + b".", token)
    visit.page.click("summary")
    themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for theme, width in itertools.product(themes, (320, 390, 1280)):
        visit.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        visit.page.set_viewport_size({"width": width, "height": 800})
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.page.evaluate(CONTRAST) == []
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(16, 18, 22)") == (theme == "dark")


def test_page_is_accessible(visit: Visit) -> None:
    visit.stamp()
    assert visit.page.evaluate(FAULTS) == []


def test_keyboard_reaches_everything_and_the_focus_is_seen(visit: Visit) -> None:
    visit.page.reload()
    visit.page.wait_for_selector("#stamp-profiles:not([hidden])")
    seen = []
    for _ in range(12):
        visit.page.keyboard.press("Tab")
        seen.append(
            visit.page.evaluate(
                """() => {
                  const focused = document.activeElement;
                  const marked = focused.type === "file" ? focused.nextElementSibling : focused;
                  const { outlineStyle, outlineWidth } = getComputedStyle(marked);
                  return [focused.id || focused.textContent, outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
                }"""
            )
        )
    assert [name for name, marked in seen if not marked] == []
    names = [name for name, _ in seen]
    assert names[:5] == ["Skip to the page", "stamp-profile", "stamp-file", "check-file", "check-token"]


def test_hash_in_parts_is_the_hash_of_the_whole(visit: Visit) -> None:
    page = visit.page
    folder = page.get_attribute("script", "src")
    assert folder is not None
    lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 1000]
    found = page.evaluate(
        """async ([folder, lengths]) => {
          const { Sha256, sha256OfFile } = await import(`${folder}/sha256.js`);
          const { hex } = await import(`${folder}/der.js`);
          const { hashFile } = await import(`${folder}/checks.js`);
          const bytes = new Uint8Array(9 * 1024 * 1024);
          for (let index = 0; index < bytes.length; index++) bytes[index] = index % 251;
          const parts = [];
          const of = (length, step) => {
            const hash = new Sha256();
            for (let at = 0; at < length; at += step) hash.update(bytes.subarray(at, Math.min(length, at + step)));
            return hex(hash.digest());
          };
          return {
            small: lengths.map((length) => [of(length, 1), of(length, 7), of(length, 64), of(length, length || 1)]),
            file: hex(await sha256OfFile(new File([bytes], "f"), (part) => parts.push(part), 0)),
            whole: hex(await sha256OfFile(new File([bytes], "f"))),
            parts,
            sha384: hex(await hashFile(new File([bytes.subarray(0, 1000)], "f"), "2.16.840.1.101.3.4.2.2")),
            sha512: hex(await hashFile(new File([bytes.subarray(0, 1000)], "f"), "2.16.840.1.101.3.4.2.3")),
          };
        }""",
        [f"{page.url}{folder.rpartition('/')[0].removeprefix('./')}", lengths],
    )
    data = bytes(index % 251 for index in range(1000))
    for length, hashes in zip(lengths, found["small"], strict=True):
        assert set(hashes) == {hashlib.sha256(data[:length]).hexdigest()}
    whole = (bytes(range(251)) * (9 * 1024 * 1024 // 251 + 1))[: 9 * 1024 * 1024]
    assert found["file"] == found["whole"] == hashlib.sha256(whole).hexdigest()
    assert len(found["parts"]) == 3
    assert found["parts"][-1] == 1
    assert found["sha384"] == hashlib.sha384(data).hexdigest()
    assert found["sha512"] == hashlib.sha512(data).hexdigest()
