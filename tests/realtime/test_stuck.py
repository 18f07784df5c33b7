"""A model that does not return keeps no command from ending."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest

from fer_tf.card import METADATA_KEY
from fer_tf.detector_card import DETECTOR_KEY, DetectorCard

from ..processes import wait_for

onnx = pytest.importorskip("onnx")
helper, TYPES = onnx.helper, onnx.TensorProto

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

DARK, BRIGHT = 20, 235
"""Gray levels of frames that the models below answer at once, and never."""


def counting(image: str, first: str) -> list:
    """Nodes that pass `first` on as `last`; where the mean of `image` is above 128, after some 10^12 steps."""
    step = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["goes_on"]), helper.make_node("Identity", ["value"], ["next"])],
        "step",
        [
            helper.make_tensor_value_info("step", TYPES.INT64, []),
            helper.make_tensor_value_info("going", TYPES.BOOL, []),
            helper.make_tensor_value_info("value", TYPES.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TYPES.BOOL, []),
            helper.make_tensor_value_info("next", TYPES.FLOAT, None),
        ],
    )
    return [
        helper.make_node("Cast", [image], ["levels"], to=TYPES.FLOAT),
        helper.make_node("ReduceMean", ["levels"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "middle"], ["is_bright"]),
        helper.make_node("Where", ["is_bright", "many", "one"], ["steps"]),
        helper.make_node("Loop", ["steps", "", first], ["last"], body=step),
    ]


def constants(**arrays: np.ndarray) -> list:
    arrays |= {"middle": np.float32(128), "many": np.int64(10**12), "one": np.int64(1)}
    return [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def saved(graph, metadata: dict[str, str], path) -> str:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return str(path)


@pytest.fixture
def looping_model(model, tmp_path):
    """A model file that does not come to an end with bright faces."""
    nodes = [
        *counting("faces", "slopes"),
        helper.make_node("Flatten", ["levels"], ["flat"]),
        helper.make_node("ReduceMean", ["flat", "axes"], ["brightness"]),
        helper.make_node("Mul", ["brightness", "last"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "looping",
        [helper.make_tensor_value_info("faces", TYPES.UINT8, ["batch", 48, 48])],
        [helper.make_tensor_value_info("probabilities", TYPES.FLOAT, ["batch", 7])],
        constants(slopes=np.arange(7, dtype=np.float32) / 255, axes=np.array([1], np.int64)),
    )
    (card,) = (entry.value for entry in onnx.load(model).metadata_props if entry.key == METADATA_KEY)
    return saved(graph, {METADATA_KEY: card}, tmp_path / "looping.onnx")


@pytest.fixture
def make_detector_file(tmp_path):
    """A function that writes a detector that finds one face in every frame; one `looping` never ends in bright ones."""

    def make(looping: bool) -> str:
        nodes = counting("image", "box") if looping else [helper.make_node("Identity", ["box"], ["last"])]
        graph = helper.make_graph(
            [
                *nodes,
                *(
                    helper.make_node("Identity", pair[:1], pair[1:])
                    for pair in (("last", "boxes"), ("score", "scores"), ("points", "landmarks"))
                ),
            ],
            "one",
            [helper.make_tensor_value_info("image", TYPES.UINT8, ["height", "width", 3])],
            [
                helper.make_tensor_value_info("boxes", TYPES.FLOAT, ["faces", 4]),
                helper.make_tensor_value_info("scores", TYPES.FLOAT, ["faces"]),
                helper.make_tensor_value_info("landmarks", TYPES.FLOAT, ["faces", 5, 2]),
            ],
            constants(
                box=np.array([[20, 20, 70, 70]], np.float32),
                score=np.ones(1, np.float32),
                points=np.array([[[30, 35], [60, 35], [45, 45], [35, 60], [55, 60]]], np.float32),
            ),
        )
        card = DetectorCard(
            name="one", description="", source_file="", source_sha256="", license="", notice="", defaults={}
        )
        return saved(graph, {DETECTOR_KEY: card.to_json()}, tmp_path / f"detector-{looping}.onnx")

    return make


@pytest.fixture
def film(tmp_path):
    """A video of 12 dark frames and 12 bright ones."""
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=96, height=96, pix_fmt="bgr0")
        for index in range(24):
            image = np.full((96, 96, 3), DARK if index < 12 else BRIGHT, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("culprit", ["model", "detector"])
def test_the_second_signal_ends_the_loop_with_whole_files(
    culprit, name, film, model, looping_model, make_detector_file, tmp_path, start_webcam, count_frames
):
    output = tmp_path / "out"
    output.mkdir()
    table, lines, recording = output / "faces.csv", output / "faces.jsonl", output / "labeled.mp4"
    child = start_webcam(
        *("--source", film, "--no-window", "--csv", table, "--jsonl", lines, "--output", recording),
        *("--model", looping_model if culprit == "model" else model),
        *("--detector-model", make_detector_file(culprit == "detector")),
    )
    with child:
        wait_for(lambda: table.exists() and table.read_text().count("\n") >= 12)  # a line of names, and 11 faces
        time.sleep(0.3)
        child.send_signal(signal.Signals[name])
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        begun = time.monotonic()
        child.send_signal(signal.Signals[name])
        _, errors = child.communicate(timeout=30)
        took = time.monotonic() - begun
    assert (child.returncode, errors.strip()) == (130, "stopped")
    assert took < 2
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == [str(index) for index in range(12)]
    assert all(row["expression"] for row in rows)
    assert len([json.loads(line) for line in lines.read_text().splitlines()]) == 12
    assert count_frames(recording) == 12
    assert sorted(path.name for path in output.iterdir()) == ["faces.csv", "faces.jsonl", "labeled.mp4"]


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="ignored here, and so by the command")
def test_ctrl_c_ends_predict_with_what_was_found(looping_model, make_detector_file, tmp_path):
    cv2 = pytest.importorskip("cv2")
    for name, level in (("1.png", DARK), ("2.png", BRIGHT)):
        cv2.imwrite(str(tmp_path / name), np.full((96, 96, 3), level, np.uint8))
    pictures = [str(tmp_path / name) for name in ("1.png", "2.png")]
    options = ["--model", looping_model, "--detector-model", make_detector_file(False), "--json"]
    labeled = tmp_path / "labeled"
    child = subprocess.Popen(
        [sys.executable, "-m", "realtime.predict", *pictures, *options, "--output", str(labeled)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    with child:
        wait_for(lambda: (labeled / "1.png").exists())
        time.sleep(0.5)
        begun = time.monotonic()
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=30)
        took = time.monotonic() - begun
    assert (child.returncode, errors.strip()) == (130, "stopped")
    assert took < 2
    assert [image["source"] for image in json.loads(output)["images"]] == pictures[:1]
    assert [path.name for path in labeled.iterdir()] == ["1.png"]
