"""Averages model files in one file: `python -m export.ensemble A.onnx B.onnx -o C.onnx`."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_tf import fer2013, weights
from fer_tf.card import INPUT_NAME, OUTPUT_NAME, ModelCard
from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.export.publish import check_output, compare, publish
from fer_tf.fer2013.labels import HELP
from fer_tf.files import sha256
from fer_tf.installation import program
from fer_tf.lineage import Ensemble
from fer_tf.mixture import average_shares
from fer_tf.recognizer import Recognizer, predict

if TYPE_CHECKING:
    import onnx

_COMPARED = 128
"""How many images the file that was written is compared with its members on."""


@command
def main(argv: list[str] | None = None) -> None:
    """Joins model files."""
    parser = Parser(
        "export.ensemble",
        description="Combine model files into one that averages their probabilities, and calibrate it on PublicTest. "
        "Each model keeps its own preprocessing.",
    )
    option = parser.add_argument
    option(
        "files",
        nargs="+",
        metavar="FILE.onnx",
        help="model files, or names of models that are present; with --mirror, one is enough",
    )
    option("-o", "--output", type=Path, required=True, metavar="OUT.onnx", help="file to write")
    option("--mirror", action="store_true", help="also average over mirrored faces, at twice the cost")
    option("--data", metavar="PATH", help="FER-2013: a zip, folder or CSV (default: $FER2013, data/fer2013.zip, …)")
    option("--classes", nargs="+", metavar="NAME=CLASS", help=HELP)
    option("--force", action="store_true", help="overwrite OUT.onnx even if it was made from other files")
    arguments = parser.parse_args(argv)
    join_files(
        arguments.files,
        arguments.output,
        mirror=arguments.mirror,
        data=arguments.data,
        classes=arguments.classes,
        force=arguments.force,
    )
    print(f"next: {program('realtime.webcam')} --model {arguments.output}")


def join_files(
    sources: Sequence[Path | str],
    output: Path,
    *,
    mirror: bool = False,
    data: str | None = None,
    classes: Sequence[str] | None = None,
    force: bool = False,
) -> None:
    """Writes a model file that averages others, and prints what it scores on PublicTest.

    Args:
        sources: Model files, or names of models that are present, each of them once.
        output: The model file to write.
        mirror: Whether each also sees the mirrored faces.
        data: FER-2013; None looks where `fer2013.find` does.
        classes: What its names or numbers of classes stand for; see `fer2013.load`.
        force: Whether to replace a file that was made from other sources.

    Raises:
        UserError: if sources, data or output are not what they should be.
    """
    paths = [weights.find(source) for source in sources]
    members = [Recognizer(path) for path in paths]
    digests = [sha256(path) for path in paths]
    names = ", ".join(path.name for path in paths)
    if len(set(digests)) < len(digests):
        raise UserError(f"{names}: one of them is named twice; an average needs different model files")
    alike = all(member.card.is_mirror_equivariant for member in members)
    if mirror and alike:
        raise UserError(f"{names}: answers alike for mirrored faces anyway; leave --mirror away")
    if len(sources) == 1 and not mirror:
        raise UserError(f"{names}: is alone; name more model files to average{'' if alike else ', or use --mirror'}")
    digest = hashlib.sha256("".join([*digests, "mirror" * mirror]).encode()).hexdigest()
    check_output(output, paths, digest, force=force)
    splits = fer2013.load(fer2013.find(data), classes=classes)
    for note in splits.notes:
        print(f"note: {note}")
    public = splits.public
    if not len(public):
        raise UserError("the data has no PublicTest to calibrate on; name another --data")
    import onnx

    from fer_tf.metrics import fit_temperature, measure

    answers = _answers(members, public.images, mirror)
    average = np.maximum(np.mean(answers, axis=0), np.finfo(np.float32).tiny)
    temperature = fit_temperature(np.log(average), public.labels)
    probabilities = _calibrated(average, temperature)
    metrics = measure(probabilities, public.labels, temperature)
    cards = [member.card for member in members]
    origins = [card.as_origin(digest) for card, digest in zip(cards, digests, strict=True)]
    card = ModelCard(
        name=output.stem,
        architecture=_joined(card.architecture for card in cards),
        dataset=_joined(card.dataset for card in cards),
        arithmetic=_joined(card.arithmetic for card in cards),
        framework=_joined(card.framework for card in cards),
        source_file=names,
        source_sha256=digest,
        training=Ensemble.of(origins, mirror=mirror).record,
        metrics=metrics,
        temperature=temperature,
        training_shares=average_shares([card.training_shares for card in cards]),
    )
    try:
        graph = join([onnx.load(path) for path in paths], temperature, mirror=mirror)
    except Exception as error:  # onnx's exceptions have no common base but this
        if isinstance(error, UserError):
            raise
        raise UserError(f"{names}: the graphs cannot be joined ({error}); export them again") from None
    faces, expected = public.images[:_COMPARED], probabilities[:_COMPARED]
    publish(graph, card, output, lambda joined: compare(joined, faces, expected, source="the average of its members"))
    for source, alone in zip(paths, answers, strict=False):  # the mirrored ones stand behind
        print(f"{source}: {(alone.argmax(axis=1) == public.labels).mean():.2%} on {splits.choosing}")
    print(f"{output}: {metrics['accuracy']:.2%} on {splits.choosing}, temperature {temperature:.3f}")


def join(models: Sequence["onnx.ModelProto"], temperature: float, *, mirror: bool = False) -> "onnx.ModelProto":
    """Returns a model that gives softmax(log(average of the models' probabilities) / temperature).

    Networks that can share convolutions do: see `fer_tf.export.rewrite.stacked`.

    Args:
        models: Of model files; they are not changed.
        temperature: Above 0.
        mirror: Whether to average over the mirrored faces, too.

    Raises:
        UserError: if they are of different opsets.
    """
    import onnx
    from onnx import TensorProto, compose, helper

    from fer_tf.export.rewrite import stacked

    opsets = {(opset.domain, opset.version) for model in models for opset in model.opset_import}
    if len({domain for domain, _ in opsets}) < len(opsets):
        raise UserError("the model files are of different ONNX opsets; export them again")

    def constant(name: str, kind: int, values: list) -> onnx.TensorProto:
        return helper.make_tensor(name, kind, [len(values)], values)

    together = stacked(models)
    models = [together] if together else models
    initializers = [helper.make_tensor("temperature", TensorProto.FLOAT, [], [temperature])]
    nodes, answers, fed = [], [], INPUT_NAME
    if mirror:
        fed = "both"
        bounds = {"from": -1, "to": -(2**31), "axis": 2, "step": -1}
        initializers += [constant(f"mirror/{name}", TensorProto.INT64, [value]) for name, value in bounds.items()]
        initializers += [constant("halves", TensorProto.INT64, [2, -1, 7]), constant("first", TensorProto.INT64, [0])]
        nodes += [
            helper.make_node("Slice", [INPUT_NAME, *(f"mirror/{name}" for name in bounds)], ["mirrored"]),
            helper.make_node("Concat", [INPUT_NAME, "mirrored"], [fed], axis=0),
        ]
    for number, model in enumerate(models):
        prefix = f"member{number}/"
        graph = compose.add_prefix(model, prefix).graph
        nodes += [helper.make_node("Identity", [fed], [prefix + INPUT_NAME]), *graph.node]
        initializers += graph.initializer
        answers.append(prefix + OUTPUT_NAME)
        if mirror:
            halves, mean = f"halves{number}", f"mean{number}"
            nodes.append(helper.make_node("Reshape", [answers[-1], "halves"], [halves]))
            nodes.append(helper.make_node("ReduceMean", [halves, "first"], [mean], keepdims=0))
            answers[-1] = mean
    nodes += [
        helper.make_node("Mean", answers, ["average"]),
        helper.make_node("Log", ["average"], ["logits"]),
        helper.make_node("Div", ["logits", "temperature"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], [OUTPUT_NAME], axis=-1),
    ]
    first = models[0]
    graph = helper.make_graph(nodes, "ensemble", first.graph.input, first.graph.output, initializers)
    imports = [helper.make_opsetid(*opset) for opset in sorted(opsets)]
    version = max(model.ir_version for model in models)
    return helper.make_model(graph, opset_imports=imports, ir_version=version)


def _answers(members: Sequence[Recognizer], images: np.ndarray, mirror: bool) -> list[np.ndarray]:
    """Returns what each member says, float32 [N, 7], then what each says of the mirrored images if these count."""
    answers = [predict(member, images, description=member.card.name) for member in members]
    if mirror:
        mirrored = np.ascontiguousarray(images[:, :, ::-1])
        answers += [predict(member, mirrored, description=member.card.name) for member in members]
    return answers


def _calibrated(average: np.ndarray, temperature: float) -> np.ndarray:
    powers = average.astype(np.float64) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def _joined(names: Iterable[str]) -> str:
    return "+".join(dict.fromkeys(names))


if __name__ == "__main__":
    raise SystemExit(main())
