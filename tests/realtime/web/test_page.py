"""The page in a browser, as people use it."""

import base64
import csv
import io
import json
import re
import time

import cv2
import numpy as np
import pytest

from fer_tf.photograph import read_photograph
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.demo import demo_clip
from fer_tf.realtime.record import VideoSink
from fer_tf.realtime.tables import COLUMNS
from fer_tf.realtime.web import site
from fer_tf.realtime.web.export import write_site

pytest.importorskip("skimage")  # of the photograph
pytest.importorskip("axe_playwright_python")

SECONDS_OF_FRAMES = 60
START = 60_000
"""Milliseconds within which the page must be ready, on a machine that has much else to do."""


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    return list(demo_clip()[0])


@pytest.fixture(scope="module")
def browser(launch, clip, tmp_path_factory):
    """A browser whose camera plays the demo clip."""
    path = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in clip[:60] + clip[-60:]))
    fake = "--use-fake-device-for-media-stream"
    running = launch("--use-fake-ui-for-media-stream", fake, f"--use-file-for-fake-video-capture={path}")
    yield running
    running.close()


@pytest.fixture(scope="module")
def open_page(browser, address):
    """A function that opens the page in a context of its own, waits until it is ready, and checks whom it asks."""
    contexts, asked = [], []

    def start(at=address, *, using=browser, cores=2, **options):
        context = using.new_context(viewport={"width": 1280, "height": 800}, **options)
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


@pytest.fixture(scope="module")
def camera(open_page):
    """A page whose camera runs while the other tests do; with it, its memory at first and when that was measured."""
    page = open_page()
    page.click("#camera")
    page.wait_for_selector("#faces li")
    return page, memory(page), time.monotonic()


def test_the_camera_is_analyzed(camera):
    page, _, _ = camera
    assert says(page, "camera") == "The camera runs."
    assert re.fullmatch(r"(Face \d+: (\w+ \d+%|uncertain))", page.text_content("#faces h3"))
    levels = "crop => new Set(crop.getContext('2d').getImageData(0, 0, 48, 48).data).size"
    assert page.eval_on_selector("#faces .crop", levels) > 50
    assert page.input_value("#cameras")
    rows = table(page)
    assert tuple(rows[0]) == COLUMNS
    assert {row["source"] for row in rows} == {"camera 0"}
    assert {row["model"] for row in rows} == {site.DEFAULT_MODEL.stem}
    assert {row["expression"] for row in rows} == {"happy"}
    times = [float(row["time_s"]) for row in rows]
    assert times == sorted(times)
    assert times[0] == 0


def test_pause_mirror_and_the_saved_picture(camera):
    page, _, _ = camera
    page.click("#pause")
    page.wait_for_timeout(500)

    def snapshot():
        with page.expect_download() as download:
            page.click("#snapshot")
        return cv2.imread(str(download.value.path()))

    picture = snapshot()
    assert picture.shape == (480, 640, 3)
    np.testing.assert_array_equal(picture, snapshot())
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    page.click("#pause")
    assert page.get_attribute("#pause", "aria-pressed") == "false"


def test_what_is_expected_and_who_is_at_rest(camera):
    page, _, _ = camera
    page.click("summary >> text=Settings")
    page.fill("#expect", "content=.5")
    page.press("#expect", "Enter")
    says(page, "content is no expression.")
    page.fill("#expect", "even")
    page.press("#expect", "Enter")
    page.locator("#status.error").wait_for(state="hidden")
    photograph = cv2.imencode(".png", read_photograph())[1].tobytes()
    nobody = cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
    for content, sentence in (
        (nobody, "A picture shows no faces."),
        (photograph, "All faces are taken for this person"),
    ):
        page.set_input_files("#portraits", {"name": "a.png", "mimeType": "image/png", "buffer": content})
        says(page, sentence)
    page.locator("#faces h3", has_text="(rest taken)").first.wait_for()
    page.set_input_files("#portraits", [])
    says(page, "No face is taken")
    page.click("#rest")
    resting = re.compile(r"\((taking rest|rest taken)\)")  # the former for a second only
    page.locator("#faces h3", has_text=resting).first.wait_for()
    page.fill("#expect", "everyday")
    page.press("#expect", "Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_the_way_of_anybody(camera, scheme):
    page, _, _ = camera
    page.emulate_media(color_scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
    assert violations(page) == []


def test_a_phone_shows_it_all_without_scrolling_sideways(open_page):
    page = open_page(cores=3, device_scale_factor=2, is_mobile=True, has_touch=True, color_scheme="dark")
    assert [worker.url for worker in page.workers if "threaded" in worker.url]  # a second thread
    page.set_viewport_size({"width": 360, "height": 740})
    page.tap("#camera")
    page.wait_for_selector("#faces li")
    page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
    page.tap("#stop")
    assert says(page, "Stopped") == "Stopped."


def test_it_is_used_by_the_keyboard_alone(open_page):
    page = open_page()

    def tab_to(name):
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        pytest.fail(f"no way to {name}")

    tab_to("camera")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("#faces li")
    tab_to("pause")
    page.keyboard.press("Space")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    tab_to("stop")
    page.keyboard.press("Enter")
    says(page, "Stopped")
    tab_to("csv")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_files_that_cannot_be_used_are_named_and_the_others_are_analyzed(open_page, make_model_file, tmp_path):
    page = open_page()
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


def test_a_video_is_analyzed_by_its_own_time(open_page, clip, tmp_path):
    path = tmp_path / "clip.mp4"
    sink = VideoSink(path, fps=25)
    for number, image in enumerate(clip[-25:]):
        sink.write(image, Frame(image, index=number, time_s=number / 25))
    sink.close()
    page = open_page()
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


def test_an_exported_page_is_isolated_and_works_offline(open_page, plain_host, tmp_path):
    write_site(site.files(site.DEFAULT_MODEL), tmp_path)
    with plain_host(tmp_path) as at:
        blocked = open_page(at, service_workers="block")
        assert says(blocked, "Ready") == "Ready. The host does not isolate this page, so it runs on one thread, slowly."
        page = open_page(at)
        page.wait_for_function("() => navigator.serviceWorker.controller !== null")
        page.wait_for_selector("#camera:enabled", timeout=START)
        assert says(page, "Ready") == "Ready."  # no word of a single thread
        assert page.evaluate("crossOriginIsolated")
    page.reload()  # the host is gone
    page.wait_for_selector("#camera:enabled", timeout=START)
    page.click("#camera")
    page.wait_for_selector("#faces li")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "There is no camera. Connect one, or open files."),
        (
            ["--use-fake-device-for-media-stream", "--deny-permission-prompts"],
            "The camera was not allowed. Allow it beside the address bar, or open files.",
        ),
    ],
)
def test_without_a_camera_there_is_a_sentence(launch, open_page, arguments, message):
    running = launch(*arguments)
    page = open_page(using=running)
    page.click("#camera")
    assert says(page, "files") == message
    running.close()


def test_what_cannot_be_loaded_is_named(browser, address):
    page = browser.new_page()
    page.route("**/model.onnx", lambda route: route.fulfill(status=404))
    page.goto(address)
    assert says(page, "model.onnx") == "model.onnx could not be loaded (status 404)."
    assert page.is_disabled("#camera")
    page.close()


def test_a_minute_of_frames_takes_no_more_memory(camera):
    page, before, since = camera
    page.wait_for_timeout(max(0.0, since + SECONDS_OF_FRAMES - time.monotonic()) * 1000)
    frames = int(re.match(r"[\d,]+", page.text_content("#kept"))[0].replace(",", ""))
    rows_mb = 4000e-6 * frames  # what the table keeps, which is meant to grow
    assert memory(page) - before < 8 + rows_mb
    assert json.loads(page.evaluate("JSON.stringify(document.querySelectorAll('*').length)")) < 600
