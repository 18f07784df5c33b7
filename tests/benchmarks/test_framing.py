import cv2
import numpy as np
import pytest

from benchmarks import framing
from fer_tf.realtime.crop import crop_face
from fer_tf.realtime.detect import Detections, FaceDetector

FACE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8), (0, 0), 3)


@pytest.mark.parametrize("angle", [0, 30, -45])
def test_a_face_is_set_where_it_is_said_to_be(angle):
    frame = np.zeros((framing.HEIGHT, framing.WIDTH, 3), np.uint8)
    face = framing.Face(200, 150, 144, angle)
    framing.paste(frame, FACE, face)
    crop = crop_face(frame, face.box, face.landmarks)
    np.testing.assert_allclose(crop[2:-2, 2:-2], FACE[2:-2, 2:-2], atol=4)
    assert frame.any(axis=2).mean() == pytest.approx(144**2 / frame[..., 0].size, rel=0.02)
    clockwise = cv2.rotate(FACE, cv2.ROTATE_90_CLOCKWISE)
    framing.paste(frame, FACE, face._replace(angle=90))
    np.testing.assert_allclose(crop_face(frame, face.box)[2:-2, 2:-2], clockwise[2:-2, 2:-2], atol=4)


def test_what_is_found_and_what_is_false_is_told_apart():
    pytest.importorskip("skimage")

    def detector(frame):
        """Finds the face that is about the middle of the left half, and one in the corner, where there is none."""
        return Detections(np.array([[60, 60, 200, 200], [0, 0, 20, 20]]), np.ones(2), np.zeros((2, 5, 2)))

    false = []
    hits = list(framing.search(np.stack([FACE] * 5), detector, (200, 220), 0, 0, false))  # in frames of 2, 2 and 1
    found = [hit for hit in hits if hit]
    assert len(hits) == 5
    assert 2 <= len(found) <= 3
    assert len(false) == 6 - len(found)
    for hit in found:
        assert hit.face.x < framing.WIDTH / 2
        assert hit.box == (60, 60, 200, 200)


def test_a_box_elsewhere_or_of_another_size_is_no_hit():
    face = framing.Face(100, 100, 80, 0)
    assert framing.fits(np.array([60, 60, 80, 80]), face)
    assert framing.fits(np.array([70, 60, 60, 80]), face)
    assert not framing.fits(np.array([85, 60, 80, 80]), face)
    assert not framing.fits(np.array([85, 85, 30, 30]), face)
    assert not framing.fits(np.array([30, 30, 140, 140]), face)


def test_the_tables_hold_each_rule_and_angle(fer2013_path, capsys, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(framing, "SIDES", ((64, 96),))
    monkeypatch.setattr(framing, "ANGLES", (0, 30))
    monkeypatch.setattr(framing, "FaceDetector", lambda **_: FaceDetector(smallest_face=0, confidence=0.3))
    assert framing.main(["--data", str(fer2013_path), "--images", "12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| turned | 0° | +30° |" in lines
    assert [line.split(" |")[0] for line in lines if line.startswith("| level above")] == [
        *("| level above 10°", "| level above 5°", "| level above 15°", "| level above 10°"),
    ]
    assert sum(line.startswith("| side ×") for line in lines) == len(framing.FRAMINGS) - 1
