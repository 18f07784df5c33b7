"""The page in a browser, as people use it."""

import json
import re

import cv2
import numpy as np
import pytest

from fer_tf.photograph import read_photograph
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.record import VideoSink
from fer_tf.realtime.tables import COLUMNS
from fer_tf.realtime.web import site
from fer_tf.realtime.web.export import write_site
from fer_tf.recognizer import Recognizer

from .pages import START, ambiguous_faces, frames_kept, frames_of, give, memory, says, table, violations

pytest.importorskip("skimage")  # of the photograph
pytest.importorskip("axe_playwright_python")

FRAMES_A_SECOND = 5
"""Of the camera. A quicker one would keep a processor busy while the other tests run."""

TOLERANCE = 0.005
"""Of probabilities: in 8 bits, a difference in the last digit may move an activation by a whole level."""


@pytest.fixture(scope="module")
def browser(launch, clip, tmp_path_factory):
    """A browser whose camera plays the demo clip, to whom is allowed to see it."""
    path = tmp_path_factory.mktemp("camera") / "clip.y4m"
    images = (cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA) for frame in clip[:60:2] + clip[-60::6])
    frames = (cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).tobytes() for image in images)
    path.write_bytes(b"FRAME\n".join([b"YUV4MPEG2 W320 H240 F%d:1 C420\n" % FRAMES_A_SECOND, *frames]))
    fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={path}")
    running = launch("--deny-permission-prompts", *fake)
    yield running
    running.close()


@pytest.fixture(scope="module")
def camera(open_page):
    """A page whose camera runs."""
    page = open_page()
    page.click("#camera")
    page.wait_for_selector("#faces li")
    yield page
    page.close()


@pytest.fixture(scope="module")
def minute(camera):
    """The memory and the frames of that page when its minute began; other tests run meanwhile."""
    return memory(camera), frames_kept(camera)


@pytest.fixture(scope="module")
def other_page(open_page):
    """A page with a camera that does not run."""
    return open_page()


@pytest.fixture
def page(other_page):
    """A page with nothing in its table."""
    if other_page.is_enabled("#clear"):
        other_page.click("#clear")
    return other_page


def test_the_camera_is_analyzed(camera):
    page = camera
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
    page = camera
    page.click("#pause")
    page.wait_for_timeout(500)

    def snapshot():
        with page.expect_download() as download:
            page.click("#snapshot")
        return cv2.imread(str(download.value.path()))

    picture = snapshot()
    assert picture.shape == (240, 320, 3)
    np.testing.assert_array_equal(picture, snapshot())
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    page.click("#pause")
    assert page.get_attribute("#pause", "aria-pressed") == "false"


def test_what_is_expected_and_who_is_at_rest(camera):
    page = camera
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
    page = camera
    page.emulate_media(color_scheme=scheme)
    page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
    assert violations(page) == []


@pytest.mark.usefixtures("minute")
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


def test_it_is_used_by_the_keyboard_alone(other_page):
    page = other_page

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


def test_pictures_give_what_predict_gives(browser, address, fer2013_path, tmp_path):
    recognizer = Recognizer(site.DEFAULT_MODEL)
    faces = ambiguous_faces(fer2013_path, recognizer, 360)
    pictures = {}
    for kind, images in (
        ("upright", frames_of(faces[::2])),
        ("turned", frames_of(faces[1::2], angle=35)),
    ):
        for number, image in enumerate(images):
            name = f"{kind}-{number}.png"
            cv2.imwrite(str(tmp_path / name), image)
            pictures[name] = image
    large = cv2.resize(next(iter(pictures.values())), (2600, 1950), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.png"), large)
    pictures["large.png"] = large

    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("#camera:enabled", timeout=60_000)
    page.set_input_files("#files", [str(tmp_path / name) for name in pictures])
    page.locator("#status", has_text=f"{[*pictures][-1]}: ").filter(has_text="face").wait_for(timeout=300_000)
    with page.expect_download() as download:
        page.click("#jsonl")
    lines = [json.loads(line) for line in download.value.path().read_text(encoding="utf-8").splitlines()]
    page.close()

    pipeline = Pipeline(recognizer=recognizer)
    assert [line["source"] for line in lines] == list(pictures)
    found = clear = 0
    for line in lines:
        expected = pipeline.still(pictures[line["source"]])
        assert [face["box"] for face in line["faces"]] == [list(face.box) for face in expected], line["source"]
        for ours, face in zip(line["faces"], expected, strict=True):
            (reading,) = ours["readings"]
            np.testing.assert_allclose(list(reading["raw"].values()), face.raw, atol=TOLERANCE)
            np.testing.assert_allclose(list(reading["probabilities"].values()), face.probabilities, atol=TOLERANCE)
            second, first = np.sort(face.probabilities)[-2:]
            if first - second > TOLERANCE:  # else rounding decides
                assert reading["expression"] == face.label
                clear += 1
            if abs(first - 0.4) > TOLERANCE:
                assert ours["certain"] == face.certain
            found += 1
    assert found >= 300
    assert clear > 0.95 * found


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


def test_a_camera_that_is_not_allowed_has_a_sentence(other_page):
    other_page.context.clear_permissions()
    other_page.click("#camera")
    assert (
        says(other_page, "not allowed") == "The camera was not allowed. Allow it beside the address bar, or open files."
    )
    other_page.context.grant_permissions(["camera"])


def test_what_cannot_be_loaded_is_named(browser, address):
    page = browser.new_page()
    page.route("**/model.onnx", lambda route: route.fulfill(status=404))
    page.goto(address)
    assert says(page, "model.onnx") == "model.onnx could not be loaded (status 404)."
    assert page.is_disabled("#camera")
    page.close()


def test_a_minute_of_frames_takes_no_more_memory(camera, minute):
    before, first = minute
    while (frames := frames_kept(camera) - first) < 60 * FRAMES_A_SECOND:
        camera.wait_for_timeout(200)
    rows_mb = 4000e-6 * frames  # what the table keeps, which is meant to grow
    assert memory(camera) - before < 1 + rows_mb
    assert json.loads(camera.evaluate("JSON.stringify(document.querySelectorAll('*').length)")) < 600
    camera.click("#stop")
