import cv2
import numpy as np
import pytest

from benchmarks import changes
from fer_tf.realtime.capture import Frame
from fer_tf.realtime.face import Face, Reading

IMAGE = np.zeros((48, 64, 3), np.uint8)


def face(track, happy, sad, shown):
    row = np.full(7, (1 - happy - sad) / 5)
    row[[3, 5]] = happy, sad
    return Face((0, 0, 9, 9), track, IMAGE, (Reading("m", row, row, shown),))


def test_changes_are_counted_for_each_face_by_what_is_taken_for_its_label():
    table = changes.Changes(0.4)
    first = [(0.5, 0.3, "happy"), (0.3, 0.5, "happy"), (0.38, 0.3, "happy"), (0.1, 0.6, "sad"), (0.1, 0.6, "sad")]
    for index, values in enumerate(first):
        faces = [face(0, *values), face(1, 0.6, 0.1, "happy")] if index != 2 else [face(0, *values)]
        table.write("a", Frame(IMAGE, index, index / 2), faces)
    table.write("a", Frame(IMAGE, 9, 9.0), [face(0, 0.6, 0.1, "happy")])  # after too long a gap
    table.write("b", Frame(IMAGE, 0, 9.1), [face(0, 0.1, 0.6, "sad")])  # another source
    assert list(table.counts.values()) == [3, 3, 1]
    assert table.seconds == pytest.approx(2 + 2)


def test_the_demo_shows_one_expression_all_the_time(capsys, make_model_file, tmp_path):
    pytest.importorskip("skimage")
    model = str(make_model_file(tmp_path / "tiny.onnx"))
    assert changes.main(["demo", "--model", model, "--max-frames", "20", "--expect", "fer2013"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "20 frames, 0.8 s of faces"
    assert lines[-1] == "| as shown | 0 | 0.00 |"


def test_a_picture_has_no_changes(capsys, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    assert changes.main([str(tmp_path / "a.png")]) == 2
    assert "name a video" in capsys.readouterr().err
