"""A real browser for the tests of pages: Chromium, drawing without a graphics card."""

import os
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BY_SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WITHOUT_WEBGL = ("--disable-gpu", "--disable-3d-apis")


def find_browser() -> str:
    """Path of Chromium; the test is skipped where there is none, and fails where one has to be."""
    from playwright.sync_api import sync_playwright

    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if Path(own).exists():
        return own
    missing = "There is no Chromium: install your system's package, or run `playwright install chromium`."
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def launch():
    """Start Chromium with arguments of its own; nothing of it is left after the tests."""
    from playwright.sync_api import sync_playwright

    path = find_browser()
    with sync_playwright() as playwright:
        started = []

        def start(*arguments):
            chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *arguments])
            started.append(chromium)
            return chromium

        yield start
        for chromium in started:
            chromium.close()


@pytest.fixture(scope="session")
def chromium(launch):
    return launch(*BY_SOFTWARE)


class Watched:
    """A page of the browser, and what it did that a page of this package must not do."""

    def __init__(self, started, address, ready="body[data-ready]", **options):
        self.requests, self.errors = [], []
        self.page = started.new_page(**{"viewport": {"width": 1200, "height": 800}, **options})
        self.page.set_default_timeout(120_000)  # drawing without a graphics card is slow beside other work
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector(ready)

    def set(self, name, value):
        """Move a slider as a hand would."""
        self.page.locator(f"#{name}").evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", str(value)
        )

    def until(self, expression, seconds=60):
        """Wait for what is true of the page; the browser's own waiting needs what the page's policy forbids."""
        until(self.page, expression, seconds)


def until(page, expression, seconds=60):
    for _ in range(10 * seconds):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"after {seconds} s it is still not so: {expression}")
