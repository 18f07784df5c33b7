import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.pictures import read_image, to_image
from fer_tf.realtime.pipeline import Pipeline

Image = pytest.importorskip("PIL.Image")

RED_GREEN_BLUE = np.zeros((16, 24, 3), np.uint8)  # RGB, as Pillow has it
RED_GREEN_BLUE[:, :8, 0] = RED_GREEN_BLUE[:, 8:16, 1] = RED_GREEN_BLUE[:, 16:, 2] = 200


@pytest.fixture
def bgr():
    """A picture with a color in each corner, uint8 [16, 24, 3], as OpenCV has it."""
    image = cv2.cvtColor(RED_GREEN_BLUE, cv2.COLOR_RGB2BGR)
    image[:4, :4] = 255
    return image


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_each_form_of_a_picture_is_the_same_picture(bgr, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png(bgr))
    rgb = Image.fromarray(bgr[..., ::-1].copy())
    forms = [bgr, path, str(path), png(bgr), bytearray(png(bgr)), memoryview(png(bgr)), rgb, Image.open(path)]
    forms += [rgb.convert("RGBA"), rgb.quantize(8), cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA), bgr.astype(np.uint16) * 257]
    for form in forms:
        image = to_image(form)
        assert (image.dtype, image.shape) == (np.uint8, (16, 24, 3))
        np.testing.assert_array_equal(image, bgr)


@pytest.mark.parametrize("mode", ["L", "LA", "La", "PA", "1", "P", "RGBa", "CMYK", "YCbCr", "HSV", "I;16", "I;16B"])
def test_pillow_images_of_any_mode_go_in(mode):
    gray = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (8, 4)))
    if mode.startswith("I;16"):
        image = Image.frombytes(mode, (8, 8), (np.asarray(gray).astype(">u2" if mode[4:] else "<u2") * 257).tobytes())
    elif mode in ("La", "RGBa"):
        image = gray.convert(mode.upper()).convert(mode)
    else:
        image = gray.convert("RGB" if mode in ("CMYK", "YCbCr", "HSV") else "L").convert(mode)
    assert image.mode == mode
    np.testing.assert_array_equal(to_image(image), np.repeat(np.asarray(gray)[..., None], 3, 2))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_pillow_image_without_a_range_is_refused(mode):
    with pytest.raises(UserError, match=f"mode {mode}.*convert it"):
        to_image(Image.new(mode, (8, 8)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pillow_images_files_and_bytes_are_turned_alike(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    large = np.repeat(np.repeat(RED_GREEN_BLUE, 8, 0), 8, 1)
    large[:40, :40] = 255
    Image.fromarray(large).save(path, exif=exif, quality=95)
    right = cv2.imread(str(path))  # which OpenCV turns
    for form in (path, path.read_bytes(), Image.open(path)):
        image = to_image(form)
        assert image.shape == right.shape
        assert np.abs(image.astype(int) - right).mean() < 2


def test_all_of_them_go_into_a_pipeline(pipeline, bgr, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png(bgr))
    live = pipeline((2, 2, 10, 10))
    for index, form in enumerate((path, str(path), path.read_bytes(), Image.open(path), bgr)):
        (still,), (frame,) = live.still(form), live(form, index / 25)
        np.testing.assert_array_equal(still.crop, frame.crop)
        np.testing.assert_array_equal(still.crop, live.still(bgr)[0].crop)


def jpeg(size=(40, 60)):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (None, "no image"),
        (np.zeros((0, 4, 3), np.uint8), "no image"),
        ([[0, 1], [2, 3]], "found list"),
        (7, "found int"),
        (np.zeros((8, 8, 3), np.float32), "uint8 or uint16"),
        (np.zeros((2, 8, 8, 3), np.uint8), "channels"),
        (b"", "picture in memory: is not a readable picture"),
        (b"GIF89a, or so", "not a readable picture"),
        (jpeg()[:-300], "cut off"),
        ("", "no such picture"),
        ("missing\nnow.png", r"missing\\nnow.png: no such picture"),
        ("nul\0.png", "no such picture"),
        (Path("/dev/zero"), "no such picture"),
        (Path("/"), "no such picture"),
        ("https://example.com/a.png", "no such picture"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_said_in_one_line(picture, message):
    with pytest.raises(UserError, match=message) as caught:
        to_image(picture)
    assert "\n" not in str(caught.value)


def test_a_damaged_image_of_pillow_is_one_line():
    image = Image.open(io.BytesIO(jpeg()[:-900]))
    with pytest.raises(UserError, match="truncated"):
        to_image(image)


def test_too_many_pixels_are_refused_in_each_form(monkeypatch, tmp_path, bgr):
    path = tmp_path / "picture.png"
    path.write_bytes(png(bgr))
    lazy = Image.open(path)
    monkeypatch.setattr(lazy, "load", lambda: pytest.fail("it was decoded"))
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "383")
    for form in (path, png(bgr), lazy):
        with pytest.raises(UserError, match=r"24 x 16 pixels.*FER_TF_MAX_PIXELS=384"):
            to_image(form)
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "384")
    assert to_image(path).shape == (16, 24, 3)


def test_a_file_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UserError, match="change its permissions"):
        read_image(str(path))


def test_pillow_is_not_needed(monkeypatch, bgr):
    import sys

    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    np.testing.assert_array_equal(to_image(bgr), bgr)
    np.testing.assert_array_equal(to_image(png(bgr)), bgr)
    assert Pipeline(lambda _: np.zeros((0, 4))).still(png(bgr)) == []
