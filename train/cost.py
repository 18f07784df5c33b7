"""What a model file costs: its parameters, its multiply-adds for a face, and its time."""

import math
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from fer_tf.card import INPUT_NAME
from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.graph import weighted_nodes
from fer_tf.recognizer import Recognizer

_CALLS = (1, 4, 16)
"""Numbers of faces that a model is timed with."""


def measure_cost(path: Path, faces: np.ndarray) -> dict[str, Any]:
    """Returns what a model file costs, ready for JSON.

    Args:
        path: The model file.
        faces: uint8 [N, 48, 48], to time it on; fewer than 16 are repeated.

    Returns:
        `bytes`; `parameters` and `multiply_adds`, from `count_operations`; `milliseconds`, the median time of a call by
        `threads` and number of `faces`; and the `machine` that ran it.
    """
    parameters, multiply_adds = count_operations(path)
    faces = np.resize(faces, (max(_CALLS), *faces.shape[1:]))
    times = []
    for threads in (1, 2):
        recognizer = Recognizer(path, threads=threads)
        for count in _CALLS:
            milliseconds = 1e3 * _seconds(recognizer, faces[:count])
            times.append({"threads": threads, "faces": count, "milliseconds": round(milliseconds, 3)})
    return {
        "bytes": path.stat().st_size,
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "milliseconds": times,
        "machine": f"{_processor()}, {os.cpu_count()} cores; onnxruntime {onnxruntime.__version__}",
    }


def count_operations(path: Path) -> tuple[int, int]:
    """Returns how many parameters a model file has, and how many multiply-adds it takes for one face.

    Convolutions and matrix products count, wherever in the graph, and so do their weights. As usual, biases,
    normalization (which is folded into them) and other element-wise operations do not.
    """
    model = onnx.load(path)
    nodes = weighted_nodes(model)
    wanted = sorted({name for node in nodes for name in (node.input[1], node.output[0])})
    given = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    asked = [name for name in wanted if name not in given]
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # or layers are merged
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(asked, {INPUT_NAME: np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8)}) if asked else []
    shapes = given | {name: list(value.shape) for name, value in zip(asked, found, strict=True)}
    multiply_adds = sum(
        math.prod(shapes[node.output[0]]) * _products(node, shapes[node.input[1]], shapes[node.output[0]])
        for node in nodes
    )
    weights = {node.input[1]: math.prod(shapes[node.input[1]]) for node in nodes}
    return sum(weights.values()), multiply_adds


def _products(node: onnx.NodeProto, weights: list[int], output: list[int]) -> int:
    """Returns how many products each number of a layer's output is the sum of."""
    if node.op_type == "Conv":
        return math.prod(weights[1:])
    return weights[-2] if node.op_type == "MatMul" else math.prod(weights) // output[-1]


def _seconds(recognizer: Recognizer, faces: np.ndarray, repeats: int = 25) -> float:
    """Returns the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        recognizer(faces)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _processor() -> str:
    """Returns the name of the processor, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
