import re

import pytest

from fer_tf import fer2013
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.__main__ import main


def truncated_zip(folder, faces, forms):
    path = forms.write_zip(folder / "data.zip", forms.members_of(faces))
    path.write_bytes(path.read_bytes()[:20_000])
    return path


def zip_with_damaged_directory(folder, faces, forms):
    path = forms.write_zip(folder / "data.zip", forms.members_of(faces))
    content = bytearray(path.read_bytes())
    content[-4000:-3000] = bytes(1000)
    path.write_bytes(content)
    return path


def zip_with_damaged_members(folder, faces, forms):
    path = forms.write_zip(folder / "data.zip", forms.members_of(faces))
    content = bytearray(path.read_bytes())
    content[1000 : len(content) // 2] = bytes(len(content) // 2 - 1000)
    path.write_bytes(content)
    return path


def zip_of(**members):
    return lambda folder, faces, forms: forms.write_zip(folder / "data.zip", dict(members.values()))


def text_file(suffix, text):
    def write(folder, faces, forms):
        (folder / f"data{suffix}").write_bytes(text)
        return folder / f"data{suffix}"

    return write


def csv_with(change):
    def write(folder, faces, forms):
        path = forms.write_csv(folder / "fer2013.csv", faces[:20])
        path.write_text("\n".join(change(path.read_text().splitlines())))
        return path

    return write


def encrypted(members):
    """A zip whose only member says that it is encrypted."""

    def write(folder, faces, forms):
        path = forms.write_zip(folder / "data.zip", members(faces, forms))
        content = bytearray(path.read_bytes())
        content[6] |= 1
        content[content.rindex(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(content)
        return path

    return write


def zip_with_a_damaged_name(folder, faces, forms):
    path = forms.write_zip(folder / "data.zip", {"train/happy/é.png": b"x"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    return path


def damaged_table(folder, faces, forms):
    path = forms.write_zip(folder / "data.zip", {"fer2013.csv": forms.write_csv(folder / "t.csv", faces).read_bytes()})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 500] = bytes(500)
    path.write_bytes(content)
    return path


def endless_table(folder, faces, forms):
    return forms.write_zip(folder / "data.zip", {"fer2013.csv": b"emotion,pixels,Usage\n" + b"a\n" * 2_000_000})


def bomb(folder, faces, forms):
    content = bytes(30_000_000)
    return forms.write_zip(folder / "data.zip", {f"train/{name}/Training_1.png": content for name in CLASSES})


MUTILATED = {
    "nothing there": (lambda folder, faces, forms: folder / "none.zip", "no such file"),
    "empty folder": (lambda folder, faces, forms: folder, "no images"),
    "truncated zip": (truncated_zip, "zip"),
    "zip with damaged directory": (zip_with_damaged_directory, "zip"),
    "zip with a damaged name": (zip_with_a_damaged_name, "damaged zip"),
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
    "encrypted zip": (encrypted(lambda faces, forms: dict([next(iter(forms.members_of(faces).items()))])), "password"),
    "encrypted table": (encrypted(lambda faces, forms: {"fer2013.csv": b"emotion,pixels,Usage"}), "password"),
    "damaged table": (damaged_table, "damaged zip"),
    "endless table": (endless_table, "10000 of 10000"),
    "text named zip": (text_file(".zip", b"hello"), "zip"),
    "text of another kind": (text_file(".txt", b"hello"), "expected a folder"),
    "empty CSV": (text_file(".csv", b""), "no column"),
    "binary CSV": (text_file(".csv", bytes(range(256)) * 10), "CSV"),
    "CSV with nulls": (text_file(".csv", b"emotion,pixels,Usage\n0,\0\0,Training\n"), "CSV|broken"),
    "CSV without a column": (csv_with(lambda lines: ["emotion,Usage", *lines[1:]]), "no column pixels"),
    "numbers of several orders": (
        zip_of(**{str(n): (f"train/{n}/1.png", b"x") for n in range(7)}),
        "numbers 0, 1, 2, 3, 4, 5, 6 stand for the classes.*--classes with alphabetical, csv",
    ),
    "a device": (lambda folder, faces, forms: "/dev/zero", "not a file or folder"),
    "too few to hold some out": (
        lambda folder, faces, forms: forms.write_zip(folder / "d.zip", {"happy/1.png": forms.png(faces[0][2])}),
        "1 different images of happy; expected 9 or more",
    ),
    "damaged tar": (text_file(".tar.gz", b"hello"), "not a readable gz"),
    "unreadable mapping": (
        lambda folder, faces, forms: f"{folder} --classes 0=bored",
        "--classes '0=bored': expected NAME=CLASS",
    ),
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
def test_mutilated_data_is_one_clear_line(name, tmp_path, faces, forms, capfd):
    make, expected = MUTILATED[name]
    assert main(str(make(tmp_path, faces, forms)).split(" ")) == 2
    captured = capfd.readouterr()
    errors = captured.err.splitlines()
    assert len(errors) == 1, captured.err
    assert errors[0].startswith("error: ")
    assert re.search(expected, errors[0]), errors[0]
    assert not captured.out


def test_no_data_anywhere_says_where_it_was_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FER2013", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    message = capsys.readouterr().err
    for place in ("$FER2013", *fer2013.DEFAULT_PATHS):
        assert place in message


def test_environment_names_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("FER2013", str(tmp_path))
    assert fer2013.find() == tmp_path
    monkeypatch.setenv("FER2013", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"\$FER2013"):
        fer2013.find()
