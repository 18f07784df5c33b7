"""A browser at the address of the page, for the commands here that look at it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_tf.errors import UserError
from fer_tf.realtime.web.server import address_of, open_server
from fer_tf.realtime.web.site import DEFAULT_MODEL, files

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Names of browsers; without one of them, Playwright's own is used."""


@contextmanager
def open_browser(camera: Path | None = None) -> Iterator[tuple[Any, str]]:
    """Serves the page, and yields a browser of Playwright and the page's address.

    Args:
        camera: A video, .mjpeg, that the browser takes for its camera; None is a test pattern.

    Raises:
        UserError: if there is no browser.
    """
    from playwright.sync_api import Error, sync_playwright

    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    options = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    options += [f"--use-file-for-fake-video-capture={camera}"] * bool(camera)
    with open_server(files(DEFAULT_MODEL)) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            browser = playwright.chromium.launch(executable_path=program, args=options)
        except Error as error:
            server.shutdown()
            reason = str(error).partition("\n")[0]
            raise UserError(f"no browser can be started ({reason}); install chromium") from None
        yield browser, address_of(server)
        browser.close()
        server.shutdown()
