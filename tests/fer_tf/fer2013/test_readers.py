import shutil
from pathlib import Path

import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.errors import UserError


def test_every_form_gives_equal_arrays(tmp_path, faces, forms):
    members = forms.members_of(faces)
    tree = fer2013.load(forms.write_tree(tmp_path / "tree", members))
    forms.assert_holds(tree, faces)
    nested = {f"archive/{name}": content for name, content in members.items()}
    mac = {**nested, "__MACOSX/archive/train/angry/._Training_1.png": b"x", "archive/readme.txt": b"x"}
    forms.assert_equal(fer2013.load(forms.write_zip(tmp_path / "tree.zip", mac)), tree)
    forms.assert_equal(fer2013.load(forms.write_csv(tmp_path / "fer2013.csv", faces)), tree)
    icml = forms.write_csv(tmp_path / "icml_face_data.csv", faces[::-1], header=("emotion", " Usage", " pixels"))
    forms.assert_equal(fer2013.load(icml), tree)
    forms.assert_equal(
        fer2013.load(forms.write_zip(tmp_path / "csv.zip", {"fer2013/fer2013.csv": icml.read_bytes()})), tree
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "fer2013.csv").write_bytes(icml.read_bytes())
    forms.assert_equal(fer2013.load(tmp_path / "folder"), tree)


def test_links_are_followed_and_those_to_nowhere_left_out(tmp_path, faces, forms):
    tree = forms.write_tree(tmp_path / "real", forms.members_of(faces))
    linked = tmp_path / "linked"
    linked.mkdir()
    for split in ("train", "test"):
        (linked / split).symlink_to(tree / split)
    (linked / "train" / "happy" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (linked / "again").symlink_to(linked)
    forms.assert_holds(fer2013.load(linked), faces)


def test_runs_among_the_class_folders_are_not_data(tmp_path, forms):
    path = forms.write_tree(tmp_path / "data", {f"happy/{n}.png": forms.png(np.full((48, 48), n)) for n in range(9)})
    run = {"runs/1/settings.json": b"{}", "runs/1/history.csv": b"", "runs/1/curves.png": forms.png(np.eye(48))}
    before = fer2013.load(path, cache=False)
    assert fer2013.load(forms.write_tree(path, run), cache=False).fingerprint() == before.fingerprint()


@pytest.mark.parametrize("as_zip", [False, True])
def test_files_of_other_formats_are_counted(tmp_path, as_zip, forms):
    members = {
        "train/happy/1.png": forms.png(np.zeros((48, 48), np.uint8)),
        "test/happy/1.png": forms.png(np.eye(48) * 255),
    }
    members |= dict.fromkeys(("train/happy/2.heic", "test/sadness/3.PSD", "train/happy/.DS_Store", "readme.txt"), b"x")
    path = forms.write_tree(tmp_path / "data", members)
    if as_zip:
        path = Path(shutil.make_archive(str(tmp_path / "data"), "zip", path))
    (note,) = fer2013.load(path).notes[:1]
    assert note == "2 files in class folders are of other formats and left out: .heic, .psd"
    with pytest.raises(UserError, match=r"no images of \.avif, .*expected train/<class>"):
        fer2013.load(forms.write_tree(tmp_path / "none", {"train/happy/2.heic": b"x"}))


def test_the_table_is_found_among_others(tmp_path, faces, forms):
    table = forms.write_csv(tmp_path / "t.csv", faces).read_bytes()
    others = {"train.csv": b"emotion,pixels", "test.csv": b"pixels", "archive/icml_face_data.csv": table}
    forms.assert_holds(fer2013.load(forms.write_zip(tmp_path / "data.zip", others)), faces)
