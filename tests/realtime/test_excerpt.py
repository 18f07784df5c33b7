import argparse
import csv
import math

import pytest

from fer_tf.errors import UserError
from fer_tf.realtime import webcam
from fer_tf.realtime.arguments import parse
from fer_tf.realtime.capture import SourceError
from fer_tf.realtime.excerpt import Excerpt, seconds
from fer_tf.realtime.sources import open_source

QUIET = ["--no-window", "--csv", "x.csv"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("0", 0), ("2.5", 2.5), ("1:30", 90), ("01:02:03.5", 3723.5), ("90:00", 5400)],
)
def test_times_are_read_as_players_write_them(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1:", ":5", "1:2:3:4", "nan", "inf", "1e3", "5s", "٣"])
def test_what_is_no_time_is_an_error(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time"):
        seconds(text)


def test_the_options_make_an_excerpt():
    assert parse(["--source", "demo", *QUIET]).excerpt == Excerpt(1, 0, math.inf)
    options = ["--every", "5", "--start", "1:00", "--end", "90"]
    assert parse(["--source", "demo", *options, *QUIET]).excerpt == Excerpt(5, 60, 90)
    with pytest.raises(UserError, match="--end 5 s is not after --start 5 s"):
        parse(["--source", "demo", "--start", "5", "--end", "5", *QUIET])


@pytest.mark.parametrize(
    ("excerpt", "length", "expected"),
    [
        (Excerpt(), None, None),
        (Excerpt(every=3), 10, 4),
        (Excerpt(start_s=1, end_s=3), 100, 20),
        (Excerpt(every=5, start_s=1, end_s=3), 100, 4),
        (Excerpt(start_s=5), 100, 50),
        (Excerpt(end_s=60), 100, 100),
    ],
)
def test_the_length_of_an_excerpt_is_known_before_it_is_read(excerpt, length, expected):
    assert excerpt.length(length, 10) == expected


def test_a_clip_is_read_in_part_and_a_picture_always():
    pytest.importorskip("skimage")
    frames = list(open_source("demo", excerpt=Excerpt(every=50, start_s=3, end_s=8)))
    assert [(frame.index, frame.time_s) for frame in frames] == [(100, 4), (150, 6)]
    with pytest.raises(SourceError, match="no frame from --start 11 s"):
        list(open_source("demo", excerpt=Excerpt(start_s=11)))


def test_the_command_labels_an_excerpt(make_model_file, tmp_path, capsys):
    pytest.importorskip("skimage")
    table, model = tmp_path / "faces.csv", str(make_model_file(tmp_path / "tiny.onnx"))
    options = ["--every", "10", "--start", "0:01", "--end", "2"]
    assert webcam.main(["--source", "demo", "--model", model, "--no-window", "--csv", str(table), *options]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["time_s"]) for row in rows] == [("30", "1.200"), ("40", "1.600")]
    assert capsys.readouterr().out.startswith("2 frames")
