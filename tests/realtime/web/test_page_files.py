"""The page with pictures, videos and model files, on a machine without a camera."""

import base64
import re

import cv2
import numpy as np
import pytest

from fer_tf.photograph import read_photograph
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.record import VideoSink
from fer_tf.realtime.web import site

from .pages import says, table

pytest.importorskip("skimage")  # of the photograph


@pytest.fixture(scope="module")
def browser(launch):
    running = launch()
    yield running
    running.close()


@pytest.fixture(scope="module")
def any_page(open_page):
    return open_page()


@pytest.fixture
def page(any_page):
    """A page with nothing in its table."""
    if any_page.is_enabled("#clear"):
        any_page.click("#clear")
    return any_page


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


def test_without_a_camera_there_is_a_sentence(page):
    page.click("#camera")
    assert says(page, "There is no") == "There is no camera. Connect one, or open files."


def test_files_that_cannot_be_used_are_named_and_the_others_are_analyzed(page, make_model_file, tmp_path):
    photograph = cv2.imencode(".png", read_photograph())[1].tobytes()
    files = [
        ("broken.jpg", "image/jpeg", b"\xff\xd8nonsense"),
        ("broken.mp4", "video/mp4", b"nonsense"),
        ("broken.onnx", "", b"nonsense"),
        ("empty.png", "image/png", b""),
        ("notes.txt", "text/plain", b"nonsense"),
    ]
    expected = {
        "broken.jpg": "broken.jpg: is no picture that this browser can read; it may be damaged.",
        "broken.mp4": "broken.mp4: this browser cannot play it. Try MP4 (H.264) or WebM.",
        "broken.onnx": f"broken.onnx: This is no ONNX file, or it is damaged. {site.DEFAULT_MODEL.stem} stays in use.",
        "empty.png": "empty.png: is no picture that this browser can read; it may be damaged.",
        "notes.txt": "notes.txt: is no picture that this browser can read; it may be damaged.",
    }
    for name, kind, content in files:
        page.set_input_files("#files", {"name": name, "mimeType": kind, "buffer": content})
        assert says(page, expected[name]) == expected[name]
        assert "error" in page.get_attribute("#status", "class")
    assert page.is_disabled("#csv")
    give(page, "drop", "dataTransfer", [("=a.png", photograph), ("broken.jpg", b"nonsense"), ("b.png", photograph)])
    assert re.fullmatch(r"b\.png: 1 face, happy \d+%\.", says(page, "b.png: 1"))
    assert page.locator("#strip button").count() == 2
    page.click("#strip button >> nth=0")  # to look at it again adds no row
    says(page, "=a.png: 1")
    model = make_model_file(tmp_path / "tiny.onnx")
    page.set_input_files("#files", str(model))
    assert says(page, "is used") == "tiny.onnx is used now."
    assert page.text_content("#model") == "tiny-original"
    assert "no figures" in page.text_content("#accuracy")
    give(page, "paste", "clipboardData", [("c.png", photograph)])
    says(page, "c.png: 1")
    rows = table(page)
    assert [(row["source"], row["model"]) for row in rows] == [
        ("'=a.png", site.DEFAULT_MODEL.stem),
        ("b.png", site.DEFAULT_MODEL.stem),
        ("c.png", "tiny-original"),
    ]


def test_a_video_is_analyzed_by_its_own_time(page, clip, tmp_path):
    path = tmp_path / "clip.mp4"
    sink = VideoSink(path, fps=25)
    for number, image in enumerate(clip[-25:]):
        sink.write(image, Frame(image, index=number, time_s=number / 25))
    sink.close()
    page.set_input_files("#files", str(path))
    assert says(page, "analyzed.") == "clip.mp4: 10 frames analyzed."
    rows = table(page)
    assert {row["face"] for row in rows} == {"0", "1", "2", "3"}
    times = sorted({float(row["time_s"]) for row in rows})
    assert len(times) == 10
    np.testing.assert_allclose(times, np.arange(10) / 10, atol=0.021)  # the frame before, of twenty-five a second
    page.click("#clear")
    page.click("summary >> text=Settings")
    page.fill("#rate", "50")
    page.set_input_files("#files", str(path))
    says(page, "clip.mp4: 25 frames analyzed.", timeout=60_000)
    assert {row["frame"] for row in table(page)} == {str(number) for number in range(25)}
