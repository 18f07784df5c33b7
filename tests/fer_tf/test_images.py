import struct
import zlib

import cv2
import numpy as np
import pytest

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


@pytest.mark.parametrize("content", [b"", b"no image", encoded(".png")[:30], png_of(60000, 60000), png_of(0, 0)])
def test_what_is_no_image_is_none_and_silent(content, capfd):
    assert decode(content) is None
    assert capfd.readouterr().err == ""
