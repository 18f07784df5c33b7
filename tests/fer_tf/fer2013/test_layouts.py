"""Other data sets in the layouts in which they are published, filled with generated images."""

import io
import tarfile

import cv2
import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError

RAFDB = {1: "surprise", 2: "fear", 3: "disgust", 4: "happy", 5: "sad", 6: "angry", 7: "neutral"}
AFFECTNET = {0: "neutral", 1: "happy", 2: "sad", 3: "surprise", 4: "fear", 5: "disgust", 6: "angry"}
CHALLENGE = {0: "angry", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"}
FOLDERS = {"train": "train", "public": "val", "private": "test"}


def number_of(names, name):
    return next(number for number, other in names.items() if other == name)


def named(faces, forms, rename):
    """Members of images by what `rename` makes of split, class and number."""
    return {rename(split, name, n): forms.png(pixels) for n, (split, name, pixels) in enumerate(faces)}


def notes_of(data):
    return "\n".join(data.notes)


@pytest.mark.parametrize(("numbers", "order"), [(RAFDB, "rafdb"), ({**AFFECTNET, 7: "contempt"}, "affectnet")])
def test_folders_of_numbers_are_known_by_which_there_are(numbers, order, tmp_path, faces, forms):
    members = named(faces, forms, lambda split, name, n: f"{FOLDERS[split]}/{number_of(numbers, name)}/{n}.png")
    members |= {f"train/7/x{n}.png": forms.png(np.full((48, 48), n)) for n in range(4)} if order == "affectnet" else {}
    data = fer2013.load(forms.write_zip(tmp_path / "data.zip", members))
    forms.assert_holds(data, faces)
    assert f"the classes are read by the numbers of {order}" in notes_of(data)
    assert ("4 of 214 images are left out: 7 4" in notes_of(data)) == (order == "affectnet")


@pytest.mark.parametrize("numbers", [AFFECTNET, CHALLENGE, dict(enumerate(CLASSES))])
def test_numbers_of_several_orders_are_read_as_the_user_says(numbers, tmp_path, faces, forms):
    members = named(faces, forms, lambda split, name, n: f"{FOLDERS[split]}/{number_of(numbers, name)}/{n}.png")
    path = forms.write_zip(tmp_path / "data.zip", members)
    with pytest.raises(UserError, match=r"--classes with .*csv"):
        fer2013.load(path)
    given = [f"{number}={name}" for number, name in numbers.items()]
    forms.assert_holds(fer2013.load(path, classes=given), faces)
    order = {"neutral": "affectnet", "angry": "alphabetical" if numbers[4] == "neutral" else "csv"}[numbers[0]]
    forms.assert_holds(fer2013.load(path, classes=[order]), faces)
    others = [f"{number}={name if name != 'sad' else '-'}" for number, name in numbers.items()]
    data = fer2013.load(path, classes=others)  # and not as the decoded copy was
    forms.assert_holds(data, [face for face in faces if face[1] != "sad"])
    assert f"30 of 210 images are left out: {number_of(numbers, 'sad')} 30" in notes_of(data)


def test_other_names_of_classes(tmp_path, faces, forms):
    names = {"angry": "Anger", "disgust": "Disgusted", "fear": "fearful", "happy": "3_happiness", "neutral": "Neutral"}
    names |= {"sad": "Sadness", "surprise": "surprised"}
    members = named(faces, forms, lambda split, name, n: f"{FOLDERS[split]}/{names[name]}/{n}.png")
    members |= {f"train/Contempt/{n}.png": b"never looked at" for n in range(5)}
    members |= {"train/bored/1.png": b"never looked at"}
    path = forms.write_tree(tmp_path / "data", members)
    with pytest.raises(UserError, match=r"'train/bored/1.png' lies in no class folder.*or leave them out by NAME=-"):
        fer2013.load(path)
    data = fer2013.load(path, classes=["bored=-"])
    forms.assert_holds(data, faces)
    assert "6 of 216 images are left out: contempt 5, bored 1" in notes_of(data)


@pytest.mark.parametrize("photographs", [False, True])
def test_rafdb_as_it_is_published(photographs, tmp_path, faces, forms):
    faces = [face for face in faces if face[0] != "private"]
    prefix = {"train": "train", "public": "test"}
    members = named(faces, forms, lambda split, name, n: f"basic/Image/aligned/{prefix[split]}_{n:05}_aligned.jpg.png")
    members = {name.replace(".jpg.png", ".png"): content for name, content in members.items()}
    lines = [f"{prefix[split]}_{n:05}.png {number_of(RAFDB, name)}" for n, (split, name, _) in enumerate(faces)]
    members["basic/EmoLabel/list_patition_label.txt"] = "\n".join(lines).encode()
    members["basic/readme.txt"] = b"two words\n"
    if photographs:
        members |= {f"basic/Image/original/{line.split()[0]}": b"never looked at" for line in lines}
    members["basic/Image/aligned/other.png"] = b"never looked at"
    data = fer2013.load(forms.write_zip(tmp_path / "data.zip", members))
    forms.assert_holds(data, faces)
    assert "not in the list of labels 1" in notes_of(data)
    assert ("aligned faces 140" in notes_of(data)) == photographs


def test_expw_as_it_is_published(tmp_path, faces, forms):
    """Two faces in each photograph, each in its box."""
    faces = [face for face in faces if face[0] == "train"]
    members, lines = {}, []
    for n in range(0, len(faces), 2):
        photograph = np.zeros((100, 150), np.uint8)
        for face, (left, top) in enumerate(((10, 20), (90, 45))):
            photograph[top : top + 48, left : left + 48] = faces[n + face][2]
            label = number_of(CHALLENGE, faces[n + face][1])
            lines.append(f"{n}.png {face} {top} {left} {left + 48} {top + 48} 99.1 {label}")
        members[f"data/image/origin/{n}.png"] = forms.png(photograph)
    members["data/label/label.lst"] = "\n".join(lines).encode()
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    found = {
        image.tobytes(): CLASSES[label]
        for split in (data.train, data.public)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == {pixels.tobytes(): name for _, name, pixels in faces}


@pytest.mark.parametrize("form", ["label.csv", "fer2013new.csv"])
def test_ferplus_folders(form, tmp_path, faces, forms):
    folders = {"train": "FER2013Train", "public": "FER2013Valid", "private": "FER2013Test"}
    order = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear")
    members, rows = {}, {folder: [] for folder in folders.values()}
    for n, (split, name, pixels) in enumerate(faces):
        votes = [3 if other == name else 1 for other in order] + [0, 0, 0]
        members[f"{folders[split]}/fer{n:07}.png"] = forms.png(pixels)
        rows[folders[split]].append((f"fer{n:07}.png", votes))
    others = {"contempt": [0] * 7 + [9, 1, 0], "a tie": [5, 5] + [0] * 8, "NF": [0] * 9 + [10]}
    for what, votes in others.items():
        members[f"FER2013Train/{what}.png"] = b"never looked at"
        rows["FER2013Train"].append((f"{what}.png", votes))
    if form == "label.csv":
        for folder, told in rows.items():
            lines = [f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}' for name, votes in told]
            members[f"{folder}/label.csv"] = "\n".join(lines).encode()
    else:
        lines = [f"Training,{name},{','.join(map(str, votes))}" for told in rows.values() for name, votes in told]
        members["fer2013new.csv"] = "\n".join(["Usage,Image name,neutral,happiness,...", *lines]).encode()
    data = fer2013.load(forms.write_zip(tmp_path / "data.zip", members))
    forms.assert_holds(data, faces)
    assert "3 of 213 images are left out: contempt 1, no majority 1, nf 1" in notes_of(data)


def test_affectnet_as_it_is_published(tmp_path, faces, forms):
    faces = [face for face in faces if face[0] != "private"]
    sets = {"train": "train_set", "public": "val_set"}
    members = named(faces, forms, lambda split, name, n: f"{sets[split]}/images/{n}.png")
    labels = [number_of(AFFECTNET, name) for _, name, _ in faces]
    members["train_set/images/900.png"] = b"never looked at"
    for n, (split, label) in enumerate([*((face[0], label) for face, label in zip(faces, labels, strict=True))]):
        file = io.BytesIO()
        np.save(file, np.array(str(label)))
        members[f"{sets[split]}/annotations/{n}_exp.npy"] = file.getvalue()
    file = io.BytesIO()
    np.save(file, np.array("7"))
    members["train_set/annotations/900_exp.npy"] = file.getvalue()
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    forms.assert_holds(data, faces)
    assert "1 of 141 images are left out: 7 1" in notes_of(data)


def test_jaffes_names(tmp_path, faces, forms):
    faces = [face for face in faces if face[0] == "train"]
    codes = {
        "angry": "AN",
        "disgust": "DI",
        "fear": "FE",
        "happy": "HA",
        "neutral": "NE",
        "sad": "SA",
        "surprise": "SU",
    }
    tiff = {
        f"jaffe/KA.{codes[name]}{n % 3 + 1}.{n}.tiff": cv2.imencode(".tiff", p)[1].tobytes()
        for n, (_, name, p) in enumerate(faces)
    }
    data = fer2013.load(forms.write_tree(tmp_path / "data", tiff | {"jaffe/README": b"x"}))
    images = np.concatenate([data.train.images, data.public.images])
    labels = np.concatenate([data.train.labels, data.public.labels])
    found = {image.tobytes(): CLASSES[label] for image, label in zip(images, labels, strict=True)}
    assert found == {pixels.tobytes(): name for _, name, pixels in faces}


def test_a_table_of_files_and_labels(tmp_path, faces, forms):
    members = named(faces, forms, lambda split, name, n: f"images/{FOLDERS[split]}/{n}.png")
    lines = [f"{FOLDERS[split]}/{n}.png,{name}" for n, (split, name, _) in enumerate(faces)]
    members["labels.csv"] = "\n".join(["path,emotion", *lines, "none.png,happy"]).encode()
    forms.assert_holds(fer2013.load(forms.write_zip(tmp_path / "data.zip", members)), faces)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("label", ["{}", "{}.0", "name"])
def test_tables_of_other_forms(separator, label, tmp_path, faces, forms):
    rows = [separator.join(("label", "pixels"))]
    for _, name, pixels in faces:
        word = name if label == "name" else label.format(number_of(CHALLENGE, name))
        rows.append(separator.join((word, " ".join(map(str, pixels.ravel())))))
    (tmp_path / "t.csv").write_text("\n".join([*rows, separator.join(("contempt", "1 2 3"))]))
    data = fer2013.load(tmp_path / "t.csv")
    assert np.bincount(data.public.labels).tolist() == [3] * 7
    assert np.bincount(data.train.labels).tolist() == [27] * 7
    assert "1 of 211 images are left out: contempt 1" in notes_of(data)
    expected = {pixels.tobytes(): CLASSES.index(name) for _, name, pixels in faces}
    for split in (data.train, data.public):
        assert all(expected[image.tobytes()] == label for image, label in zip(split.images, split.labels, strict=True))


@pytest.mark.parametrize("inside", ["nothing", "zip"])
def test_the_challenges_tar(inside, tmp_path, faces, forms):
    table = forms.write_csv(tmp_path / "t.csv", faces).read_bytes()
    path = tmp_path / "fer2013.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {
            "fer2013/README": b"x",
            "fer2013/fer2013.csv": table,
            "fer2013/fer2013.bib": b"x",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    if inside == "zip":
        path = forms.write_zip(tmp_path / "challenges.zip", {"fer2013.tar.gz": path.read_bytes(), "sample.txt": b"x"})
    forms.assert_holds(fer2013.load(path), faces)


def test_the_challenges_zip(tmp_path, faces, forms):
    table = forms.write_csv(tmp_path / "t.csv", faces).read_bytes()
    members = {"train.csv": b"emotion,pixels", "example_submission.csv": b"emotion", "icml_face_data.csv": table}
    forms.assert_holds(fer2013.load(forms.write_zip(tmp_path / "a.zip", members | {"fer2013.tar.gz": b"x"})), faces)


def test_names_of_broken_images_are_escaped(tmp_path, faces, forms, capfd):
    members = forms.members_of(faces) | {"train/happy/\x1b[2Ja\nerror: b.png": b"x"}
    fer2013.load(forms.write_zip(tmp_path / "data.zip", members))
    (line,) = capfd.readouterr().err.splitlines()
    assert r"\x1b[2Ja\nerror: b.png" in line
