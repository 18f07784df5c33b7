"""Makes a model file of a Keras network and its card, and proves it before it is kept."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from keras import ops

from fer_tf.card import INPUT_NAME, OUTPUT_NAME, ModelCard
from fer_tf.catalogue import ARCHITECTURES, IMAGE_SIZE, imported
from fer_tf.classes import CLASSES
from fer_tf.export.publish import TOLERANCE, compare, publish
from fer_tf.recognizer import Recognizer

OPSET = 18
_BATCH = 32


def convert(
    network: keras.Model,
    preprocessor: keras.layers.Layer,
    card: ModelCard,
    path: Path | str,
    *,
    faces: np.ndarray | None = None,
    check: Callable[[Recognizer], None] | None = None,
    tolerance: float = TOLERANCE,
) -> float:
    """Writes a model file: preprocessing, network, temperature and softmax in one graph.

    A network is written by its `exported_as`, if it has one. The file takes its place only after onnxruntime has agreed
    with the network as it was trained, at batch sizes 1 and 32: see `publish`.

    Args:
        network: float32 [N, H, W, C] → logits, float32 [N, 7].
        preprocessor: uint8 [N, 48, 48] → float32 [N, H, W, C].
        card: What goes into the metadata; its temperature divides the logits.
        path: The file to write, `.onnx`.
        faces: uint8 [N ≥ 32, 48, 48] to compare on; None takes `proof_faces`.
        check: A further proof, which raises if the file, as onnxruntime runs it, fails it.
        tolerance: Largest difference from Keras that is allowed, as in `fer_tf.export.publish.compare`.

    Returns:
        The largest difference of a probability between onnxruntime and Keras that was measured.

    Raises:
        UserError: if `path` does not end in `.onnx`, or if the file fails its proof; nothing is written then.
    """
    signature = [tf.TensorSpec((None, IMAGE_SIZE, IMAGE_SIZE), tf.uint8, name=INPUT_NAME)]

    @tf.function(input_signature=signature, autograph=False)
    def recognize(faces):
        logits = network(preprocessor(faces), training=False)
        return ops.softmax(logits / card.temperature, axis=-1)

    architecture = ARCHITECTURES.get(network.name)
    if architecture and architecture.exported_as:
        preprocessing = to_onnx(tf.function(lambda faces: preprocessor(faces), signature, autograph=False))
        graph = imported(architecture.exported_as)(network, preprocessing, card.temperature)
    else:
        graph = to_onnx(recognize)
    _name_interface(graph)
    faces = proof_faces() if faces is None else faces
    differences = []

    def prove(recognizer: Recognizer) -> None:
        single, batch = range(8), range(0, len(faces) - _BATCH + 1, _BATCH)
        for chunk in [*(faces[n : n + 1] for n in single), *(faces[n : n + _BATCH] for n in batch)]:
            expected = recognize(tf.constant(chunk)).numpy()
            differences.append(compare(recognizer, chunk, expected, source="Keras", tolerance=tolerance))
        if check:
            check(recognizer)

    publish(graph, card, Path(path), prove)
    return max(differences)


def to_onnx(function: tf.types.experimental.PolymorphicFunction) -> onnx.ModelProto:
    """Returns the graph of a `tf.function` that has an input signature, in opset 18."""
    handlers: dict[str, tuple[Callable, list]] = {"UnsortedSegmentSum": (_segment_sum, [])}
    graph, _ = tf2onnx.convert.from_function(
        function, function.input_signature, opset=OPSET, custom_op_handlers=handlers
    )
    return graph


def proof_faces(count: int = 64, seed: int = 0) -> np.ndarray:
    """Returns generated images to compare on, uint8 [count, 48, 48]: smooth, rough, flat and extreme ones."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] / IMAGE_SIZE
    waves = random.uniform(-6, 6, (2, count, 1, 1))
    smooth = 127.5 + 90 * np.sin(waves[0] * rows + waves[1] * columns + random.uniform(0, 6, (count, 1, 1)))
    noise = random.normal(0, 1, (count, IMAGE_SIZE, IMAGE_SIZE)) * random.uniform(0, 60, (count, 1, 1))
    images = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    images[:3] = np.array([0, 255, 128], np.uint8)[:, None, None]
    images[3] = random.integers(0, 2, images[3].shape) * 255
    return images


def _segment_sum(graph: tf2onnx.graph.Graph, node: tf2onnx.graph.Node, name: str, arguments: list) -> None:
    """Converts a sum of vectors' elements by segment into one scatter; the converter's own makes one-hot encodings."""
    data, segments, count = node.input
    outputs, kind, shapes = list(node.output), graph.get_dtype(data), node.output_shapes
    graph.remove_node(node.name)
    shape = graph.make_node("Reshape", [count, graph.make_const(f"{name}_one", np.array([1], np.int64)).output[0]])
    size = graph.make_node("Cast", shape.output, attr={"to": onnx.TensorProto.INT64})
    zero = onnx.helper.make_tensor("value", kind, [1], [0])
    sums = graph.make_node("ConstantOfShape", size.output, attr={"value": zero})
    graph.make_node(
        "ScatterElements",
        [sums.output[0], segments, data],
        attr={"axis": 0, "reduction": "add"},
        name=name,
        outputs=outputs,
        dtypes=[kind],
        shapes=shapes,
    )


def _name_interface(graph: onnx.ModelProto) -> None:
    """Renames the output and the batch dimension, which the converter names after its own insides."""
    found = graph.graph.output[0].name
    for node in graph.graph.node:
        node.output[:] = [OUTPUT_NAME if name == found else name for name in node.output]
        node.input[:] = [OUTPUT_NAME if name == found else name for name in node.input]
    graph.graph.output[0].name = OUTPUT_NAME
    for value, shape in (
        (graph.graph.input[0], (IMAGE_SIZE, IMAGE_SIZE)),
        (graph.graph.output[0], (len(CLASSES),)),
    ):
        dimensions = value.type.tensor_type.shape.dim
        del dimensions[:]
        for size in ("batch", *shape):
            dimensions.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})
    del graph.graph.value_info[:]  # they still carry the old names
