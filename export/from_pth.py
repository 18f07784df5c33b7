"""Converts a PyTorch checkpoint to a model file: `python -m export.from_pth Resnet50_Original.pth`."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_tf import catalogue, fer2013
from fer_tf.card import ModelCard
from fer_tf.catalogue import DATASETS
from fer_tf.classes import ALIASES, CHALLENGE_CLASSES, CLASSES, ORDERS
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.export.publish import check_output, compare
from fer_tf.fer2013.labels import HELP
from fer_tf.files import sha256
from fer_tf.installation import program
from fer_tf.lineage import Imported
from fer_tf.pytorch.checkpoint import read_state_dict
from fer_tf.pytorch.forward import torch_logits
from fer_tf.quiet import muted_stderr
from fer_tf.recognizer import Recognizer

KNOWN_FILES = {
    "basecnn": "original",
    "resnet50original": "original",
    "resnet50stackorisharpen": "stack_sharpen",
    "resnet50stackorihistmedian": "stack_hist_median",
}
"""Data sets of the first project's checkpoints, by file name in lower case without separators."""

ORDERS_OF_LABELS = {name: tuple(label for label in order if label in CLASSES) for name, order in ORDERS.items()}
"""The order of a network's answers by the name of the data set that it was trained on."""

TOLERANCE = 1e-4
_MARGIN = 2e-4

_CLEAR = 3.0
"""By how many standard errors another order of labels must be better for the import to stop."""


@command
def main(argv: list[str] | None = None) -> None:
    """Imports one checkpoint."""
    parser = Parser(
        "export.from_pth",
        description="Convert a PyTorch checkpoint of a BaseCNN or ResNet50 to one ONNX file that includes its original "
        "preprocessing. The file is compared with PyTorch's own forward pass before it is kept.",
    )
    option = parser.add_argument
    option("file", metavar="FILE.pth", help="checkpoint (.pth, .safetensors) with a state_dict; no code in it is run")
    option("-o", "--output", metavar="OUT.onnx", help="file to write (default: FILE.onnx)")
    option("--dataset", choices=DATASETS, help="what the network was trained on (default: inferred from the file name)")
    option(
        "--labels",
        nargs="+",
        metavar="NAME",
        help="the classes in the order of the network's answers, or the name of an order: "
        f"{', '.join(ORDERS_OF_LABELS)}; csv is the challenge's, {' '.join(CHALLENGE_CLASSES)} (default: alphabetical, "
        f"{' '.join(CLASSES)}, as torchvision's ImageFolder has them)",
    )
    option("--image-size", type=positive(), metavar="PIXELS", help="input size of a ResNet50 (default: 224)")
    option("--temperature-data", metavar="PATH", help="FER-2013, to calibrate on its PublicTest (default: none)")
    option("--classes", nargs="+", metavar="NAME=CLASS", help=HELP)
    option("--force", action="store_true", help="overwrite OUT.onnx even if it was made from another checkpoint")
    arguments = parser.parse_args(argv)
    if arguments.classes and not arguments.temperature_data:
        parser.error("--classes says how to read --temperature-data, which is missing")
    path = import_checkpoint(
        Path(arguments.file),
        arguments.output,
        dataset=arguments.dataset,
        labels=arguments.labels,
        image_size=arguments.image_size,
        temperature_data=arguments.temperature_data,
        classes=arguments.classes,
        force=arguments.force,
    )
    print(f"next: {program('realtime.webcam')} --model {path}")


def import_checkpoint(
    source: Path,
    output: Path | str | None = None,
    *,
    dataset: str | None = None,
    labels: Sequence[str] | None = None,
    image_size: int | None = None,
    temperature_data: str | None = None,
    classes: Sequence[str] | None = None,
    force: bool = False,
) -> Path:
    """Imports a checkpoint, prints how far it is from PyTorch and returns the model file's path.

    Args:
        source: A `.pth` file.
        output: The model file; None is `<stem>.onnx` beside the source.
        dataset: One of `fer_tf.catalogue.DATASETS`; None takes it from the file's name.
        labels: The classes in the order of the network's answers, or one of `ORDERS_OF_LABELS`; None is alphabetical.
        image_size: Height and width of a ResNet50's input in pixels; None is 224.
        temperature_data: FER-2013, on whose PublicTest the temperature is fitted; None leaves it at 1.
        classes: What names or numbers of classes stand for in that data; see `fer2013.load`.
        force: Whether to replace a file that was made from another source.

    Raises:
        UserError: if the checkpoint, the data set or the output is not what it should be, or if another order of labels
            is clearly more accurate on the data for the temperature.
    """
    order = _order_of(labels)
    state = read_state_dict(source)
    digest = sha256(source)
    path = Path(output or source.with_suffix(".onnx"))
    check_output(path, [source], digest, force=force)
    data = fer2013.load(fer2013.find(temperature_data), classes=classes) if temperature_data else None
    for note in data.notes if data else ():
        print(f"note: {note}")
    if data and not len(data.public):
        raise UserError(f"{data.source}: has no PublicTest to fit the temperature on")
    with muted_stderr():
        from scipy.special import softmax

        from fer_tf.export.convert import convert, proof_faces
        from fer_tf.models import create_model
        from fer_tf.preprocessing.preprocessor import create_preprocessor
        from fer_tf.pytorch.port import identify, in_our_order, port
    try:
        architecture, channels, answers = identify(state)
        if answers != len(CLASSES):
            raise UserError(f"its last layer is for {answers} classes; expected {len(CLASSES)}: {', '.join(CLASSES)}")
        dataset = _dataset_of(source, dataset, architecture, channels)
        network = create_model(architecture, dataset)
        state = in_our_order(state, order)
        port(state, network)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    if image_size is None and architecture == "resnet50":
        image_size = 224
    preprocessor = create_preprocessor(dataset, architecture, image_size=image_size, arithmetic="original")
    temperature, metrics = _calibrated(source, network, preprocessor, data, order) if data else (1.0, {})
    card = ModelCard(
        name=path.stem,
        architecture=architecture,
        dataset=dataset,
        arithmetic="original",
        framework="torch",
        source_file=source.name,
        source_sha256=digest,
        training=Imported(preprocessor.resizing).record,
        metrics=metrics,
        temperature=temperature,
    )
    faces = proof_faces()
    logits = torch_logits(state, np.asarray(preprocessor(faces)))
    if not np.isfinite(logits).all():
        raise UserError(f"{source}: PyTorch answers with NaN or infinite values; this checkpoint is of no use")
    expected = softmax(logits / temperature, axis=1)
    convert(
        network,
        preprocessor,
        card,
        path,
        faces=faces,
        check=lambda recognizer: _prove(recognizer, faces, expected),
        tolerance=TOLERANCE,  # what a stranger's weights may make of rounding errors; PyTorch is the measure here
    )
    print(f"{path}: {architecture} on {dataset}, {path.stat().st_size / 1e6:.1f} MB")
    assumed = "" if labels else ", as assumed; others are told by --labels"
    print(f"its answers are, in order, {', '.join(order)}{assumed}")
    return path


def _order_of(labels: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the classes in the order of a network's answers."""
    if not labels:
        return CLASSES
    words = [word.strip().lower() for text in labels for word in text.split(",") if word.strip()]
    if len(words) == 1 and words[0] in ORDERS_OF_LABELS:
        return ORDERS_OF_LABELS[words[0]]
    order = tuple(ALIASES.get(word, word) for word in words)
    if sorted(order) != sorted(CLASSES):
        raise UserError(
            f"--labels {' '.join(labels)[:80]!r}: expected {', '.join(CLASSES)} in the network's order, or one of "
            f"{', '.join(ORDERS_OF_LABELS)}"
        )
    return order


def _dataset_of(source: Path, dataset: str | None, architecture: str, channels: int) -> str:
    """Returns the data set of a checkpoint, if it fits the network."""
    fitting = [name for name in DATASETS if catalogue.channels(name, architecture) == channels and "canny" not in name]
    if not fitting:
        raise UserError(f"is a {architecture} of {channels} channels; no data set has that many")
    if dataset is None:
        dataset = KNOWN_FILES.get(re.sub(r"[^a-z0-9]", "", source.stem.lower()))
        if dataset is None:
            raise UserError(
                f"its name does not say what the network was fed; name it with --dataset: {', '.join(fitting)}"
            )
    if catalogue.channels(dataset, architecture) != channels:
        expected = catalogue.channels(dataset, architecture)
        raise UserError(
            f"takes {channels} channels, but {dataset} has {expected}; expected --dataset {' or '.join(fitting)}"
        )
    if "canny" in dataset:
        raise UserError(f"--dataset {dataset}: the original's Canny is noise made by overflow and is not implemented")
    return dataset


def _calibrated(
    source: Path, network, preprocessor, data: fer2013.Fer2013, order: tuple[str, ...]
) -> tuple[float, dict]:
    """Returns the temperature fitted on PublicTest and the figures there, if no other order of labels is better."""
    from scipy.special import softmax

    from fer_tf.metrics import fit_temperature, measure

    public = data.public
    logits = np.concatenate(
        [
            network(preprocessor(public.images[start : start + 64]), training=False).numpy()
            for start in range(0, len(public), 64)
        ]
    )
    _check_order(source, logits.argmax(axis=1), data, order)
    temperature = fit_temperature(logits, public.labels)
    return temperature, measure(softmax(logits / temperature, axis=1), public.labels, temperature)


def _check_order(source: Path, answers: np.ndarray, data: fer2013.Fer2013, order: tuple[str, ...]) -> None:
    """Prints the accuracy with this order of labels and with the best other one.

    Raises:
        UserError: if the other is clearly better, by McNemar's test.
    """
    right = answers == data.public.labels
    places = np.array([order.index(name) for name in CLASSES])[answers]  # in the network's own order
    others = {
        name: np.array([CLASSES.index(label) for label in labels])[places] == data.public.labels
        for name, labels in ORDERS_OF_LABELS.items()
        if labels != order
    }
    name, other = max(others.items(), key=lambda item: item[1].sum())
    found = f"{right.mean():.2%} correct on {len(right):,} images ({data.choosing}) with labels in this order"
    only_other, only_this = int((other & ~right).sum()), int((right & ~other).sum())
    if only_other - only_this > _CLEAR * (only_other + only_this) ** 0.5:
        raise UserError(
            f"{source}: only {found} ({' '.join(order)}), but {other.mean():.2%} in that of {name}; "
            f"give --labels {name}"
        )
    print(f"{found}, {other.mean():.2%} in that of {name}")


def _prove(recognizer: Recognizer, faces: np.ndarray, expected: np.ndarray) -> None:
    """Compares the file with PyTorch's probabilities for the faces, and prints how far apart they are."""
    difference = compare(recognizer, faces, expected, source="PyTorch", tolerance=TOLERANCE)
    best = np.sort(expected, axis=1)
    clear = best[:, -1] - best[:, -2] > _MARGIN
    if (recognizer(faces).argmax(axis=1) != expected.argmax(axis=1))[clear].any():
        raise UserError("onnxruntime and PyTorch disagree about the top class; nothing written")
    print(f"PyTorch and onnxruntime differ by at most {difference:.1e} on {len(faces)} faces, with the same top class")


if __name__ == "__main__":
    raise SystemExit(main())
