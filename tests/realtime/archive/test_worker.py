# ruff: noqa: E402
"""A worker without Ray, which gets its options as the driver sends them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra cluster")
pq = pytest.importorskip("pyarrow.parquet")

from fer_tf import __version__
from fer_tf.classes import CLASSES
from fer_tf.files import sha256
from fer_tf.realtime import timeline
from fer_tf.realtime.archive.__main__ import _parse
from fer_tf.realtime.archive.job import _settings, _with_files
from fer_tf.realtime.archive.listing import list_items
from fer_tf.realtime.archive.parts import FOOTER_KEY
from fer_tf.realtime.archive.worker import Labeler
from fer_tf.realtime.demo import demo_clip


@pytest.fixture
def label(clips, make_model_file, tmp_path):
    """A function that labels a clip with some options, and returns the options and the part."""
    model = make_model_file(tmp_path / "tiny.onnx")

    def run(*words):
        arguments = [
            str(clips / "clip1.mp4"),
            "--output",
            str(tmp_path / "out"),
            "--model",
            str(model),
            *map(str, words),
        ]
        _, options = _parse(arguments)
        sent = {name: _with_files(value, Path.read_bytes) for name, value in options.items()}
        worker = Labeler(str(tmp_path / "out"), __version__, sent)
        (item,) = list_items(arguments[:1])
        worker.finish("part-1.parquet", [worker.label(item, anew=True)], [], anew=False)
        return options, tmp_path / "out" / "part-1.parquet"

    return run


def test_rows_depend_on_the_mixture_and_on_pictures_of_a_person_at_rest(label, tmp_path):
    pictures = [tmp_path / "one.png", tmp_path / "two.png"]
    for path, image in zip(pictures, demo_clip()[0], strict=False):
        cv2.imwrite(str(path), image)
    options, part = label("--expect", "even", "--resting-pictures", *pictures)
    settings = _settings(options)
    assert settings["expect"] == "even"
    assert settings["resting_pictures"] == [sha256(path) for path in pictures]
    assert (settings["resting"], settings["resting_weight"]) == (None, 0.5)
    json.dumps(settings)
    rows = pq.read_table(part).to_pylist()
    raw, found = (np.array([[row[f"{kind}_{name}"] for name in CLASSES] for row in rows]) for kind in ("raw", "p"))
    trained = np.array([3995, 436, 4097, 7215, 4965, 4830, 3171])
    weighted = raw[0] / trained * (raw[0] / [0.04, 0.01, 0.04, 0.06, 0.70, 0.12, 0.03]) ** -0.5
    np.testing.assert_allclose(found[0], weighted / weighted.sum(), atol=0.02)  # the first frames are alike
    assert {row["shown"] for row in rows} <= {*CLASSES, "uncertain"}


def test_the_first_seconds_may_be_those_at_rest(label):
    options, part = label("--resting", "0.05", "--expect", "fer2013", "--smoothing", "0")
    assert options["resting"] == 0.05
    rows = pq.read_table(part).to_pylist()
    same = [all(row[f"p_{name}"] == row[f"raw_{name}"] for name in CLASSES) for row in rows if row["face"] == 0]
    assert same == [True] * 2 + [False] * (len(same) - 2)
    assert len(same) > 2


def test_the_timeline_reads_folders_from_before_what_is_shown_was_a_column(label, tmp_path):
    _, part = label()
    plots = [tmp_path / "new.png", tmp_path / "old.png"]
    assert timeline.main([str(part.parent), "--output", str(plots[0])]) == 0
    table = pq.read_table(part)
    footer = {FOOTER_KEY: pq.read_metadata(part).metadata[FOOTER_KEY]}
    pq.write_table(table.drop_columns(["shown"]).replace_schema_metadata(footer), part)
    assert timeline.main([str(part.parent), "--output", str(plots[1])]) == 0
    assert plots[0].read_bytes() == plots[1].read_bytes()
