import pytest

from fer_tf import fer2013


def test_second_reading_comes_from_the_cache_until_the_source_changes(tmp_path, faces, monkeypatch, forms):
    path = forms.write_zip(tmp_path / "data.zip", forms.members_of(faces))
    first = fer2013.load(path)
    with monkeypatch.context() as patch:
        patch.setattr(fer2013, "read", lambda path: pytest.fail("read again"))
        forms.assert_equal(fer2013.load(path), first)
    forms.write_zip(path, forms.members_of(faces[10:]))
    forms.assert_holds(fer2013.load(path), faces[10:])


def test_cache_of_a_folder_notices_a_changed_file(tmp_path, faces, forms):
    tree = forms.write_tree(tmp_path / "tree", forms.members_of(faces))
    fer2013.load(tree)
    changed = [(*faces[0][:2], 255 - faces[0][2]), *faces[1:]]
    (tree / forms.member_names(faces)[0]).write_bytes(forms.png(changed[0][2]))
    forms.assert_holds(fer2013.load(tree), changed)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no archive", lambda b: b[:26] + b"\xff" * 8 + b[34:]],
)
def test_damaged_cache_is_read_anew(tmp_path, faces, damage, monkeypatch, forms):
    monkeypatch.setenv("FER_TF_CACHE", str(tmp_path / "cache"))
    path = forms.write_zip(tmp_path / "data.zip", forms.members_of(faces))
    fer2013.load(path)
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(damage(cached.read_bytes()))
    forms.assert_holds(fer2013.load(path), faces)


def test_cache_of_a_folder_notices_a_renamed_class(tmp_path, faces, forms):
    tree = forms.write_tree(tmp_path / "tree", forms.members_of([face for face in faces if face[1] != "sad"]))
    fer2013.load(tree)
    for split in ("train", "test"):
        (tree / split / "angry").rename(tree / split / "sad")
    renamed = [(s, "sad" if name == "angry" else name, pixels) for s, name, pixels in faces if name != "sad"]
    forms.assert_holds(fer2013.load(tree), renamed)
