import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.classes import CLASSES


def test_a_validation_folder_chooses_and_the_test_folder_does_not(tmp_path, faces, forms):
    folders = {"train": "train", "public": "val", "private": "test"}
    members = {f"{folders[s]}/{name}/{n}.png": forms.png(pixels) for n, (s, name, pixels) in enumerate(faces)}
    forms.assert_holds(fer2013.load(forms.write_zip(tmp_path / "data.zip", members)), faces)


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
def test_the_folder_of_a_split_decides_before_a_file_name(folders, prefixes, tmp_path, faces, forms):
    prefix = dict(zip(fer2013.SPLITS, prefixes, strict=True))
    members = {
        f"{folders[s]}/{name}/{prefix[s]}_{n}.png": forms.png(pixels) for n, (s, name, pixels) in enumerate(faces)
    }
    forms.assert_holds(fer2013.load(forms.write_zip(tmp_path / "data.zip", members)), faces)


def test_names_of_files_divide_a_folder_of_all_splits(tmp_path, faces, forms):
    members = {f"all/{name}/{forms.PREFIX[s]}_{n}.png": forms.png(pixels) for n, (s, name, pixels) in enumerate(faces)}
    forms.assert_holds(fer2013.load(forms.write_tree(tmp_path / "data", members)), faces)


def test_a_train_folder_alone_holds_out_a_tenth(tmp_path, forms):
    images = np.random.default_rng(3).integers(0, 256, (300, 48, 48), np.uint8)
    members = {f"train/{CLASSES[n % 7]}/{n}.png": forms.png(image) for n, image in enumerate(images)}
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    assert 0.05 < len(data.public) / 300 < 0.15
    assert len(data.train) + len(data.public) == 300
    assert any(f"{len(data.public)} images were held out" in note for note in data.notes)
    assert data.choosing == "held-out images"


def test_class_folders_beside_splits_are_all_trained_on(tmp_path, faces, forms):
    members = forms.members_of(faces) | {
        f"happy/{n}.png": forms.png(np.full((48, 48), n, np.uint8)) for n in range(100)
    }
    more = [("train", "happy", np.full((48, 48), n, np.uint8)) for n in range(100)]
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    forms.assert_holds(data, [*faces, *more])
    assert not any("held out" in note for note in data.notes)


def test_a_test_folder_without_prefixes_stands_whole(tmp_path, faces, forms):
    members = {}
    for number, (split, name, pixels) in enumerate(faces):
        members[f"{'train' if split == 'train' else 'test'}/{name}/im{number}.png"] = forms.png(pixels)
    data = fer2013.load(forms.write_zip(tmp_path / "data.zip", members))
    assert (len(data.train), len(data.public), len(data.private)) == (70, 140, 0)
    assert any("cannot be split" in note for note in data.notes)


def test_own_class_folders_hold_out_a_tenth_by_content(tmp_path, forms):
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (600, 48, 48), np.uint8)
    members = {f"{CLASSES[n % 7]}/{n}.png": forms.png(image) for n, image in enumerate(images)}
    members.update({f"happiness/copy{n}.png": forms.png(image) for n, image in enumerate(images) if n % 7 == 3})
    data = fer2013.load(forms.write_tree(tmp_path / "mine", members))
    assert len(data.private) == 0
    assert len(data.train) + len(data.public) == len(members)
    assert 0.05 < len(data.public) / len(members) < 0.15
    assert not fer2013.copies(data.public.images, data.train.images).any()


@pytest.mark.parametrize("counts", [[9] * 7, [20, 0, 0, 30, 0, 0, 0], [100, 9, 45, 200, 12, 0, 31]])
def test_some_of_each_class_are_held_out(counts, tmp_path, forms):
    random = np.random.default_rng(4)
    members = {}
    for name, count in zip(CLASSES, counts, strict=True):
        for n in range(count):
            members[f"{name}/{n}.png"] = forms.png(random.integers(0, 256, (48, 48), np.uint8))
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    held_out = np.bincount(data.public.labels, minlength=7).tolist()
    assert held_out == [max(3, round(count / 10)) if count else 0 for count in counts]
    assert (held_out + np.bincount(data.train.labels, minlength=7)).tolist() == counts
    missing = ", ".join(name for name, count in zip(CLASSES, counts, strict=True) if not count)
    assert (f"there are no training images of {missing}" in data.notes) == bool(missing)


def test_copies_with_other_labels_are_on_the_same_side(tmp_path, forms):
    images = np.random.default_rng(5).integers(0, 256, (60, 48, 48), np.uint8)
    members = {f"happy/{n}.png": forms.png(image) for n, image in enumerate(images)}
    members |= {f"sad/{n}.png": forms.png(image) for n, image in enumerate(images[30:])}
    data = fer2013.load(forms.write_tree(tmp_path / "data", members))
    assert not fer2013.copies(data.public.images, data.train.images).any()


@pytest.mark.parametrize(("name", "choosing"), [("public", "PublicTest"), ("other", "held-out images")])
def test_only_the_challenges_split_is_called_by_its_name(name, choosing, tmp_path, faces, forms):
    members = forms.members_of(faces)
    if name == "other":
        members = {
            path.replace("PublicTest", "a").replace("PrivateTest", "b"): image for path, image in members.items()
        }
    path = forms.write_zip(tmp_path / "data.zip", members)
    assert fer2013.load(path).choosing == choosing
    assert fer2013.load(path).choosing == choosing  # as the decoded copy says
