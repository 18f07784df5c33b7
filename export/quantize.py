"""Quantizes the network of a model file or run to 8 bits: `python -m export.quantize FILE.onnx --data PATH`."""

import dataclasses
import logging
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from fer_tf import fer2013
from fer_tf.card import INPUT_NAME, ModelCard
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.export.publish import check_output, compare, publish
from fer_tf.fer2013.labels import HELP
from fer_tf.files import sha256
from fer_tf.graph import WEIGHTED_OPERATORS, weighted_nodes
from fer_tf.installation import program
from fer_tf.lineage import Quantization
from fer_tf.recognizer import Recognizer, predict

if TYPE_CHECKING:
    import onnx

ALLOWED_LOSS = 0.005
"""Of accuracy on PublicTest; a file that loses more is not written."""

_BATCH = 16
_MEMBER = re.compile(r"(?:member\d+/)*")
"""What `fer_tf.export.ensemble` puts before the names of nodes, once for each time that they were joined."""

_COMPARED = 128
"""How many images the file that was written is compared with what was measured on."""


@command
def main(argv: list[str] | None = None) -> None:
    """Quantizes one model file."""
    parser = Parser(
        "export.quantize",
        description="Quantize the network in a model file to 8 bits, calibrated on training images. Preprocessing, the "
        "last layer, temperature and softmax stay in float. Nothing is written if the accuracy on PublicTest drops by "
        f"more than {100 * ALLOWED_LOSS} points.",
    )
    option = parser.add_argument
    option("file", metavar="FILE.onnx", type=Path, help="model file in float32, or a finished run's folder")
    option("--data", metavar="PATH", help="FER-2013: a zip, folder or CSV (default: $FER2013, data/fer2013.zip, …)")
    option("--classes", nargs="+", metavar="NAME=CLASS", help=HELP)
    option("-o", "--output", type=Path, metavar="OUT.onnx", help="file to write (default: FILE-int8.onnx)")
    option(
        "--images",
        type=positive(),
        default=512,
        metavar="N",
        help="number of calibration images (default: %(default)s)",
    )
    option("--force", action="store_true", help="overwrite OUT.onnx even if it was made from another file")
    arguments = parser.parse_args(argv)
    path = quantize_file(
        arguments.file,
        arguments.output,
        data=arguments.data,
        classes=arguments.classes,
        images=arguments.images,
        force=arguments.force,
    )
    print(f"next: {program('realtime.webcam')} --model {path}")


def quantize_file(
    source: Path,
    output: Path | None = None,
    *,
    data: str | None = None,
    classes: Sequence[str] | None = None,
    images: int = 512,
    force: bool = False,
) -> Path:
    """Quantizes a model file, prints what that costs on PublicTest and returns the new file's path.

    Args:
        source: A model file in float, or the folder of a finished run, which is exported first.
        output: The model file to write; None is `<stem>-int8.onnx` beside the source.
        data: FER-2013; None looks where `fer2013.find` does.
        classes: What its names or numbers of classes stand for; see `fer2013.load`.
        images: How many training images to calibrate on.
        force: Whether to replace a file that was made from another source.

    Raises:
        UserError: if source, data or output is not what it should be, or if more than `ALLOWED_LOSS` is lost.
    """
    if source.is_dir():
        from fer_tf.export.from_run import export_run
        from fer_tf.train.run_folder import RunFolder

        source = export_run(RunFolder.open(source), force=force)
    recognizer = Recognizer(source)
    card = recognizer.card
    if card.lineage.is_quantized:
        raise UserError(f"{source}: is in INT8 already, or part of it; name the file in float that it was made from")
    digest = sha256(source)
    path = output or source.with_name(f"{source.stem}-int8.onnx")
    check_output(path, [source], digest, force=force, digest_of=_float_digest)
    splits = fer2013.load(fer2013.find(data), classes=classes)
    for note in splits.notes:
        print(f"note: {note}")
    if not len(splits.train) or not len(splits.public):
        raise UserError(f"{splits.source}: it needs training images to calibrate on and a PublicTest to measure on")
    from fer_tf.metrics import measure

    public = splits.public
    answers = predict(recognizer, public.images, description=f"{splits.choosing} in float32")
    before = measure(answers, public.labels)["accuracy"]
    faces = splits.train.images[np.random.default_rng(0).permutation(len(splits.train))[:images]]
    model = quantize(source, faces)
    probabilities = _predict(model, public.images, description=f"{splits.choosing} in INT8")
    metrics = measure(probabilities, public.labels, card.temperature)
    change = metrics["accuracy"] - before
    if change < -ALLOWED_LOSS:
        raise UserError(
            f"{source}: {before:.2%} correct on {splits.choosing} would be {metrics['accuracy']:.2%} in INT8, more "
            f"than {100 * ALLOWED_LOSS} points less; nothing written. Another number of --images may do better"
        )
    quantization = Quantization("int8 of 7 bits", "uint8", len(faces), digest)
    card = dataclasses.replace(
        card,
        name=path.stem,
        training=card.lineage.quantized(quantization).record,
        metrics=metrics | {"accuracy_in_float": before, "accuracy_change": change},
    )
    compared, expected = public.images[:_COMPARED], probabilities[:_COMPARED]
    publish(model, card, path, lambda int8: compare(int8, compared, expected, source="what was measured"))
    after = f"{metrics['accuracy']:.2%} in INT8: {100 * change:+.2f} points"
    print(f"{splits.choosing}: {before:.2%} correct in float32, {after}")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB instead of {source.stat().st_size / 1e6:.1f} MB")
    return path


def quantize(source: Path, faces: np.ndarray) -> "onnx.ModelProto":
    """Returns a model with its network in INT8, and with all else, the card too, as it is in `source`.

    Weights are int8, scaled for each channel; activations are uint8. Weights use 7 of their bits, from -64 to 64:
    processors without VNNI instructions add products in pairs, in 16 bits that 2 · 255 · 127 would not fit. So every
    processor finds the same sums. The last layer stays in float: it costs nothing, and the classes differ by little
    in it. A `mirror_resnet` is computed with whole convolutions, not by parity: in 8 bits that is faster.

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

    from fer_tf.export.rewrite import plain

    model = plain(onnx.load(source))
    names = _network_layers(model)
    if not names:
        wanted = f"expected a file that {program('export.onnx')} wrote"
        raise UserError(f"{source}: has no network that can be quantized; {wanted}")
    with tempfile.TemporaryDirectory() as folder, _without_warnings():
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, before)
        quantize_static(
            before,
            after,
            Batches(),
            # What lies between them in 8 bits too would gain no time, and cost BaseCNN a third of a point.
            op_types_to_quantize=[*WEIGHTED_OPERATORS, "Relu"],
            nodes_to_quantize=names,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,  # weights of 7 bits
            extra_options={"CalibMovingAverage": True},
        )
        return onnx.load(after)


def _network_layers(model: "onnx.ModelProto") -> list[str]:
    """Returns the names of the nodes to quantize: the layers of the network, or of each in an ensemble, but its last.

    Convolutions of single channels stay in float, too: they are little work. Of a `mirror_resnet` it is what
    `fer_tf.mirror.plain.in_8_bits` returns.
    """
    from fer_tf.mirror.plain import in_8_bits
    from fer_tf.mirror.writer import SCOPE

    networks = defaultdict(list)
    for node in weighted_nodes(model):
        if not _groups(node):
            member = _MEMBER.findall(node.name)[0]
            # The exporter names the nodes of the preprocessing after the one layer that does it all.
            if not node.name.startswith((f"{member}preprocessor", f"{member}{SCOPE}")):
                networks[member].append(node.name)
    return [*(name for names in networks.values() for name in names[:-1]), *in_8_bits(model)]


def _predict(model: "onnx.ModelProto", images: np.ndarray, *, description: str) -> np.ndarray:
    """Returns the probabilities of a model that is not a file yet."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return predict(Recognizer(path), images, description=description)


def _float_digest(card: ModelCard) -> str | None:
    """Returns the SHA-256 of the file in float that a model file was made from; None if it is in float itself."""
    quantization = card.lineage.quantization
    return quantization.float_sha256 if quantization else None


def _groups(node: "onnx.NodeProto") -> bool:
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
