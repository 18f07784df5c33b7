"""What tests of the page ask it for, and give it."""

import base64
import csv
import io
import re

import cv2
import numpy as np

from fer_tf import fer2013

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


def frames_kept(page) -> int:
    return int(re.match(r"[\d,]+", page.text_content("#kept"))[0].replace(",", ""))


def give(page, event, field, files):
    """Drops or pastes pictures, pairs of name and content."""
    script = """([event, field, files]) => {
        const given = new DataTransfer();
        for (const [name, text] of files) {
            const content = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            given.items.add(new File([content], name, { type: 'image/png' }));
        }
        document.dispatchEvent(Object.assign(new Event(event), { [field]: given }));
    }"""
    page.evaluate(script, [event, field, [(name, base64.b64encode(content).decode()) for name, content in files]])


def violations(page) -> list[str]:
    """Returns what axe finds wrong."""
    from axe_playwright_python.sync_playwright import Axe

    return [f"{found['id']}: {found['nodes'][0]['html']}" for found in Axe().run(page).response["violations"]]


def memory(page) -> float:
    """Returns the page's heap after a collection, in megabytes."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    devtools.send("Performance.enable")
    metrics = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    devtools.detach()
    return metrics["JSHeapUsedSize"] / 1e6


def ambiguous_faces(data, recognizer, count):
    """Images of PublicTest of which the model is least sure, uint8 [count, 48, 48]."""
    images = fer2013.load(data).public.images[:1000]
    return images[np.argsort(recognizer(images).max(axis=1), kind="stable")[:count]]


def frames_of(faces, *, angle=0.0):
    """Sets faces into gray frames of 640 × 480 pixels, twelve in each, and turns them: uint8 [H, W, 3]."""
    random = np.random.default_rng(4)
    for start in range(0, len(faces), 12):
        frame = np.full((480, 640, 3), 127, np.uint8)
        for number, face in enumerate(faces[start : start + 12]):
            side = int(random.integers(80, 131))
            turn = cv2.getRotationMatrix2D((23.5, 23.5), random.uniform(-angle, angle), side / 48)
            row, column = divmod(number, 4)
            turn[:, 2] += 160 * column + 80 - 23.5, 160 * row + 80 - 23.5
            inside = cv2.warpAffine(np.full_like(face, 255), turn, (640, 480), flags=cv2.INTER_LINEAR) == 255
            turned = cv2.warpAffine(face, turn, (640, 480), flags=cv2.INTER_CUBIC)
            frame[inside] = turned[inside][:, None]
        yield frame
