import cv2
import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.errors import UserError


def test_a_photograph_is_turned_as_its_camera_was_held_and_not_stretched(tmp_path, forms):
    """A dark left half, in a JPEG of 96×120 that says that its camera lay on its side."""
    upright = np.full((120, 96), 200, np.uint8)
    upright[:, :48] = 50
    jpeg = cv2.imencode(".jpg", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    wide = np.zeros((48, 144), np.uint8)
    wide[:, 48:96] = np.arange(48)
    members = {
        "train/happy/turned.jpg": turned,
        "train/sad/wide.png": forms.png(wide),
        "test/sad/1.png": forms.png(wide[:, :48]),
    }
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    photograph, cut = data.train.images
    assert np.abs(photograph[:, :22].astype(int) - 50).max() < 12
    assert np.abs(photograph[:, 26:].astype(int) - 200).max() < 12
    np.testing.assert_array_equal(cut, np.tile(np.arange(48), (48, 1)))
    assert any("2 images that are not square" in note for note in data.notes)


def test_pixels_of_floats_are_parts_of_white(tmp_path, forms):
    ramp = np.tile(np.linspace(0, 1, 48, dtype=np.float32), (48, 1))
    tiff = cv2.imencode(".tiff", ramp)[1].tobytes()
    members = {"train/happy/1.tiff": tiff, "test/happy/1.png": forms.png(np.zeros((48, 48), np.uint8))}
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    np.testing.assert_allclose(data.train.images, 255 * ramp[None], atol=1)
    assert any("1 images of floats" in note for note in data.notes)


def test_other_sizes_depths_and_colors_are_converted_and_counted(tmp_path, faces, forms):
    members = forms.members_of(faces)
    names = list(members)
    flat = np.full((48, 48), 100, np.uint8)
    members[names[0]] = forms.png(np.full((96, 60), 100, np.uint8))
    red = np.dstack([flat * 0, flat * 0, flat])
    members[names[1]] = forms.png(red)
    members[names[2]] = forms.png(np.dstack([red, flat]))
    members[names[3]] = forms.png(np.full((48, 48), 100 * 257, np.uint16))
    data = fer2013.load(forms.write_zip(tmp_path / "data.zip", members))
    assert len(data.train) == 70
    assert sum((image == 100).all() for image in data.train.images) == 2
    assert sum((image == round(0.299 * 100)).all() for image in data.train.images) == 2
    notes = "\n".join(data.notes)
    assert "1 images of another size" in notes
    assert "2 images in color" in notes


def test_a_broken_image_is_named_skipped_and_counted(tmp_path, faces, capfd, forms):
    members = forms.members_of(faces)
    name = next(iter(members))
    members[name] = members[name][:500]
    path = forms.write_zip(tmp_path / "data.zip", members)
    forms.assert_holds(fer2013.load(path), faces[1:])
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert name in lines[0]
    assert any(name in note and note.startswith("1 broken") for note in fer2013.load(path).notes)


def test_more_than_one_percent_broken_is_an_error(tmp_path, faces, forms):
    members = forms.members_of(faces)
    for name in list(members)[:3]:
        members[name] = b""
    with pytest.raises(UserError, match="3 of 210 images are broken"):
        fer2013.load(forms.write_tree(tmp_path / "tree", members))


def test_broken_rows_are_skipped_and_counted(tmp_path, faces, forms):
    lines = forms.write_csv(tmp_path / "fer2013.csv", faces).read_text().splitlines()
    lines[1] = lines[1].replace(lines[1].split()[5], "x", 1)
    lines[2] = "9" + lines[2][1:]
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    forms.assert_holds(fer2013.load(tmp_path / "fer2013.csv"), faces[2:])
