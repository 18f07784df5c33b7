import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.face import Face, Reading
from fer_tf.realtime.pipeline import Pipeline


def test_a_reading_names_its_most_probable_expression():
    probabilities = np.array([0.1, 0, 0, 0.6, 0.3, 0, 0], np.float32)
    face = Face((0, 0, 1, 1), 0, np.zeros((48, 48), np.uint8), (Reading("m", probabilities, probabilities[::-1]),))
    assert face.label == "happy"
    assert face.confidence == pytest.approx(0.6)
    np.testing.assert_array_equal(face.raw, probabilities[::-1])


def test_what_is_no_mixture_is_refused(make_model_file, tmp_path):
    with pytest.raises(UserError, match="everyday, even, fer2013"):
        Pipeline(lambda _: [], make_model_file(tmp_path / "m.onnx"), expect="studio")
