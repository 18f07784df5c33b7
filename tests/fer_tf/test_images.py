import io
import os
import struct
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.image_headers import pages, size
from fer_tf.images import decode

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


def encoded(suffix):
    return cv2.imencode(suffix, PIXELS)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg"])
@pytest.mark.parametrize("flag", [cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED])
def test_content_is_what_a_path_would_give(suffix, flag, tmp_path):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(encoded(suffix))
    np.testing.assert_array_equal(decode(path.read_bytes(), flag), cv2.imread(str(path), flag))


def test_a_photograph_is_turned_as_the_camera_was_held():
    content = encoded(".jpg")
    orientation = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + orientation
    turned = content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    np.testing.assert_array_equal(decode(turned), cv2.rotate(decode(content), cv2.ROTATE_90_CLOCKWISE))


def png_of(width, height):
    """A PNG whose header claims other sides than it has."""
    content = bytearray(encoded(".png"))
    content[16:24] = struct.pack(">2I", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("content", [b"", b"no image", encoded(".png")[:30], png_of(0, 0)])
def test_what_is_no_image_is_none_and_silent(content, capfd):
    assert decode(content) is None
    assert capfd.readouterr().err == ""


def test_a_picture_that_is_too_large_is_refused_before_memory_is_taken(monkeypatch):
    content = png_of(60000, 60000)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"60000 x 60000 pixels.*FER_TF_MAX_PIXELS"):
        decode(content)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "239")
    with pytest.raises(UserError, match="20 x 12 pixels"):
        decode(encoded(".png"))
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "240")
    assert decode(encoded(".png")).shape == (12, 20, 3)
    monkeypatch.setenv("FER_TF_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="whole number"):
        decode(encoded(".png"))


def test_a_png_that_claims_more_than_it_can_hold_is_not_decoded():
    content = png_of(12000, 12000)
    begun = time.monotonic()
    assert decode(content) is None
    assert time.monotonic() - begun < 0.5  # memory for 144 megapixels takes longer
    flat = cv2.imencode(".png", np.zeros((4000, 4000, 3), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    assert decode(flat).shape == (4000, 4000, 3)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        *[("BMP", {}), ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("PPM", {})],
        *[("TIFF", {}), ("TIFF", {"big_tiff": True}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("AVIF", {})],
        ("JPEG2000", {}),
    ],
)
def test_the_size_is_read_from_the_header_of_what_another_library_wrote(form, options):
    image = pytest.importorskip("PIL.Image").fromarray(PIXELS)
    file = io.BytesIO()
    image.save(file, form, **options)
    assert size(file.getvalue()) == (20, 12)
    assert decode(file.getvalue()).shape == (12, 20, 3)
    for end in range(0, len(file.getvalue()), 7):  # damage is no exception
        size(file.getvalue()[:end])
        pages(file.getvalue()[:end])


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("count", [1, 3])
def test_pages_are_counted(form, count):
    Image = pytest.importorskip("PIL.Image")
    first, *others = (Image.fromarray(np.roll(PIXELS, index, 0)) for index in range(count))
    file = io.BytesIO()
    first.save(file, form, save_all=True, append_images=others)
    assert pages(file.getvalue()) == count
    if form in ("TIFF", "PNG"):
        np.testing.assert_array_equal(decode(file.getvalue()), PIXELS[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_upright_however_it_was_turned(orientation):
    """Pillow writes the boxes `irot` and `imir` for an orientation of EXIF, and turns by them itself."""
    Image, ImageOps = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageOps")
    pixels = cv2.resize(PIXELS, (160, 96), interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "AVIF", quality=95, exif=exif.tobytes())
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue()))))
    assert np.abs(decode(file.getvalue())[..., ::-1].astype(int) - expected).mean() < 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_heic_is_read_upright_with_the_extra_and_refused_without(orientation, monkeypatch):
    pillow_heif, Image = pytest.importorskip("pillow_heif"), pytest.importorskip("PIL.Image")
    pixels = cv2.resize(PIXELS, (160, 96), interpolation=cv2.INTER_CUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=95, exif=exif.tobytes())
    turned = np.rot90(pixels, -1) if orientation == 6 else pixels
    assert size(file.getvalue()) == (160, 96)
    assert (
        np.abs(decode(file.getvalue())[..., ::-1].astype(int) - turned).mean() < 8
    )  # its colors are stored at half the size
    monkeypatch.setattr("fer_tf.images.reads_heic", lambda: False)
    with pytest.raises(UserError, match="HEIC needs pillow-heif"):
        decode(file.getvalue())


def without_decoding(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))


@pytest.mark.parametrize("part", [b"IHDR", b"IDAT"])
@pytest.mark.parametrize("of_content", [True, False])
def test_a_damaged_png_is_refused_before_it_is_decoded(part, of_content, monkeypatch):
    content = bytearray(encoded(".png"))
    place = content.index(part)
    length = int.from_bytes(content[place - 4 : place], "big")
    content[place + 4 + (length - 2 if of_content else length)] ^= 1
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is None  # at last
    without_decoding(monkeypatch)
    assert decode(bytes(content)) is None


@pytest.mark.parametrize("missing", [1, 4, 8, 12, 20, 200])
def test_a_png_that_is_cut_off_is_refused_before_it_is_decoded(missing, monkeypatch):
    content = encoded(".png")[:-missing]
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is None
    without_decoding(monkeypatch)
    assert decode(content) is None


def test_what_stands_beside_the_picture_may_be_damaged():
    whole = encoded(".png")
    comment = struct.pack(">I4s", 5, b"tEXt") + b"a\0b c" + b"wrong"[:4]
    np.testing.assert_array_equal(decode(whole[:33] + comment + whole[33:] + b"more"), PIXELS)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_that_claims_more_than_it_can_hold_is_not_decoded(progressive, monkeypatch):
    content = bytearray(cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes())
    place = content.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", 16000, 16000)
    without_decoding(monkeypatch)
    assert decode(bytes(content)) is None


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "quality": 1}, {"subsampling": 2}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_that_compress_best_are_still_read(mode, options):
    image_module = pytest.importorskip("PIL.Image")
    for form, extra in (("JPEG", options), ("PNG", {"optimize": True})):
        file = io.BytesIO()
        image_module.new(mode, (3000, 2000), 128 if mode == "L" else (128, 128, 128)).save(file, form, **extra)
        image = decode(file.getvalue())
        assert image.shape == (2000, 3000, 3)
        assert (image == 128).all()


def test_threads_that_decode_leave_stderr_alone(capfd):
    broken = bytearray(cv2.imencode(".jpg", PIXELS)[1].tobytes())
    broken[-200:-100] = bytes(100)
    contents = [bytes(broken), encoded(".png"), encoded(".jpg")] * 200
    with ThreadPoolExecutor(8) as pool:
        decoding = pool.map(decode, contents)
        for number in range(100):
            os.write(2, f"line {number}\n".encode())
        assert len(list(decoding)) == 600
    os.write(2, b"the end\n")
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("line")] == [f"line {number}" for number in range(100)]
    assert lines[-1] == "the end"


def test_a_pgm_whose_white_is_not_that_of_opencv_is_refused():
    pixels = bytes(range(16))
    assert decode(b"P5\n4 4\n255\n" + pixels, cv2.IMREAD_GRAYSCALE).tobytes() == pixels
    with pytest.raises(UserError, match="white is 15"):
        decode(b"P5\n# 4 bits\n4 4 15\n" + pixels)
