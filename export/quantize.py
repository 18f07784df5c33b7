"""Makes the network of a model file compute in 8 bits: `python -m export.quantize FILE.onnx --data PATH`."""

import dataclasses
import logging
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fer_tf import fer2013
from fer_tf.card import INPUT_NAME, METADATA_KEY
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.export.output import check_output
from fer_tf.files import sha256, written_aside
from fer_tf.recognizer import Recognizer, predict

ALLOWED_LOSS = 0.005
"""Of accuracy on PublicTest; a file that loses more is not written."""

_BATCH = 16
_KEY = "quantization"
_MEMBER = re.compile(r"(?:member\d+/)*")
"""What `fer_tf.export.ensemble` puts before the names of nodes, once for each time that they were joined."""

# What lies between them in 8 bits too would gain no time, and cost BaseCNN a third of a point.
_LAYERS = ("Conv", "Gemm", "MatMul")


@command
def main(argv: list[str] | None = None) -> None:
    """Quantizes one model file."""
    parser = Parser(
        "export.quantize",
        description="Write a model file whose network computes in 8 bits, calibrated on training images. "
        "Preprocessing, last layer, temperature and softmax stay in float. It is refused if it loses more than "
        f"{100 * ALLOWED_LOSS} points of accuracy on PublicTest.",
    )
    option = parser.add_argument
    option("file", metavar="FILE.onnx", type=Path, help="model file in float")
    option("--data", metavar="PATH", help="FER-2013 as zip, folder or CSV (default: $FER2013, data/fer2013.zip)")
    option("-o", "--output", type=Path, metavar="OUT", help="model file (default: <stem>-int8.onnx beside FILE)")
    option("--images", type=positive(), default=512, metavar="N", help="to calibrate on (default %(default)s)")
    option("--force", action="store_true", help="replace a file that was made from something else")
    arguments = parser.parse_args(argv)
    path = quantize_file(
        arguments.file, arguments.output, data=arguments.data, images=arguments.images, force=arguments.force
    )
    print(f"next: python -m realtime.webcam --model {path}")


def quantize_file(
    source: Path, output: Path | None = None, *, data: str | None = None, images: int = 512, force: bool = False
) -> Path:
    """Quantizes a model file, prints what that costs on PublicTest and returns the new file's path.

    Args:
        source: A model file in float.
        output: The model file to write; None is `<stem>-int8.onnx` beside the source.
        data: FER-2013; None looks where `fer2013.find` does.
        images: How many training images to calibrate on.
        force: Whether to replace a file that was made from another source.

    Raises:
        UserError: if source, data or output is not what it should be, or if more than `ALLOWED_LOSS` is lost.
    """
    recognizer = Recognizer(source)
    card = recognizer.card
    if _quantized(card.training):
        raise UserError(f"{source}: is in INT8 already, or part of it; name the file in float that it was made from")
    digest = sha256(source)
    path = output or source.with_name(f"{source.stem}-int8.onnx")
    check_output(
        path, [source], digest, force=force, digest_of=lambda card: card.training.get(_KEY, {}).get("float_sha256")
    )
    splits = fer2013.load(fer2013.find(data))
    if not len(splits.train) or not len(splits.public):
        raise UserError(f"{splits.source}: it needs training images to calibrate on and a PublicTest to measure on")
    import onnx

    from fer_tf.metrics import measure

    public = splits.public
    before = measure(predict(recognizer, public.images, description="PublicTest in float32"), public.labels)["accuracy"]
    faces = splits.train.images[np.random.default_rng(0).permutation(len(splits.train))[:images]]
    model = quantize(source, faces)
    with written_aside(path) as temporary:
        onnx.save(model, temporary)
        probabilities = predict(Recognizer(temporary), public.images, description="PublicTest in INT8")
        metrics = measure(probabilities, public.labels, card.temperature)
        change = metrics["accuracy"] - before
        if change < -ALLOWED_LOSS:
            raise UserError(
                f"{source}: {before:.2%} correct on PublicTest would be {metrics['accuracy']:.2%} in INT8, more than "
                f"{100 * ALLOWED_LOSS} points less; nothing written. Another number of --images may do better"
            )
        quantization = {
            "weights": "int8 of 7 bits",
            "activations": "uint8",
            "images": len(faces),
            "float_sha256": digest,
        }
        card = dataclasses.replace(
            card,
            name=path.stem,
            training=card.training | {_KEY: quantization},
            metrics=metrics | {"accuracy_in_float": before, "accuracy_change": change},
        )
        onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, temporary)
        Recognizer(temporary)
    print(f"PublicTest: {before:.2%} correct in float32, {metrics['accuracy']:.2%} in INT8: {100 * change:+.2f} points")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB instead of {source.stat().st_size / 1e6:.1f} MB")
    return path


def quantize(source: Path, faces: np.ndarray) -> "onnx.ModelProto":  # noqa: F821
    """Returns a model with its network in INT8, and with all else, the card too, as it is in `source`.

    Weights are int8, scaled for each channel; activations are uint8. Weights use 7 of their bits, from -64 to 64:
    processors without VNNI instructions add products in pairs, in 16 bits that 2 · 255 · 127 would not fit. So every
    processor finds the same sums. The last layer stays in float: it costs nothing, and the classes differ by little
    in it.

    Args:
        source: A model file in float.
        faces: uint8 [N, 48, 48], to calibrate on. The range of an activation is the average of its ranges in the
            batches, since the extremes of all faces are so rare that they would waste most levels.

    Raises:
        UserError: if the file has no network that can be quantized.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Batches(CalibrationDataReader):
        def __init__(self):
            starts = range(0, len(faces), _BATCH)
            self._starts = iter(tqdm(starts, desc="calibration", unit="batch", disable=None))

        def get_next(self) -> dict[str, np.ndarray] | None:
            start = next(self._starts, None)
            return None if start is None else {INPUT_NAME: faces[start : start + _BATCH]}

    names = _network_layers(onnx.load(source))
    if not names:
        raise UserError(f"{source}: has no network that can be quantized; expected a file that export.onnx wrote")
    with tempfile.TemporaryDirectory() as folder, _without_warnings():
        path = Path(folder) / "model.onnx"
        quantize_static(
            shutil.copy(source, folder),  # onnxruntime writes a file beside it, and removes that again
            path,
            Batches(),
            op_types_to_quantize=list(_LAYERS),
            nodes_to_quantize=names,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # weights of 7 bits
            extra_options={"CalibMovingAverage": True},
        )
        model = onnx.load(path)
    model.producer_name, model.producer_version = "fer-tf", ""
    return model


def _network_layers(model: "onnx.ModelProto") -> list[str]:  # noqa: F821
    """Returns the names of the nodes to quantize: the layers of the network, or of each in an ensemble, but its last.

    Those that convolve each channel by itself stay in float, too: in a network computed by parity they add neighbours
    and turn signs, which 8 bits would only blur.
    """
    networks = defaultdict(list)
    for node in model.graph.node:
        if node.op_type in _LAYERS and not _groups(node):
            member = _MEMBER.match(node.name).group()
            # The exporter names the nodes of the preprocessing after the one layer that does it all.
            if not node.name.startswith(f"{member}preprocessor"):
                networks[member].append(node.name)
    return [name for names in networks.values() for name in names[:-1]]


def _quantized(training: dict) -> bool:
    """Tells whether a model, or one of those that it is joined of, is in INT8."""
    return _KEY in training or any(_quantized(member["training"]) for member in training.get("members", ()))


def _groups(node: "onnx.NodeProto") -> bool:  # noqa: F821
    """Tells whether a convolution has groups of channels."""
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps onnxruntime from recommending preparations that our exporter makes itself."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    raise SystemExit(main())
