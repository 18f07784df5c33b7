import time
from itertools import pairwise

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from fer_tf.recognizer import Recognizer  # noqa: E402
from fer_tf.train.cost import count_operations, measure_cost  # noqa: E402
from fer_tf.weights import DEFAULT_MODEL  # noqa: E402


def test_layers_are_counted_by_hand(tmp_path):
    random = np.random.default_rng(0)
    weights = {
        "kernel": (4, 1, 3, 3),
        "grouped": (4, 1, 5, 5),
        "dense": (4, 8),
        "last": (7, 8),
        "bias": (4,),
    }
    nodes = [
        helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["pixels", "axis"], ["planes"]),
        helper.make_node("Conv", ["planes", "kernel", "bias"], ["features"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["features", "grouped"], ["deep"], group=4, pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["deep"], ["active"]),
        helper.make_node("ReduceMean", ["active", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "dense"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "last"], ["probabilities"], transB=1),
    ]
    tensors = [numpy_helper.from_array(random.random(shape, np.float32), name) for name, shape in weights.items()]
    tensors += [numpy_helper.from_array(np.array(values), name) for name, values in (("axis", [1]), ("axes", [2, 3]))]
    inputs = [helper.make_tensor_value_info("faces", TensorProto.UINT8, ("batch", 48, 48))]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ("batch", 7))]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, tensors),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "m.onnx")
    parameters, multiply_adds = count_operations(tmp_path / "m.onnx")
    assert parameters == 36 + 100 + 32 + 56
    assert multiply_adds == 24 * 24 * 4 * 9 + 24 * 24 * 4 * 25 + 4 * 8 + 8 * 7


def test_the_figures_of_the_base_cnn_that_ships():
    """Three convolutions and two dense layers on two planes, by hand."""
    convolutions = 9 * (2 * 32 * 48**2 + 32 * 64 * 24**2 + 64 * 128 * 12**2)
    dense = 6 * 6 * 128 * 256 + 256 * 7
    parameters, multiply_adds = count_operations(DEFAULT_MODEL.with_name("base_cnn-stack_sharpen.onnx"))
    assert multiply_adds == convolutions + dense
    assert parameters == 9 * (2 * 32 + 32 * 64 + 64 * 128) + dense


@pytest.mark.parametrize(
    ("name", "count", "tolerance"),
    # The file of two is of the newer form: signs and neighbors are convolutions, and the second network, whose last
    # stage is narrower, is padded to the width of the first.
    [("mirror_resnet-original", 1, 0), ("mirror_resnet-original-pair", 2, 0.005)],
)
def test_the_figures_of_the_mirror_resnets_that_ship(name, count, tolerance):
    """A convolution at full size; in each stage one of stride 2, a block of two and its excitation; by hand.

    By parity a convolution takes half of its nine products. Beside that, half the channels of its input have their sign
    turned once, and their two neighbours in a row added and subtracted, of the sums and of the differences; and half of
    its output has its sign turned. Excitation and logits see the mean of each pair of mirrored channels.
    """
    products = weights = 0
    for widths in [(32, 64, 128, 224)] * count:
        last = widths[-1] // 2 * 7
        products += 9 * widths[0] * 48**2 + last
        weights += 9 * widths[0] + last
        for side, (before, width) in zip((24, 12, 6), pairwise(widths), strict=True):
            for side_in, channels in ((2 * side - 1, before), (side, width), (side, width)):
                kernel = 9 * channels * width // 2
                products += side**2 * (kernel + width // 2) + side_in**2 * (1 + 4 * 2) * channels // 2
                weights += kernel
            products += 2 * (width // 2) * (width // 8)
            weights += 2 * (width // 2) * (width // 8)
        weights += sum((2 + 2 + 1) * width // 2 for width in widths)  # which layers of the same width share
    found = count_operations(DEFAULT_MODEL.with_name(f"{name}.onnx"))
    assert found == pytest.approx((weights, products), rel=tolerance)
    assert found[0] <= 3e6
    # Padding is the share of the second network's last stage that is zeros: 32 of its 224 channels, in three layers.
    padding = 6**2 * 9 * (128 * 224 + 2 * 224**2 - 128 * 192 - 2 * 192**2) // 2 * (count - 1)
    assert found[1] - padding <= 150e6


def test_a_tiny_model_costs_something(make_model_file, tmp_path, monkeypatch):
    path = make_model_file(tmp_path / "m.onnx")
    asked = []
    monkeypatch.setattr(Recognizer, "__call__", lambda self, faces: asked.append(len(faces)) or time.sleep(1e-4))
    cost = measure_cost(path, np.zeros((3, 48, 48), np.uint8))  # as few as a small folder holds out
    assert set(asked) == {1, 4, 16}
    assert cost["bytes"] == path.stat().st_size
    assert (cost["parameters"], cost["multiply_adds"]) == (0, 0)
    assert [(row["threads"], row["faces"]) for row in cost["milliseconds"]] == [
        (threads, faces) for threads in (1, 2) for faces in (1, 4, 16)
    ]
    assert all(row["milliseconds"] > 0 for row in cost["milliseconds"])
    assert "onnxruntime" in cost["machine"]
