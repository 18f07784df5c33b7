"""The page's arithmetic is Python's."""

import base64
import json

import cv2
import numpy as np
import pytest

from fer_tf import fer2013, weights
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.mixture import expected_shares, mixture_offset
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections
from fer_tf.realtime.answers import Answers
from fer_tf.realtime.face import Face, Reading
from fer_tf.realtime.pipeline import Pipeline
from fer_tf.realtime.tables import CsvSink, JsonlSink
from fer_tf.realtime.track import Track, Tracker
from fer_tf.realtime.web.site import DEFAULT_MODEL
from fer_tf.recognizer import Recognizer
from fer_tf.text import printable

TOLERANCE = 0.005
"""Of probabilities: in 8 bits, a difference in the last digit may move an activation by a whole level."""

BYTES = "const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));"


def pack(array):
    return base64.b64encode(np.ascontiguousarray(array)).decode()


def rgba(image):
    return {
        "data": pack(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)),
        "width": image.shape[1],
        "height": image.shape[0],
    }


def test_crops_have_the_same_gray_levels(modules):
    random = np.random.default_rng(0)
    turned = 0
    for number in range(12):
        height, width = random.integers(20, 400, 2)
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        if number % 2:
            image = cv2.GaussianBlur(image, (9, 9), 3)
        faces = []
        for _ in range(10):
            side = int(random.integers(1, 400))
            left, top = random.integers(-50, (width, height))
            landmarks = np.zeros((5, 2))
            landmarks[0] = left + side * 0.3, top + side * 0.4
            angle = np.radians(random.uniform(-60, 60))
            landmarks[1] = landmarks[0] + side * 0.4 * np.array([np.cos(angle), np.sin(angle)])
            turned += abs(angle) > np.radians(10)
            faces.append(((int(left), int(top), int(side * random.uniform(0.6, 1.2)), side), landmarks))
        script = f"""async ([image, faces]) => {{
            {BYTES}
            const {{ cropFace }} = await import('/core/crop.mjs');
            image.data = bytes(image.data);
            return faces.map(([box, landmarks]) => Array.from(cropFace(image, box, landmarks)));
        }}"""
        crops = modules(script, [rgba(image), [(box, landmarks.tolist()) for box, landmarks in faces]])
        for crop, (box, landmarks) in zip(crops, faces, strict=True):
            expected = crop_face(image, box, landmarks)
            np.testing.assert_array_equal(np.reshape(crop, (48, 48)), expected, err_msg=f"{image.shape} {box}")
    assert turned > 60


@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((640, 480), (640, 480)),
        ((1280, 720), (640, 360)),
        ((1920, 810), (640, 270)),
        ((1000, 700), (640, 448)),
        ((641, 480), (640, 479)),
        ((700, 100), (640, 91)),
        ((300, 2000), (96, 640)),
    ],
)
def test_frames_are_reduced_for_the_search_as_by_opencv(modules, size, to):
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    script = f"""async ([image, to]) => {{
        {BYTES}
        const {{ reduceToBgr }} = await import('/core/area.mjs');
        const pixels = reduceToBgr({{ ...image, data: bytes(image.data) }}, ...to);
        let text = '';
        for (let i = 0; i < pixels.length; i += 4096) text += String.fromCharCode(...pixels.subarray(i, i + 4096));
        return btoa(text);
    }}"""
    reduced = np.frombuffer(base64.b64decode(modules(script, [rgba(image), to])), np.uint8).reshape(to[1], to[0], 3)
    difference = np.abs(reduced.astype(int) - cv2.resize(image, to, interpolation=cv2.INTER_AREA))
    assert difference.max() <= 1  # OpenCV's rounding differs between processors
    assert difference.mean() < 0.01


def walk(random, frames):
    """Yields time, frame size and boxes of faces that move, come, go, meet and jump."""
    places = random.uniform(50, 500, (6, 2))
    time = 0.0
    for frame in range(frames):
        time += random.choice([0.04, 0.04, 0.2, 1.0, -0.5])
        places += random.normal(0, 25, places.shape)
        if frame % 17 == 0:
            places[random.integers(6)] = random.uniform(0, 600, 2)
        sides = random.uniform(20, 160, (6, 1)).round() if frame % 5 == 0 else np.full((6, 1), 90)
        boxes = np.hstack([places.round(), sides, sides])[random.random(6) < 0.8].astype(np.int32)
        yield time, (1280, 960) if frame > frames // 2 else (640, 480), boxes


def test_faces_keep_the_same_numbers_and_averages(modules):
    random = np.random.default_rng(2)
    frames = []
    for time, size, boxes in walk(random, 200):
        landmarks = (boxes[:, None, :2] + random.uniform(0, 90, (len(boxes), 5, 2))).astype(np.float32)
        rows = random.dirichlet(np.full(7, 0.4), len(boxes)).astype(np.float32)
        frames.append((time, size, boxes, landmarks, rows))
    answers = iter(Detections(boxes, None, landmarks) for _, _, boxes, landmarks, _ in frames)
    tracker = Tracker(lambda image: next(answers))
    script = """async (frames) => {
        const { Tracker, landmarksOf } = await import('/core/track.mjs');
        const tracker = new Tracker();
        return frames.map(([time, [width, height], boxes, landmarks, rows]) =>
            tracker.update({ boxes, landmarks }, time, { width, height }).map((track) => {
                const row = Float32Array.from(rows[track.id % Math.max(1, rows.length)] ?? []);
                const average = Array.from(track.past.smooth(row, track.seen, 0.3));
                return { id: track.id, box: track.box, landmarks: landmarksOf(track), average };
            }));
    }"""
    described = [
        [time, size, boxes.tolist(), landmarks.tolist(), rows.tolist()] for time, size, boxes, landmarks, rows in frames
    ]
    seen = set()
    for found, (time, size, _, _, rows) in zip(modules(script, described), frames, strict=True):
        tracks = tracker(np.zeros((size[1], size[0], 3), np.uint8), time)
        assert [track["id"] for track in found] == [track.id for track in tracks]
        for ours, track in zip(found, tracks, strict=True):
            assert ours["box"] == track.box.tolist()
            np.testing.assert_array_equal(ours["landmarks"], track.landmarks)
            average = track.smooth(rows[track.id % len(rows)], 0.3)
            np.testing.assert_allclose(ours["average"], average, atol=1e-7)
            seen.add(track.id)
    assert len(seen) > 30


@pytest.mark.parametrize(
    ("expect", "resting", "weight", "shares"),
    [
        ("everyday", None, 0.5, None),
        ("even", 1.0, 0.7, None),
        ("fer2013", None, 1.0, None),
        ("happy=.3, Anger=.5", "auto", 0.5, (0.3, 0, 0.1, 0.1, 0.3, 0.1, 0.1)),
        ("neutral=1", 3.0, 0.0, None),
    ],
)
def test_answers_are_corrected_and_shown_in_the_same_way(modules, expect, resting, weight, shares):
    random = np.random.default_rng(5)
    logits = np.cumsum(random.normal(0, 0.35, (400, 7)), axis=0)
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    times = np.cumsum(random.choice([0.04, 0.1], 400)).tolist()
    asked = {150, 290}
    script = """async ([rows, times, asked, expect, resting, restingWeight, shares]) => {
        const { Answers, Past } = await import('/core/answers.mjs');
        const { expectedShares, mixtureOffset } = await import('/core/mixture.mjs');
        const answers = new Answers({ smoothing: 0.3, minConfidence: 0.4, expect, resting, restingWeight });
        answers.offset = mixtureOffset(expectedShares(expect), shares ?? undefined);
        const past = new Past();
        return rows.map((row, i) => {
            if (asked.includes(i)) answers.askForRest();
            const track = { past, seen: times[i] };
            answers.hear([track]);
            const answer = answers.add(track, Float32Array.from(row), false);
            return { ...answer, probabilities: Array.from(answer.probabilities) };
        });
    }"""
    found = modules(script, [rows.tolist(), times, sorted(asked), expect, resting, weight, shares])
    offset = mixture_offset(expected_shares(expect), shares)[None]
    answers = Answers(offset, smoothing=0.3, min_confidence=0.4, resting=resting, resting_weight=weight)
    track = Track(0, np.zeros(4), 0.0)
    words = set()
    for index, (ours, row) in enumerate(zip(found, rows, strict=True)):
        track.seen_s = times[index]
        if index in asked:
            answers.ask_for_rest()
        answers.hear([track])
        probabilities, ((shown,),), (state,) = answers([track], row[None, None])
        np.testing.assert_allclose(ours["probabilities"], probabilities[0, 0], atol=1e-6)
        assert (ours["shown"], ours["resting"]) == (shown, state), index
        words.add(shown)
    assert len(words) > 3 or expect == "neutral=1"


@pytest.mark.parametrize(
    "text", ["", "nonsense", "happy", "happy=2", "happy=.5,joy=.1", "happy=.9,sad=.2", "content=.1", "happy=x", "happy=.1=.2"]
)
def test_mixtures_that_are_none_are_refused_as_by_python(modules, text):
    script = """async (text) => {
        const { expectedShares } = await import('/core/mixture.mjs');
        try { return expectedShares(text); } catch (error) { return error.message; }
    }"""
    assert isinstance(modules(script, text), str)
    with pytest.raises(UserError):
        expected_shares(text)


@pytest.mark.parametrize("text", [" Even ", "happy=.3,neutral=.5", "fear=0", ",".join(f"{name}=.14" for name in CLASSES)])
def test_mixtures_are_the_same_shares(modules, text):
    script = "async (text) => (await import('/core/mixture.mjs')).expectedShares(text)"
    np.testing.assert_allclose(modules(script, text), expected_shares(text), atol=1e-12)


NAMES = ["clip.mp4", "a,b.png", 'say "x".png', "=1+1.png", "'quoted.png", "-x", "über 表 😀.png", "line\\nbreak"]
PROBABILITIES = [
    (1 / 32, 3 / 32, 5 / 32, 7 / 32, 9 / 32, 7 / 32, 0),
    (0, 0, 0, 1, 0, 0, 0),
    (0.00004, 0.00005, 0.9, 0.0333333, 0.0333333, 0.0333333, 0),
    (1 / 7,) * 7,
]


def test_tables_are_the_same_to_the_letter(modules, tmp_path):
    random = np.random.default_rng(3)
    entries = []
    csv, jsonl = CsvSink(tmp_path / "faces.csv"), JsonlSink(tmp_path / "faces.jsonl")
    for number, name in enumerate(NAMES):
        for time in (0.0, 0.0005, 1 / 16, 1 / 3, 12.0625, 3600.04):
            frame = Frame(np.zeros((1, 1, 3), np.uint8), index=number, time_s=time)
            faces = []
            for track in range(number % 4):
                rows = np.array([PROBABILITIES[track], random.dirichlet(np.ones(7))], np.float32)
                reading = Reading("=model", *rows, shown=(*CLASSES, "uncertain")[number])
                faces.append(Face((-3, 0, 10 * track, 200), track, np.zeros((48, 48), np.uint8), (reading,)))
            csv.write(name, frame, faces)
            jsonl.write(name, frame, faces)
            described = [
                {
                    "track": face.track,
                    "box": face.box,
                    "label": face.label,
                    "confidence": face.confidence,
                    "shown": face.shown,
                    "certain": face.certain,
                    "probabilities": face.probabilities.tolist(),
                    "raw": face.raw.tolist(),
                }
                for face in faces
            ]
            entries.append({"source": name, "time": time, "frame": number, "model": "=model", "faces": described})
    csv.close()
    jsonl.close()
    script = """async (entries) => {
        const { toCsv, toJsonLines } = await import('/core/tables.mjs');
        return [toCsv(entries), toJsonLines(entries)];
    }"""
    for text, name in zip(modules(script, entries), ("faces.csv", "faces.jsonl"), strict=True):
        assert text.splitlines() == (tmp_path / name).read_text(encoding="utf-8").splitlines()


def test_names_are_printable_in_the_same_way(modules):
    names = ["a\nb", "\t\x00\x1b[31m", "\u202eevil", "\u2028", "\xa0", "\x7f\x85", "é 表 😀", "\U000e0001", "plain name.png"]
    script = "async (names) => names.map((await import('/core/tables.mjs')).printable)"
    assert modules(script, names) == [printable(name) for name in names]


def test_a_card_is_read_from_the_file(modules, address, make_model_file, tmp_path):
    script = f"""async (text) => {{
        {BYTES}
        const {{ readCard }} = await import('/core/card.mjs');
        try {{
            return readCard(text ? bytes(text) : new Uint8Array(await (await fetch('/model.onnx')).arrayBuffer()));
        }} catch (error) {{
            return error.message;
        }}
    }}"""
    assert modules(script, "") == json.loads(Recognizer(DEFAULT_MODEL).card.to_json())

    def read(content):
        return modules(script, base64.b64encode(content).decode())

    whole = make_model_file(tmp_path / "tiny.onnx").read_bytes()
    assert read(whole)["name"] == "tiny-original"
    assert read(b"nonsense") == read(whole[:-7]) == "This is no ONNX file, or it is damaged."
    assert read(weights.FACE_DETECTOR.read_bytes()) == "This is a face detector. Expected a model file."
    assert "no model card" in read(make_model_file(tmp_path / "bare.onnx", card=None).read_bytes())
    assert "not valid JSON" in read(make_model_file(tmp_path / "bad.onnx", card="{").read_bytes())
    newer = make_model_file(tmp_path / "newer.onnx", card_changes={"format_version": 2}).read_bytes()
    assert read(newer) == "This is a model file of format 2. The page reads format 1."
    partial = make_model_file(tmp_path / "part.onnx", card_changes={"license": ...}).read_bytes()
    assert "incomplete" in read(partial)


def ambiguous_faces(data, recognizer, count):
    """Images of PublicTest of which the model is least sure, uint8 [count, 48, 48]."""
    images = fer2013.load(data).public.images[:1500]
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


def test_pictures_give_what_predict_gives(browser, address, fer2013_path, tmp_path):
    recognizer = Recognizer(DEFAULT_MODEL)
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
    page.locator("#status", has_text=f"{[*pictures][-1]}: ").filter(has_text="face").wait_for(timeout=80_000)
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
            np.testing.assert_allclose(list(reading["probabilities"].values()), face.probabilities, atol=2 * TOLERANCE)
            second, first = np.sort(face.probabilities)[-2:]
            if first - second > 2 * TOLERANCE:  # else rounding decides
                assert reading["expression"] == face.label
                clear += 1
            if abs(first - 0.4) > 2 * TOLERANCE:
                assert ours["certain"] == face.certain
            found += 1
    assert found >= 300
    assert clear > 0.95 * found
