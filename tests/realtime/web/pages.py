"""What tests of the page ask it for."""

import csv
import io

START = 60_000
"""Milliseconds within which the page must be ready, on a machine that has much else to do."""


def says(page, text, timeout=30_000):
    """Waits until the page's status has a text, and returns all of it."""
    status = page.locator("#status", has_text=text)
    status.wait_for(timeout=timeout)
    return status.text_content()


def table(page) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.click("#csv")
    assert download.value.suggested_filename == "faces.csv"
    return list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
