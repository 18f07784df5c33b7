"""Draws the page's two pictures, with a camera and with files: `python -m benchmarks.page_pictures -o DIR`."""

import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.browser import open_browser
from fer_tf.command import Parser, command
from fer_tf.files import check_writable, named_errors, written_aside
from fer_tf.realtime.demo import demo_clip

NAMES = ("page-live.webp", "page-pictures.webp")
_PICTURES = (70, 230)
"""Frames of the demo clip: two faces, and four."""
_QUALITY = 80
"""WebP's scale from 1 to 100."""
_SECONDS = 4
"""How long the camera is on before its picture is taken."""


@command
def main(argv: list[str] | None = None) -> int:
    """Writes both pictures."""
    parser = Parser("benchmarks.page_pictures", description=__doc__)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder of the pictures")
    folder = parser.parse_args(argv).output
    paths = [folder / name for name in NAMES]
    for path in paths:
        check_writable(path)
    clip = list(demo_clip()[0])
    with tempfile.TemporaryDirectory() as place:
        camera = Path(place, "clip.mjpeg")
        camera.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in clip[90:120]))
        with open_browser(camera) as (browser, address):
            for path, draw, scheme in zip(paths, (_live, _pictures), ("light", "dark"), strict=True):
                page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
                page.goto(address)
                page.wait_for_selector("#camera:enabled")
                draw(page, clip)
                pixels = np.frombuffer(page.screenshot(), np.uint8)
                image = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
                _, content = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
                with named_errors(path), written_aside(path) as temporary:
                    temporary.write_bytes(content.tobytes())
                page.close()
                print(f"{path}: {path.stat().st_size / 1e3:.0f} KB")
    return 0


def _live(page: Any, clip: list[np.ndarray]) -> None:
    """Turns the camera on, which shows two faces."""
    page.click("#camera")
    page.locator("#faces h3").nth(1).wait_for()
    page.wait_for_timeout(1000 * _SECONDS)


def _pictures(page: Any, clip: list[np.ndarray]) -> None:
    """Opens two pictures; the last one stays."""
    pictures = [
        {"name": f"{index}.png", "mimeType": "image/png", "buffer": cv2.imencode(".png", clip[index])[1].tobytes()}
        for index in _PICTURES
    ]
    page.set_input_files("#files", pictures)
    page.locator("#faces h3").nth(3).wait_for()


if __name__ == "__main__":
    raise SystemExit(main())
