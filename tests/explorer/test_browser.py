"""The pages in a real browser: keyboard, mouse, clipboard, two browsers at once, and no request to any other host.

Needs the extra `browser` and a chromium (tools/install_browser.sh); skipped with the reason without them.
"""

from __future__ import annotations

import csv
import shlex
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from gencore.explorer.server import create_app
from gencore.explorer.serving import listening
from gencore.explorer.views.runs import SECONDS
from tests.explorer.conftest import Explorer

playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the extra browser: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium: run tools/install_browser.sh", allow_module_level=True)

FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
WAIT = 60_000

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("explorer")]


class Watched:
    """A page of its own browser context, what it asked for, and what it complained of."""

    def __init__(self, context: Any, address: str) -> None:
        self.page, self.address = context.new_page(), address
        self.page.set_default_timeout(WAIT)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> Any:
        """The page at a path, once it shows its picture or waits for a form."""
        self.page.goto(self.address + path)
        return self.page

    def until(self, function: str, argument: Any = None) -> None:
        """Ask again and again. Playwright's wait_for_function evaluates text in the page, which forbids it."""
        end = time.monotonic() + WAIT / 1000
        while not self.page.evaluate(function, argument):
            assert time.monotonic() < end, function
            self.page.wait_for_timeout(50)

    def picture(self) -> str:
        """The address of the picture shown, once it is loaded."""
        image = self.page.locator("#result img").first
        image.wait_for()
        self.until("() => document.querySelector('#result img')?.naturalWidth > 8")
        return str(image.get_attribute("src"))

    def changed(self, before: str) -> str:
        """The address of the picture that comes after another one."""
        self.until(
            "before => { const image = document.querySelector('#result img');"
            " return image && image.getAttribute('src') !== before && image.naturalWidth > 8; }",
            before,
        )
        return self.picture()


@pytest.fixture(scope="module")
def address(explorer: Explorer) -> Iterator[str]:
    with listening("127.0.0.1", 0) as door:
        config = uvicorn.Config(create_app(list(explorer.words.values())), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium: Any, address: str) -> Iterator[Watched]:
    """A page that must ask nobody else, and must not complain."""
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    made = Watched(context, address)
    yield made
    context.close()
    assert {urlsplit(url).netloc for url in made.asked if not url.startswith("blob:")} == {urlsplit(address).netloc}
    assert made.complaints == []


def test_controls_change_the_picture_and_the_keyboard_reaches_them(watched: Watched, explorer: Explorer) -> None:
    page = watched.open(explorer.address("biggan", "sample"))
    first = watched.picture()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "field-seed":
            break
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    second = watched.changed(first)
    assert page.locator("code").first.text_content().split("--seed ")[1].startswith("1 ")
    page.locator("#field-truncation").press("ArrowLeft")
    third = watched.changed(second)
    assert page.locator("output").text_content() == "0.95"
    page.select_option("#field-label", "3")
    watched.changed(third)


def test_every_control_has_a_label_and_every_picture_words(watched: Watched, explorer: Explorer) -> None:
    for system, view in (("biggan", "sample"), ("vae", "map"), ("vae", "edit"), ("dcgan", "walk"), ("run", "curves")):
        page = watched.open(explorer.address(system, view))
        if view != "edit":
            watched.picture()
        bare = "[...document.querySelectorAll('input:not([type=hidden]), select')].filter(e => !e.labels.length).length"
        assert page.evaluate(bare) == 0, view
        assert page.evaluate("[...document.images].filter(e => !e.alt).length") == 0, view
        assert page.locator("h1").count() == 1
        assert page.title().endswith("gencore explore")


def test_copy_as_command(watched: Watched, explorer: Explorer) -> None:
    page = watched.open(explorer.address("dcgan", "walk"))
    watched.picture()
    page.get_by_role("button", name="Copy as command").click()
    page.get_by_role("button", name="Copied").wait_for()
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert words[:3] == ["gencore", "walk", "dcgan-mnist"]
    assert words == shlex.split(page.locator("code").first.text_content())


def test_a_lasso_labels_places(watched: Watched, explorer: Explorer, tmp_path: Path) -> None:
    page = watched.open(explorer.address("vae", "map"))
    watched.picture()
    box = page.locator("[data-pick]").bounding_box()
    corners = [(0.02, 0.02), (0.5, 0.02), (0.5, 0.98), (0.02, 0.98)]
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.fill("#pick-word", "left")
    page.locator("[data-pick]").scroll_into_view_if_needed()
    page.mouse.move(*points[0])
    page.mouse.down()
    for x, y in points[1:]:
        page.mouse.move(x, y, steps=5)
    page.mouse.up()
    page.locator("#picked img").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save labels.csv").click()
    download.value.save_as(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    count = int(page.locator("#picked h2").text_content().split()[0])
    assert len(rows) == count > 0
    page.fill("#pick-left", "51")
    page.fill("#pick-right", "100")
    page.fill("#pick-bottom", "100")
    page.fill("#pick-word", "right")
    page.locator("#pick").get_by_role("button", name="Select").press("Enter")
    page.get_by_text("left, right").wait_for()


def test_a_picture_is_dropped_and_a_hostile_file_is_refused(
    watched: Watched, explorer: Explorer, digit: Path, tmp_path: Path
) -> None:
    page = watched.open(explorer.address("vae", "edit"))
    page.set_input_files("#field-picture", digit)
    page.fill("#field-steps", "2")
    page.fill("#field-along", "1")
    page.get_by_role("button", name="Make it").click()
    watched.picture()
    (tmp_path / "evil.png").write_bytes(b"<script>alert(1)</script>")
    page.set_input_files("#field-picture", tmp_path / "evil.png")
    page.get_by_role("button", name="Make it").press("Enter")
    page.get_by_role("alert").wait_for()
    assert "evil.png cannot be read as an image" in page.get_by_role("alert").text_content()
    watched.complaints = [text for text in watched.complaints if "422" not in text]


def test_two_browsers_at_once(watched: Watched, chromium: Any, address: str, explorer: Explorer) -> None:
    other = Watched(chromium.new_context(), address)
    pages = [one.open(explorer.address("dcgan", "sample")) for one in (watched, other)]
    same = watched.picture()
    assert other.picture() == same
    for page, seed in zip(pages, ("5", "6"), strict=True):
        page.fill("#field-seed", seed)
        page.locator("#field-seed").press("Enter")
    seen = {watched.changed(same), other.changed(same)}
    assert len(seen) == 2
    assert "--seed 5 " in pages[0].locator("code").first.text_content()
    assert "--seed 6 " in pages[1].locator("code").first.text_content()
    other.page.context.close()


def test_a_run_is_looked_at_again_by_itself(watched: Watched, explorer: Explorer) -> None:
    """Also where an answer takes longer than the seconds between two looks."""

    def slow(route: Any) -> None:
        time.sleep(SECONDS + 1)
        route.continue_()

    watched.page.route("**/curves/result", slow)
    page = watched.open(explorer.address("run", "curves"))
    watched.picture()
    with page.expect_response(lambda answer: answer.url.endswith("/curves/result"), timeout=WAIT) as answer:
        pass
    assert answer.value.ok
