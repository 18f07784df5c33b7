import os
import sys

import cv2
import numpy as np
import pytest

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.realtime.evaluation.labeled import LabeledPicture, list_pictures


@pytest.fixture
def put(tmp_path):
    """A function that makes empty files, and returns the folder that they lie in."""

    def make(*names):
        for name in names:
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "set"

    return make


def shown(listing, folder):
    return {p.path.relative_to(folder).as_posix(): CLASSES[p.label] for p in listing.pictures}


def test_class_folders_lie_at_any_depth_and_have_any_known_name(put):
    folder = put("a/happiness/1.jpg", "a/b/sad/2.PNG", "3_anger/3.webp", "neutral/._4.jpg", "neutral/notes.txt")
    assert shown(list_pictures(folder), folder) == {
        "3_anger/3.webp": "angry",
        "a/b/sad/2.PNG": "sad",
        "a/happiness/1.jpg": "happy",
    }


def test_numbers_are_those_of_the_data_set_that_has_them(put):
    folder = put(*(f"{number}/{number}.jpg" for number in range(1, 8)))
    listing = list_pictures(folder)
    assert shown(listing, folder)["4/4.jpg"] == "happy"
    assert "rafdb" in listing.notes[0]
    listing = list_pictures(folder, ["1=angry", "2=-", "3=-", "4=sad", "5=-", "6=-", "7=neutral"])
    assert shown(listing, folder) == {"1/1.jpg": "angry", "4/4.jpg": "sad", "7/7.jpg": "neutral"}
    assert listing.left_out.total() == 4


def test_faces_with_boxes_in_a_list_are_left_out_and_counted(put):
    folder = put("happy/1.jpg", "photos/2.jpg")
    (folder / "label.lst").write_text("2.jpg 0 5 5 40 40 99.0 6\n")
    listing = list_pictures(folder, ["expw"])
    assert shown(listing, folder) == {"happy/1.jpg": "happy"}
    assert listing.left_out == {"with boxes around faces in a list": 1}


def test_heic_is_left_out_with_a_reason_where_it_cannot_be_read(put, monkeypatch):
    folder = put("happy/1.jpg", "happy/2.HEIC")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("fer_tf.realtime.evaluation.labeled.reads_heic", lambda: False)
    listing = list_pictures(folder)
    assert [picture.path.name for picture in listing.pictures] == ["1.jpg"]
    ((reason, count),) = listing.left_out.items()
    assert "pillow-heif" in reason
    assert count == 1
    monkeypatch.setattr("fer_tf.realtime.evaluation.labeled.reads_heic", lambda: True)
    assert len(list_pictures(folder).pictures) == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_names_pictures_from_its_own_folder_on(tmp_path, separator):
    rows = [
        ("Person", "PATH", "label", "note"),
        ("anna", "sub/a.jpg", "Happiness", "x"),
        ("", "b.jpg", "neutral", ""),
        ("anna", str(tmp_path / "c.jpg"), "contempt", ""),
        ("ben", "d.jpg", "puzzled", ""),
        ("anna", "sub/a.jpg", "Happiness", "again"),
    ]
    table = tmp_path / "t.csv"
    table.write_text("\ufeff" + "\n".join(separator.join(row) for row in rows) + "\n\n", encoding="utf-8")
    listing = list_pictures(table)
    assert listing.pictures == [
        LabeledPicture(tmp_path / "sub/a.jpg", CLASSES.index("happy"), "anna"),
        LabeledPicture(tmp_path / "b.jpg", CLASSES.index("neutral"), ""),
    ]
    assert listing.left_out == {"contempt": 1, "label 'puzzled'": 1}


def test_a_table_of_numbers_says_whose_they_are(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,label\na.jpg,0\nb.jpg,3.0\n")
    with pytest.raises(UserError, match="--classes"):
        list_pictures(table)
    assert [picture.label for picture in list_pictures(table, ["csv"]).pictures] == [0, 3]
    affectnet = tmp_path / "affectnet.csv"
    os.replace(table, affectnet)
    assert [CLASSES[picture.label] for picture in list_pictures(affectnet).pictures] == ["neutral", "surprise"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,person\na.jpg,anna\n", "no column label"),
        (b"", "no column path, label"),
        (b"path,label\na.jpg\n", "row 2 has 1 cells; expected 2"),
        (b"path,label\na.jpg,happy\na.jpg,sad\n", "'a.jpg' is labeled 'happy' and 'sad'"),
        (b"path,label\na.jpg,contempt\n", "no labeled pictures (left out: 1 contempt)"),
        (b"path,label\n\xff\xfe,happy\n", "not a text file"),
        (b'path,label\n"' + b"x" * 200_000 + b'",happy\n', "not a readable CSV"),
    ],
)
def test_a_wrong_table_is_said_in_one_line(tmp_path, content, message):
    import csv

    limit = csv.field_size_limit(131_072)
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    try:
        with pytest.raises(UserError) as caught:
            list_pictures(table)
    finally:
        csv.field_size_limit(limit)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pictures_in_no_class_folder_are_refused(put):
    with pytest.raises(UserError, match="lies in no class folder"):
        list_pictures(put("happy/1.jpg", "2.jpg"))


def test_what_is_not_there_or_empty_is_said(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        list_pictures(tmp_path / "none")
    with pytest.raises(UserError, match="no labeled pictures"):
        list_pictures(tmp_path)


def test_pictures_are_listed_without_being_read(put):
    folder = put("happy/broken.jpg")
    cv2.imwrite(str(folder / "happy/whole.jpg"), np.zeros((9, 9), np.uint8))
    assert len(list_pictures(folder).pictures) == 2
