import cv2
import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("matplotlib")

from fer_tf.catalogue import DATASETS
from fer_tf.gallery import SCALE, main, read_face, sample_faces
from fer_tf.preprocessing.filters import FILTERS


@pytest.fixture
def photograph(tmp_path):
    """A file that holds noise around a square of 48 pixels, and the square. Its name is no formula."""
    image = np.random.default_rng(0).integers(0, 256, (48, 90), np.uint8)
    path = tmp_path / "$_$ face with quite a long name.png"
    cv2.imwrite(str(path), image)
    return path, image[:, 21:69]


def enlarged(image):
    return np.kron(image, np.ones((SCALE, SCALE), np.uint8))


def place(picture, image):
    """Returns where an image stands in a gray picture: x, y, and whether it stands there to the pixel."""
    difference = cv2.matchTemplate(picture, enlarged(image), cv2.TM_SQDIFF)
    smallest, _, (x, y), _ = cv2.minMaxLoc(difference)
    shown = picture[y : y + 48 * SCALE, x : x + 48 * SCALE]
    return x, y, (shown == enlarged(image)).all() and smallest < 1e4


@pytest.mark.drawn
def test_each_filter_stands_in_its_column(photograph, tmp_path, capsys):
    path, face = photograph
    output = tmp_path / "new folder" / "gallery.png"
    assert main([str(path), str(path), "-o", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    picture = cv2.imread(str(output))
    columns = []
    for name in DATASETS[: 1 + len(FILTERS)]:
        expected = face if name == "original" else np.asarray(FILTERS[name]()(face[None]))[0]
        x, _, found = place(picture[..., 0], expected)
        assert found, name
        columns.append(x)
    assert columns == sorted(columns)
    # In a stack's column red is the original, and green the filtered face.
    right = picture[:, columns[-1] + 48 * SCALE :]
    x, y, found = place(right[..., 2], face)
    assert found
    equalized = right[y : y + 48 * SCALE, x : x + 48 * SCALE, 1]
    np.testing.assert_array_equal(equalized, enlarged(np.asarray(FILTERS["hist_median"]()(face[None]))[0]))


@pytest.mark.drawn
def test_the_first_projects_arithmetic_has_no_canny(photograph, tmp_path):
    widths = {}
    for arithmetic in ("standard", "original"):
        output = tmp_path / f"{arithmetic}.png"
        assert main([str(photograph[0]), "-o", str(output), "--arithmetic", arithmetic]) == 0
        widths[arithmetic] = cv2.imread(str(output)).shape[1]
    assert widths["standard"] - widths["original"] == pytest.approx(2 * 48 * SCALE, rel=0.1)


def test_large_and_color_images_are_cropped_and_shrunk(tmp_path):
    image = np.zeros((480, 700, 3), np.uint8)
    image[:, 110:590] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "red.png"), image)
    face = read_face(tmp_path / "red.png")
    assert face.shape == (48, 48)
    assert (face == 76).all()  # ITU-R 601: 0.299 · 255


def test_sample_faces_are_different_faces():
    pytest.importorskip("skimage")
    images = np.stack([face for _, face in sample_faces()])
    assert images.dtype == np.uint8
    assert images.shape[1:] == (48, 48)
    assert len(np.unique(images, axis=0)) == len(images)
    assert (images.max(axis=(1, 2)) - images.min(axis=(1, 2)).astype(int) > 30).all()


@pytest.mark.parametrize(
    ("content", "output", "message"),
    [
        (b"no image", "gallery.png", "not a readable image"),
        (b"", "gallery.png", "not a readable image"),
        (None, "gallery.png", "No such file"),
        (b"no image", "gallery.bmp", "the gallery is a PNG"),
        (b"no image", "face.png/gallery.png", "its folder cannot be made"),
    ],
)
def test_wrong_input_is_one_line(content, output, message, tmp_path, capsys):
    path = tmp_path / "face.png"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path), "-o", str(tmp_path / output)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / output).exists()


def test_nothing_is_written_where_nobody_asked_for_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert "required: -o/--output" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_face_is_not_replaced_by_its_gallery(tmp_path, capsys):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.zeros((48, 48), np.uint8))
    before = path.read_bytes()
    assert main([str(path), "-o", str(path)]) == 2
    assert "would replace" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_face_is_not_replaced_under_another_name(tmp_path, monkeypatch, capsys):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), np.zeros((48, 48), np.uint8))
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    for name in ("face.png", f"../{tmp_path.name}/face.png"):
        assert main([str(path), "-o", name]) == 2
        assert "would replace" in capsys.readouterr().err
        assert path.read_bytes() == before
