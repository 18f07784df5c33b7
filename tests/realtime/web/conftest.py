"""The page in a real browser: Debian's Chromium, or Playwright's own, driven by Playwright."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.browser import PROGRAMS
from fer_tf.realtime.demo import demo_clip
from fer_tf.realtime.web import server, site

from .pages import START


@contextmanager
def served(files) -> Iterator[str]:
    """Serves a table of files; yields the address."""
    with server.open_server(files) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield server.address_of(running)
        running.shutdown()
        thread.join()


@pytest.fixture
def plain_host():
    """A function that serves a folder as a host does that sends no headers of its own, and yields the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    @contextmanager
    def serve(folder):
        handler = functools.partial(Handler, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
            running.daemon_threads = True
            threading.Thread(target=running.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{running.server_port}/"
            running.shutdown()

    return serve


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Where the page is served as `python -m realtime.web` does it."""
    with served(site.files(site.DEFAULT_MODEL)) as at:
        yield at


@pytest.fixture(scope="module")  # while it is open, an event loop runs in this thread, which other tests may mind
def launch():
    """A function that starts a browser with arguments of its own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
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
def open_page(browser, address):
    """A function that opens the page in a context of its own, waits until it is ready, and checks whom it asks."""
    contexts, asked = [], []

    def start(at=address, *, cores=2, **options):
        context = browser.new_context(viewport={"width": 1280, "height": 800}, permissions=["camera"], **options)
        context.add_init_script(
            f"Object.defineProperty(Navigator.prototype, 'hardwareConcurrency', {{ value: {cores} }})"
        )
        contexts.append(context)
        context.on("request", lambda request: asked.append((request.url, at)))
        page = context.new_page()
        page.on("pageerror", lambda error: pytest.fail(str(error)))
        page.goto(at)
        page.wait_for_selector("#camera:enabled", timeout=START)
        return page

    yield start
    for context in contexts:
        context.close()
    assert len(asked) > 30
    assert not [url for url, at in asked if not url.startswith((at, f"blob:{at}"))]


@pytest.fixture(scope="module")
def modules(browser, address):
    """A page whose scripts can import ours: `modules(script, argument)` returns what the script does."""
    page = browser.new_page()
    page.goto(f"{address}core/classes.mjs")
    yield page.evaluate
    page.close()


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    return list(demo_clip()[0])
