"""The graph of YuNet, the network of libfacedetection, around its weights.

W. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence Research 20, 2023.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from fer_tf.detector_card import INPUTS, OUTPUTS

LEAST_SCORE = 0.2
LARGEST_OVERLAP = 0.45
MOST_FACES = 1000

_OPSET, _IR_VERSION = 18, 9
_STRIDES = (8, 16, 32)
_HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}

_UNITS = {
    "backbone__model0_dp": (16, 16),
    "backbone__model1_dp1": (16, 16),
    "backbone__model1_dp2": (16, 32),
    "backbone__model2_dp1": (32, 32),
    "backbone__model2_dp2": (32, 64),
    **{f"backbone__model{stage}_dp{unit}": (64, 64) for stage in (3, 4, 5) for unit in (1, 2)},
    **{f"neck__lateral_convs__{level}": (64, 64) for level in range(3)},
    **{f"bbox_head__multi_level_{head}__{level}": (64, width) for head, width in _HEADS.items() for level in range(3)},
}
"""Each pair of a 1×1 and a depthwise 3×3 convolution, with its numbers of channels in and out."""

_STEM, _STEM_ROW = "backbone__model0_pw", 32  # 27 weights of each filter (row, column, channel), filled up to 32

SIZES = {f"{_STEM}_weight": 16 * _STEM_ROW, f"{_STEM}_bias": 16} | {
    name + part: size
    for name, (inputs, outputs) in _UNITS.items()
    for part, size in (
        ("_pw_weight", inputs * outputs),
        ("_pw_bias", outputs),
        ("_dw_weight", 9 * outputs),
        ("_dw_bias", outputs),
    )
}
"""Name of each of the 106 arrays in libfacedetection, and how many numbers it holds."""


def build(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Returns the whole detector: padding, network, decoding and non-maximum suppression.

    Args:
        weights: The arrays of `SIZES`, float32.
    """
    graph = _Graph(weights)
    levels = _features(graph, _padded(graph, "image"))
    boxes, scores, landmarks = _decoded(graph, [graph.head(level, x) for level, x in enumerate(levels)])
    chosen = graph(
        "NonMaxSuppression",
        graph("Unsqueeze", boxes, graph.integers(0)),
        graph("Unsqueeze", scores, graph.integers(0, 1)),
        graph.constant(np.int64(MOST_FACES)),
        graph.constant(np.float32(LARGEST_OVERLAP)),
    )
    chosen = graph("Gather", chosen, graph.constant(np.int64(2)), axis=1)  # rows of image, class and box
    for values, name in ((boxes, "boxes"), (scores, "scores"), (landmarks, "landmarks")):
        graph("Gather", values, chosen, axis=0, named=name)
    return graph.model()


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple, onnx.TensorProto] = {}

    def __call__(self, kind: str, *inputs: str, named: str | Sequence[str] = "", **attributes: Any) -> str:
        """Adds a node and returns the name of its output, or of its first."""
        name = f"{kind.lower()}{len(self._nodes)}"
        outputs = [named or name] if isinstance(named, str) else [f"{name}_{part}" for part in named]
        self._nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def split(self, values: str, **widths: int) -> list[str]:
        """Cuts the last axis into parts, and returns their names."""
        first = self("Split", values, self.integers(*widths.values()), named=list(widths), axis=-1)
        stem = first.removesuffix(next(iter(widths)))
        return [stem + part for part in widths]

    def constant(self, value: ArrayLike) -> str:
        array = np.asarray(value)
        key = array.dtype.str, array.shape, array.tobytes()
        name = f"constant{len(self._constants)}"
        return self._constants.setdefault(key, numpy_helper.from_array(array, name)).name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def stem(self, x: str) -> str:
        """Adds the first convolution, of 3×3 pixels with their three channels side by side: 3×9 numbers."""
        kernels = self._weights[f"{_STEM}_weight"].reshape(16, _STEM_ROW)[:, :27].reshape(16, 1, 3, 9)
        inputs = x, self.constant(kernels.copy()), self.constant(self._weights[f"{_STEM}_bias"])
        return self("Relu", self("Conv", *inputs, kernel_shape=[3, 9], pads=[1, 3, 1, 3], strides=[2, 6]))

    def unit(self, x: str, *names: str) -> str:
        """Adds the two convolutions of a unit; of several names, those of units of one input, side by side."""

        def joined(part: str, *shape: int) -> np.ndarray:
            return np.concatenate([self._weights[name + part].reshape(*shape) for name in names], axis=-1)

        inputs = _UNITS[names[0]][0]
        pointwise = np.concatenate([self._weights[f"{name}_pw_weight"].reshape(-1, inputs, 1, 1) for name in names])
        depthwise = joined("_dw_weight", 9, -1).T.reshape(-1, 1, 3, 3).copy()
        x = self("Conv", x, self.constant(pointwise), self.constant(joined("_pw_bias", -1)), kernel_shape=[1, 1])
        around: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4, "group": len(depthwise)}
        return self("Conv", x, self.constant(depthwise), self.constant(joined("_dw_bias", -1)), **around)

    def head(self, level: int, x: str) -> str:
        """Adds the four heads of a level: class, object, box and landmarks."""
        return self.unit(x, *(f"bbox_head__multi_level_{head}__{level}" for head in _HEADS))

    def model(self) -> onnx.ModelProto:
        faces: dict[str, list[str | int]] = {"boxes": ["faces", 4], "scores": ["faces"], "landmarks": ["faces", 5, 2]}
        (image,) = INPUTS
        graph = helper.make_graph(
            self._nodes,
            "yunet",
            [helper.make_tensor_value_info(image, TensorProto.UINT8, ["height", "width", 3])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, faces[name]) for name in OUTPUTS],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="fer-tf")


def _padded(graph: _Graph, image: str) -> str:
    """Returns float32 [1, 1, H, 3 W], filled up by black on the right and below to whole cells of the last level."""
    missing = graph("Mod", graph("Neg", graph("Shape", image, end=2)), graph.integers(_STRIDES[-1]))
    pads = graph("Concat", graph.integers(0, 0, 0), missing, graph.integers(0), axis=0)
    x = graph("Cast", graph("Pad", image, pads, graph.constant(np.uint8(0))), to=TensorProto.FLOAT)
    height = graph("Shape", x, end=1)
    return graph("Reshape", x, graph("Concat", graph.integers(1, 1), height, graph.integers(-1), axis=0))


def _features(graph: _Graph, x: str) -> list[str]:
    """Returns float32 [1, 64, h, w] for each stride, the finest first."""

    def unit(x: str, name: str) -> str:
        return graph("Relu", graph.unit(x, name))

    def stage(x: str, number: int) -> str:
        return unit(unit(x, f"backbone__model{number}_dp1"), f"backbone__model{number}_dp2")

    def halved(x: str) -> str:
        return graph("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def doubled(x: str) -> str:
        nearest: dict[str, Any] = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        return graph("Resize", x, "", graph.constant(np.array([1, 1, 2, 2], np.float32)), **nearest)

    x = halved(unit(graph.stem(x), "backbone__model0_dp"))
    x = stage(stage(x, 1), 2)
    levels = []
    for number in (3, 4, 5):
        x = stage(halved(x), number)
        levels.append(x)
    levels[2] = unit(levels[2], "neck__lateral_convs__2")
    for level in (1, 0):
        levels[level] = unit(graph("Add", doubled(levels[level + 1]), levels[level]), f"neck__lateral_convs__{level}")
    return levels


def _decoded(graph: _Graph, heads: Sequence[str]) -> tuple[str, str, str]:
    """Returns boxes [M, 4], scores [M] and landmarks [M, 5, 2] of the cells of all levels that may hold a face."""
    widths = graph("Concat", *(graph("Shape", head, start=3) for head in heads), axis=0)
    heights = graph("Concat", *(graph("Shape", head, start=2, end=3) for head in heads), axis=0)
    counts = graph("Mul", heights, widths)
    starts = graph("CumSum", counts, graph.constant(np.int64(0)), exclusive=1)
    flat = (graph("Reshape", head, graph.integers(sum(_HEADS.values()), -1)) for head in heads)
    cells = graph("Concat", *flat, axis=1)
    likely = graph("Slice", cells, graph.integers(0), graph.integers(2), graph.integers(0))
    score = graph("Sqrt", graph("ReduceProd", graph("Sigmoid", likely), graph.integers(0), keepdims=0))
    enough = graph("GreaterOrEqual", score, graph.constant(np.float32(LEAST_SCORE)))
    places = graph("Squeeze", graph("NonZero", enough), graph.integers(0))
    score = graph("Gather", score, places)
    found = graph("Transpose", graph("Gather", cells, places, axis=1), perm=[1, 0])
    _, shift, size, points = graph.split(found, likely=2, shift=2, size=2, points=10)
    # What follows is of few cells. The level of each is the number of levels that end before it.
    ends = graph("Unsqueeze", graph("Add", starts, counts), graph.integers(1))
    before = graph("Cast", graph("GreaterOrEqual", places, ends), to=TensorProto.INT64)
    level = graph("ReduceSum", before, graph.integers(0), keepdims=0)
    place, width = graph("Sub", places, graph("Gather", starts, level)), graph("Gather", widths, level)
    column_and_row = [graph("Unsqueeze", graph(kind, place, width), graph.integers(1)) for kind in ("Mod", "Div")]
    scale = graph("Gather", graph.constant(np.array(_STRIDES, np.float32).reshape(3, 1)), level)
    corner = graph("Mul", graph("Cast", graph("Concat", *column_and_row, axis=1), to=TensorProto.FLOAT), scale)
    center = graph("Add", graph("Mul", shift, scale), corner)
    half = graph("Mul", graph("Mul", graph("Exp", size), scale), graph.constant(np.float32(0.5)))
    boxes = graph("Concat", graph("Sub", center, half), graph("Add", center, half), axis=1)
    point_scale, origin = (graph("Unsqueeze", values, graph.integers(1)) for values in (scale, corner))
    points = graph("Mul", graph("Reshape", points, graph.integers(-1, 5, 2)), point_scale)
    return boxes, score, graph("Add", points, origin)
