"""The page reduces frames, cuts faces out and follows them as Python does."""

import base64

import cv2
import numpy as np
import pytest

from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections
from fer_tf.realtime.track import Tracker

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
