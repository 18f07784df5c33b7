"""The page in a real browser: Debian's Chromium, or Playwright's own, driven by Playwright."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fer_tf.realtime.web import server, site

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def served(files) -> Iterator[str]:
    """Serves a table of files; yields the address."""
    with server.open_server(files) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield server.address_of(running)
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the page is served as `python -m realtime.web` does it."""
    with served(site.files(site.DEFAULT_MODEL)) as at:
        yield at


@pytest.fixture(scope="module")  # while it is open, an event loop runs in this thread, which other tests may mind
def launch():
    """A function that starts a browser with arguments of its own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    with sync_api.sync_playwright() as playwright:
        if program is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("needs a browser: install chromium")

        def start(*arguments: str):
            # A container's root has no sandbox of its own. The page is ours.
            options = ["--no-sandbox", "--disable-dev-shm-usage", *arguments]
            return playwright.chromium.launch(executable_path=program, args=options)

        yield start


@pytest.fixture(scope="module")
def browser(launch):
    running = launch("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    yield running
    running.close()


@pytest.fixture(scope="module")
def modules(browser, address):
    """A page whose scripts can import ours: `modules(script, argument)` returns what the script does."""
    page = browser.new_page()
    page.goto(f"{address}core/classes.mjs")
    yield page.evaluate
    page.close()
