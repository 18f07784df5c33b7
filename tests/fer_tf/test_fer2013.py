import csv
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.classes import CHALLENGE_CLASSES, CLASSES
from fer_tf.errors import UserError

PREFIX = {"train": "Training", "public": "PublicTest", "private": "PrivateTest"}
USAGE = {"train": "Training", "public": "PublicTest", "private": "PrivateTest"}


@pytest.fixture
def faces():
    """Ten images of each class and split, as (split, class, pixels)."""
    random = np.random.default_rng(0)
    return [
        (split, name, random.integers(0, 256, (48, 48), np.uint8))
        for split in fer2013.SPLITS
        for name in CLASSES
        for _ in range(10)
    ]


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def member_names(faces) -> list[str]:
    folder = {"train": "train", "public": "test", "private": "test"}
    return [f"{folder[s]}/{name}/{PREFIX[s]}_{(n * 7919) % 9973}.png" for n, (s, name, _) in enumerate(faces)]


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_tree(path: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_csv(path: Path, faces, header=("emotion", "pixels", "Usage")) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for split, name, pixels in faces:
            values = {
                "emotion": CHALLENGE_CLASSES.index(name),
                "pixels": " ".join(map(str, pixels.ravel())),
                "usage": USAGE[split],
            }
            writer.writerow([values[column.strip().lower()] for column in header])
    return path


def members_of(faces) -> dict[str, bytes]:
    return dict(zip(member_names(faces), (png(pixels) for *_, pixels in faces), strict=True))


def assert_equal(left: fer2013.Fer2013, right: fer2013.Fer2013) -> None:
    for split in fer2013.SPLITS:
        np.testing.assert_array_equal(getattr(left, split).images, getattr(right, split).images)
        np.testing.assert_array_equal(getattr(left, split).labels, getattr(right, split).labels)


def assert_holds(data: fer2013.Fer2013, faces) -> None:
    """Each image stands in its split with its label, and nothing else does."""
    for split in fer2013.SPLITS:
        found = getattr(data, split)
        expected = {pixels.tobytes(): CLASSES.index(name) for s, name, pixels in faces if s == split}
        assert {
            image.tobytes(): int(label) for image, label in zip(found.images, found.labels, strict=True)
        } == expected
        assert len(found) == len(expected)


def test_every_form_gives_equal_arrays(tmp_path, faces):
    members = members_of(faces)
    tree = fer2013.load(write_tree(tmp_path / "tree", members))
    assert_holds(tree, faces)
    nested = {f"archive/{name}": content for name, content in members.items()}
    mac = {**nested, "__MACOSX/archive/train/angry/._Training_1.png": b"x", "archive/readme.txt": b"x"}
    assert_equal(fer2013.load(write_zip(tmp_path / "tree.zip", mac)), tree)
    assert_equal(fer2013.load(write_csv(tmp_path / "fer2013.csv", faces)), tree)
    icml = write_csv(tmp_path / "icml_face_data.csv", faces[::-1], header=("emotion", " Usage", " pixels"))
    assert_equal(fer2013.load(icml), tree)
    assert_equal(fer2013.load(write_zip(tmp_path / "csv.zip", {"fer2013/fer2013.csv": icml.read_bytes()})), tree)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "fer2013.csv").write_bytes(icml.read_bytes())
    assert_equal(fer2013.load(tmp_path / "folder"), tree)


def test_second_reading_comes_from_the_cache_until_the_source_changes(tmp_path, faces, monkeypatch):
    path = write_zip(tmp_path / "data.zip", members_of(faces))
    first = fer2013.load(path)
    with monkeypatch.context() as patch:
        patch.setattr(fer2013, "_read", lambda path: pytest.fail("read again"))
        assert_equal(fer2013.load(path), first)
    write_zip(path, members_of(faces[10:]))
    assert_holds(fer2013.load(path), faces[10:])


def test_cache_of_a_folder_notices_a_changed_file(tmp_path, faces):
    tree = write_tree(tmp_path / "tree", members_of(faces))
    fer2013.load(tree)
    changed = [(*faces[0][:2], 255 - faces[0][2]), *faces[1:]]
    (tree / member_names(faces)[0]).write_bytes(png(changed[0][2]))
    assert_holds(fer2013.load(tree), changed)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no archive", lambda b: b[:26] + b"\xff" * 8 + b[34:]],
)
def test_damaged_cache_is_read_anew(tmp_path, faces, damage, own_cache):
    for old in own_cache.iterdir():
        old.unlink()
    path = write_zip(tmp_path / "data.zip", members_of(faces))
    fer2013.load(path)
    (cached,) = own_cache.iterdir()
    cached.write_bytes(damage(cached.read_bytes()))
    assert_holds(fer2013.load(path), faces)


def test_cache_of_a_folder_notices_a_renamed_class(tmp_path, faces):
    tree = write_tree(tmp_path / "tree", members_of([face for face in faces if face[1] != "sad"]))
    fer2013.load(tree)
    for split in ("train", "test"):
        (tree / split / "angry").rename(tree / split / "sad")
    renamed = [(s, "sad" if name == "angry" else name, pixels) for s, name, pixels in faces if name != "sad"]
    assert_holds(fer2013.load(tree), renamed)


def test_links_are_followed_and_those_to_nowhere_left_out(tmp_path, faces):
    tree = write_tree(tmp_path / "real", members_of(faces))
    linked = tmp_path / "linked"
    linked.mkdir()
    for split in ("train", "test"):
        (linked / split).symlink_to(tree / split)
    (linked / "train" / "happy" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (linked / "again").symlink_to(linked)
    assert_holds(fer2013.load(linked), faces)


def test_a_validation_folder_chooses_and_the_test_folder_does_not(tmp_path, faces):
    folders = {"train": "train", "public": "val", "private": "test"}
    members = {f"{folders[s]}/{name}/{n}.png": png(pixels) for n, (s, name, pixels) in enumerate(faces)}
    assert_holds(fer2013.load(write_zip(tmp_path / "data.zip", members)), faces)


@pytest.mark.parametrize(
    ("folders", "prefixes"),
    [
        ({"train": "Training", "public": "PublicTest", "private": "PrivateTest"}, ("", "", "")),
        ({"train": "train", "public": "valid", "private": "testing"}, ("", "", "")),
        ({"train": "train", "public": "val", "private": "test"}, ("Training", "Training", "Training")),
        ({"train": "training", "public": "val", "private": "test"}, ("PublicTest", "PrivateTest", "PublicTest")),
        ({"train": "train", "public": "val", "private": "test"}, ("Training", "PublicTest", "PrivateTest")),
    ],
)
def test_the_folder_of_a_split_decides_before_a_file_name(folders, prefixes, tmp_path, faces):
    prefix = dict(zip(fer2013.SPLITS, prefixes, strict=True))
    members = {f"{folders[s]}/{name}/{prefix[s]}_{n}.png": png(pixels) for n, (s, name, pixels) in enumerate(faces)}
    assert_holds(fer2013.load(write_zip(tmp_path / "data.zip", members)), faces)


def test_names_of_files_divide_a_folder_of_all_splits(tmp_path, faces):
    members = {f"all/{name}/{PREFIX[s]}_{n}.png": png(pixels) for n, (s, name, pixels) in enumerate(faces)}
    assert_holds(fer2013.load(write_tree(tmp_path / "data", members)), faces)


def test_a_train_folder_alone_holds_out_a_tenth(tmp_path):
    images = np.random.default_rng(3).integers(0, 256, (300, 48, 48), np.uint8)
    members = {f"train/{CLASSES[n % 7]}/{n}.png": png(image) for n, image in enumerate(images)}
    data = fer2013.load(write_tree(tmp_path / "data", members))
    assert 0.05 < len(data.public) / 300 < 0.15
    assert len(data.train) + len(data.public) == 300
    assert any(f"({len(data.public)}) was held out" in note for note in data.notes)


def test_class_folders_beside_splits_are_all_trained_on(tmp_path, faces):
    members = members_of(faces) | {f"happy/{n}.png": png(np.full((48, 48), n, np.uint8)) for n in range(100)}
    more = [("train", "happy", np.full((48, 48), n, np.uint8)) for n in range(100)]
    data = fer2013.load(write_tree(tmp_path / "data", members))
    assert_holds(data, [*faces, *more])
    assert not any("held out" in note for note in data.notes)


def test_a_photograph_is_turned_as_its_camera_was_held_and_not_stretched(tmp_path):
    """A dark left half, in a JPEG of 96×120 that says that its camera lay on its side."""
    upright = np.full((120, 96), 200, np.uint8)
    upright[:, :48] = 50
    jpeg = cv2.imencode(".jpg", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    wide = np.zeros((48, 144), np.uint8)
    wide[:, 48:96] = np.arange(48)
    members = {"train/happy/turned.jpg": turned, "train/sad/wide.png": png(wide), "test/sad/1.png": png(wide[:, :48])}
    data = fer2013.load(write_tree(tmp_path / "data", members))
    photograph, cut = data.train.images
    assert np.abs(photograph[:, :22].astype(int) - 50).max() < 12
    assert np.abs(photograph[:, 26:].astype(int) - 200).max() < 12
    np.testing.assert_array_equal(cut, np.tile(np.arange(48), (48, 1)))
    assert any("2 images that are not square" in note for note in data.notes)


def test_pixels_of_floats_are_parts_of_white(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 48, dtype=np.float32), (48, 1))
    tiff = cv2.imencode(".tiff", ramp)[1].tobytes()
    members = {"train/happy/1.tiff": tiff, "test/happy/1.png": png(np.zeros((48, 48), np.uint8))}
    data = fer2013.load(write_tree(tmp_path / "data", members))
    np.testing.assert_allclose(data.train.images, 255 * ramp[None], atol=1)
    assert any("1 images of floats" in note for note in data.notes)


def test_runs_among_the_class_folders_are_not_data(tmp_path):
    path = write_tree(tmp_path / "data", {"happy/1.png": png(np.zeros((48, 48), np.uint8))})
    run = {"runs/1/settings.json": b"{}", "runs/1/history.csv": b"", "runs/1/curves.png": png(np.eye(48))}
    before = fer2013.load(path, cache=False)
    assert fer2013.load(write_tree(path, run), cache=False).fingerprint() == before.fingerprint()


@pytest.mark.parametrize("as_zip", [False, True])
def test_files_of_other_formats_are_counted(tmp_path, as_zip):
    members = {"train/happy/1.png": png(np.zeros((48, 48), np.uint8)), "test/happy/1.png": png(np.eye(48) * 255)}
    members |= dict.fromkeys(("train/happy/2.heic", "test/sadness/3.GIF", "train/happy/.DS_Store", "readme.txt"), b"x")
    path = write_tree(tmp_path / "data", members)
    if as_zip:
        path = Path(shutil.make_archive(str(tmp_path / "data"), "zip", path))
    (note,) = fer2013.load(path).notes[:1]
    assert note == "2 files in class folders are of other formats and left out: .gif, .heic"
    with pytest.raises(UserError, match=r"no images of \.avif, .*expected train/<class>"):
        fer2013.load(write_tree(tmp_path / "none", {"train/happy/2.heic": b"x"}))


def test_the_table_is_found_among_others(tmp_path, faces):
    table = write_csv(tmp_path / "t.csv", faces).read_bytes()
    others = {"train.csv": b"emotion,pixels", "test.csv": b"pixels", "archive/icml_face_data.csv": table}
    assert_holds(fer2013.load(write_zip(tmp_path / "data.zip", others)), faces)


def test_other_sizes_depths_and_colours_are_converted_and_counted(tmp_path, faces):
    members = members_of(faces)
    names = list(members)
    flat = np.full((48, 48), 100, np.uint8)
    members[names[0]] = png(np.full((96, 60), 100, np.uint8))
    red = np.dstack([flat * 0, flat * 0, flat])
    members[names[1]] = png(red)
    members[names[2]] = png(np.dstack([red, flat]))
    members[names[3]] = png(np.full((48, 48), 100 * 257, np.uint16))
    data = fer2013.load(write_zip(tmp_path / "data.zip", members))
    assert len(data.train) == 70
    assert sum((image == 100).all() for image in data.train.images) == 2
    assert sum((image == round(0.299 * 100)).all() for image in data.train.images) == 2
    notes = "\n".join(data.notes)
    assert "1 images of another size" in notes
    assert "2 images in colour" in notes


def test_a_broken_image_is_named_skipped_and_counted(tmp_path, faces, capfd):
    members = members_of(faces)
    name = next(iter(members))
    members[name] = members[name][:500]
    path = write_zip(tmp_path / "data.zip", members)
    assert_holds(fer2013.load(path), faces[1:])
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert name in lines[0]
    assert any(name in note and note.startswith("1 broken") for note in fer2013.load(path).notes)


def test_more_than_one_percent_broken_is_an_error(tmp_path, faces):
    members = members_of(faces)
    for name in list(members)[:3]:
        members[name] = b""
    with pytest.raises(UserError, match="3 of 210 images are broken"):
        fer2013.load(write_tree(tmp_path / "tree", members))


def test_broken_rows_are_skipped_and_counted(tmp_path, faces):
    lines = write_csv(tmp_path / "fer2013.csv", faces).read_text().splitlines()
    lines[1] = lines[1].replace(lines[1].split()[5], "x", 1)
    lines[2] = "9" + lines[2][1:]
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    assert_holds(fer2013.load(tmp_path / "fer2013.csv"), faces[2:])


def test_a_test_folder_without_prefixes_stands_whole(tmp_path, faces):
    members = {}
    for number, (split, name, pixels) in enumerate(faces):
        members[f"{'train' if split == 'train' else 'test'}/{name}/im{number}.png"] = png(pixels)
    data = fer2013.load(write_zip(tmp_path / "data.zip", members))
    assert (len(data.train), len(data.public), len(data.private)) == (70, 140, 0)
    assert any("cannot be split" in note for note in data.notes)


def test_own_class_folders_hold_out_a_tenth_by_content(tmp_path):
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (600, 48, 48), np.uint8)
    members = {f"{CLASSES[n % 7]}/{n}.png": png(image) for n, image in enumerate(images)}
    members.update({f"happiness/copy{n}.png": png(image) for n, image in enumerate(images) if n % 7 == 3})
    data = fer2013.load(write_tree(tmp_path / "mine", members))
    assert len(data.private) == 0
    assert len(data.train) + len(data.public) == len(members)
    assert 0.05 < len(data.public) / len(members) < 0.15
    assert not fer2013.copies(data.public.images, data.train.images).any()


def test_copies_and_blanks():
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (6, 48, 48), np.uint8)
    others = images[[4, 1]].copy()
    others[0, 0, 0] ^= 1
    np.testing.assert_array_equal(fer2013.copies(images, others), [False, True, False, False, False, False])
    images[2] = 7
    np.testing.assert_array_equal(fer2013.blanks(images), np.arange(6) == 2)


def test_audit_counts_what_is_there(tmp_path, faces):
    members = members_of(faces)
    names = list(members)
    train, public, private = names[:70], names[70:140], names[140:]
    members[train[1]] = members[train[0]]  # a redundant copy
    members[train[20]] = members[train[10]]  # another, with conflicting labels
    members[public[0]] = members[train[30]]
    members[private[0]] = members[train[30]]
    members[private[1]] = members[public[5]]
    members[private[2]] = png(np.zeros((48, 48), np.uint8))
    text = fer2013.audit(fer2013.load(write_zip(tmp_path / "data.zip", members)))
    counts = {" ".join(words[:-1]): words[-1] for words in map(str.split, text.splitlines()) if words}
    assert counts["redundant copies inside train"] == "2"
    assert counts["groups of copies in train with conflicting labels"] == "1"
    assert counts["blank images in private (standard deviation below 1)"] == "1"
    assert counts["public images that stand pixel for pixel in train"] == "1"
    assert counts["private images that stand pixel for pixel in train"] == "1"
    assert counts["private images that stand pixel for pixel in public"] == "2"
    assert counts["private images that stand pixel for pixel in either"] == "2"


def test_audit_of_fer2013(fer2013_path):
    data = fer2013.load(fer2013_path)
    assert np.bincount(data.train.labels).tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171]
    tests = np.bincount(np.concatenate([data.public.labels, data.private.labels]))
    assert tests.tolist() == [958, 111, 1024, 1774, 1233, 1247, 831]
    text = fer2013.audit(data)
    counts = {" ".join(words[:-1]): words[-1] for words in map(str.split, text.splitlines()) if words}
    assert counts["blank images in train (standard deviation below 1)"] == "12"
    assert counts["blank images in public (standard deviation below 1)"] == "1"
    assert counts["redundant copies inside train"] == "1,236"
    assert counts["groups of copies in train with conflicting labels"] == "39"
    assert counts["public images that stand pixel for pixel in train"] == "280"
    assert counts["private images that stand pixel for pixel in train"] == "288"
    assert counts["private images that stand pixel for pixel in public"] == "44"
    assert counts["private images that stand pixel for pixel in either"] == "314"


def truncated_zip(folder, faces):
    path = write_zip(folder / "data.zip", members_of(faces))
    path.write_bytes(path.read_bytes()[:20_000])
    return path


def zip_with_damaged_directory(folder, faces):
    path = write_zip(folder / "data.zip", members_of(faces))
    content = bytearray(path.read_bytes())
    content[-4000:-3000] = bytes(1000)
    path.write_bytes(content)
    return path


def zip_with_damaged_members(folder, faces):
    path = write_zip(folder / "data.zip", members_of(faces))
    content = bytearray(path.read_bytes())
    content[1000 : len(content) // 2] = bytes(len(content) // 2 - 1000)
    path.write_bytes(content)
    return path


def zip_of(**members):
    return lambda folder, faces: write_zip(folder / "data.zip", dict(members.values()))


def text_file(suffix, text):
    def write(folder, faces):
        (folder / f"data{suffix}").write_bytes(text)
        return folder / f"data{suffix}"

    return write


def csv_with(change):
    def write(folder, faces):
        path = write_csv(folder / "fer2013.csv", faces[:20])
        path.write_text("\n".join(change(path.read_text().splitlines())))
        return path

    return write


def encrypted(members_of_faces):
    """A zip whose only member says that it is encrypted."""

    def write(folder, faces):
        path = write_zip(folder / "data.zip", members_of_faces(faces))
        content = bytearray(path.read_bytes())
        content[6] |= 1
        content[content.rindex(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(content)
        return path

    return write


def damaged_table(folder, faces):
    path = write_zip(folder / "data.zip", {"fer2013.csv": write_csv(folder / "t.csv", faces).read_bytes()})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    path.write_bytes(content)
    return path


def endless_table(folder, faces):
    return write_zip(folder / "data.zip", {"fer2013.csv": b"emotion,pixels,Usage\n" + b"a\n" * 2_000_000})


def bomb(folder, faces):
    content = bytes(30_000_000)
    return write_zip(folder / "data.zip", {f"train/{name}/Training_1.png": content for name in CLASSES})


MUTILATED = {
    "nothing there": (lambda folder, faces: folder / "none.zip", "no such file"),
    "empty folder": (lambda folder, faces: folder, "no images"),
    "truncated zip": (truncated_zip, "zip"),
    "zip with damaged directory": (zip_with_damaged_directory, "zip"),
    "zip with damaged members": (zip_with_damaged_members, "broken"),
    "zip bomb": (bomb, "larger than"),
    "empty zip": (zip_of(), "no images"),
    "zip of texts": (zip_of(a=("readme.txt", b"hello")), "no images"),
    "zip with ..": (zip_of(a=("../train/happy/Training_1.png", b"x")), "points outside"),
    "zip with backslashes": (zip_of(a=("..\\train\\happy\\Training_1.png", b"x")), "points outside"),
    "zip with absolute path": (zip_of(a=("/etc/happy/Training_1.png", b"x")), "points outside"),
    "zip with drive": (zip_of(a=("C:/happy/Training_1.png", b"x")), "points outside"),
    "zip with unknown class": (zip_of(a=("train/bored/Training_1.png", b"x")), "class folder"),
    "zip without folders": (zip_of(a=("Training_1.png", b"x")), "class folder"),
    "zip of empty images": (zip_of(a=("train/happy/Training_1.png", b"")), "broken"),
    "encrypted zip": (encrypted(lambda faces: dict([next(iter(members_of(faces).items()))])), "password"),
    "encrypted table": (encrypted(lambda faces: {"fer2013.csv": b"emotion,pixels,Usage"}), "password"),
    "damaged table": (damaged_table, "damaged zip"),
    "endless table": (endless_table, "10000 of 10000"),
    "text named zip": (text_file(".zip", b"hello"), "zip"),
    "text of another kind": (text_file(".txt", b"hello"), "expected a folder"),
    "empty CSV": (text_file(".csv", b""), "no column"),
    "binary CSV": (text_file(".csv", bytes(range(256)) * 10), "CSV"),
    "CSV with nulls": (text_file(".csv", b"emotion,pixels,Usage\n0,\0\0,Training\n"), "CSV|broken"),
    "CSV without a column": (csv_with(lambda lines: ["emotion,pixels", *lines[1:]]), "no column usage"),
    "CSV without a header": (csv_with(lambda lines: lines[1:]), "no column"),
    "CSV without rows": (csv_with(lambda lines: lines[:1]), "no images"),
    "CSV with text in pixels": (
        csv_with(lambda lines: [x.replace(" ", " x ", 1) for x in lines]),
        "not numbers",
    ),
    "CSV with too few pixels": (
        csv_with(lambda lines: [lines[0], *("0,1 2 3,Training" for _ in lines)]),
        "3 pixels",
    ),
    "CSV with large pixels": (
        csv_with(lambda lines: [x.replace(" ", " 999 ", 1) for x in lines]),
        "2305 pixels",
    ),
    "CSV with another class": (
        csv_with(lambda lines: [lines[0], *("7" + x[1:] for x in lines[1:])]),
        "expected 0 to 6",
    ),
    "CSV with another usage": (
        csv_with(lambda lines: [x.replace("Training", "Use") for x in lines]),
        "unknown Usage",
    ),
    "CSV with short rows": (csv_with(lambda lines: [lines[0], "0", "1"]), "missing"),
    "CSV with a huge field": (csv_with(lambda lines: [*lines, "0," + "1 " * 10**6 + ",Training"]), "broken"),
    "CSV with an open quote": (csv_with(lambda lines: [lines[0], '"' + lines[1], *lines[2:]]), "broken|CSV"),
}


@pytest.mark.parametrize("name", MUTILATED)
def test_mutilated_data_is_one_clear_line(name, tmp_path, faces, capfd):
    make, expected = MUTILATED[name]
    assert fer2013.main([str(make(tmp_path, faces))]) == 2
    captured = capfd.readouterr()
    errors = captured.err.splitlines()
    assert len(errors) == 1, captured.err
    assert errors[0].startswith("error: ")
    assert __import__("re").search(expected, errors[0]), errors[0]
    assert not captured.out


def test_no_data_anywhere_says_where_it_was_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FER2013", raising=False)
    monkeypatch.chdir(tmp_path)
    assert fer2013.main([]) == 2
    message = capsys.readouterr().err
    for place in ("--data", "$FER2013", *fer2013.DEFAULT_PATHS):
        assert place in message


def test_environment_names_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("FER2013", str(tmp_path))
    assert fer2013.find() == tmp_path
    monkeypatch.setenv("FER2013", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"\$FER2013"):
        fer2013.find()
