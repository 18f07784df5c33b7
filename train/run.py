"""Trains a network: `python -m train.run --dataset stack_sharpen`."""

import argparse
import dataclasses
import math
import os
import sys
import time
from pathlib import Path

import numpy as np

from fer_tf import fer2013
from fer_tf.catalogue import ARCHITECTURES, DATASETS
from fer_tf.command import Parser, amount, command, positive, seed, share
from fer_tf.errors import UserError, is_out_of_memory
from fer_tf.ferplus import read_votes
from fer_tf.files import sha256
from fer_tf.quiet import muted_stderr
from fer_tf.recognizer import Recognizer
from fer_tf.train.run_folder import (
    AUGMENTATIONS,
    KEEPS,
    OPTIMIZERS,
    PRECISIONS,
    TEACHER_VIEWS,
    Busy,
    RunFolder,
    Settings,
    option_words,
)

DEFAULTS = {
    "model": "base_cnn",
    "widths": None,
    "dataset": "stack_sharpen",
    "epochs": 60,
    "batch_size": 128,
    "optimizer": "adamw",
    "learning_rate": 1.5e-3,
    "weight_decay": 0.02,
    "mixup": 0.0,
    "sam": 0.0,
    "ghost_batches": 1,
    "precision": "float32",
    "seed": 0,
    "limit": None,
    "augment": "standard",
    "filter": None,
    "image_size": None,
    "start_size": None,
    "init": None,
    "teacher": None,
    "teacher_weight": 0.7,
    "teacher_views": "plain",
    "ferplus": None,
    "ferplus_weight": 0.5,
    "ferplus_head": 0.0,
    "label_smoothing": 0.1,
    "keep": "best",
}
"""What a new run is made of unless its option or its network's recipe says otherwise; a resumed run keeps its own."""


def settle(given: dict) -> dict:
    """Returns all that a new run is made of: what is given, and for the rest the network's recipe and `DEFAULTS`."""
    values = {**DEFAULTS, **ARCHITECTURES[given.get("model", DEFAULTS["model"])].recipe, **given}
    for source in ("teacher", "ferplus"):
        if not values[source]:
            values[f"{source}_weight"] = 0.0
    if values["ferplus_head"] and "ferplus_weight" not in given:
        values["ferplus_weight"] = 0.0
    return values


def _parameter(text: str) -> tuple[str, float]:
    """An argparse type for a named number."""
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not (name and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER")
    return name, value


class _AsDict(argparse.Action):
    """Makes a dict of named numbers."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, dict(values))


def _parser() -> Parser:
    parser = Parser(
        "train.run",
        description="Train a network on FER-2013 or own face crops in class folders. PrivateTest is not looked at.",
        epilog="Exit codes: 0 done, 2 wrong input, 130 interrupted (continue with --resume).",
    )
    option = parser.add_argument
    option("--dataset", choices=DATASETS, help=f"what the network is fed (default {DEFAULTS['dataset']})")
    option("--model", choices=ARCHITECTURES, help=f"architecture (default {DEFAULTS['model']})")
    option(
        "--widths",
        nargs="+",
        type=positive(),
        metavar="CHANNELS",
        help="channels of the first convolution and of each stage of a se_resnet or mirror_resnet, to make it smaller "
        "or larger (default: 32 64 128 224)",
    )
    option("--data", help="zip, folder or CSV (default $FER2013, data/fer2013.zip, ../shared/data/fer2013.zip)")
    option("--epochs", type=positive(), help=f"default {DEFAULTS['epochs']}")
    option("--batch-size", type=positive(), help=f"default {DEFAULTS['batch_size']}")
    option(
        "--optimizer",
        choices=OPTIMIZERS,
        help="muon turns the steps of convolutions into orthogonal ones, and learns far more in few epochs "
        "(default: the network's recipe)",
    )
    option("--learning-rate", type=positive(float), help="its peak (default: the network's recipe)")
    option("--weight-decay", type=amount, help="a step, times the learning rate (default: the recipe)")
    option("--mixup", type=amount, metavar="ALPHA", help="mix images with each other (default: no)")
    option(
        "--sam",
        type=amount,
        metavar="RHO",
        help="sharpness-aware minimisation, in its adaptive form: learn weights that stay good when they are moved by "
        "this much, such as 0.7; half as much time again (default: no)",
    )
    option(
        "--ghost-batches",
        type=positive(),
        metavar="N",
        help="parts of a batch, each normalised by itself (default: the recipe)",
    )
    option(
        "--precision",
        choices=PRECISIONS,
        help="what training computes in; bfloat16 saves time on processors made for it (AMX or AVX-512 BF16) and may "
        f"take more on others; the model that comes out is float32 either way (default {DEFAULTS['precision']})",
    )
    option("--seed", type=seed, help=f"of weights, order and augmentation (default {DEFAULTS['seed']})")
    option("--limit", type=positive(), help="train on this many images only, chosen at random (default all)")
    option(
        "--augment",
        choices=AUGMENTATIONS,
        help="how images are varied; light: half as much and nothing erased, for few epochs; camera and light-camera: "
        "as standard and light, and one in four is dark, blurred and noisy as of a poor camera "
        f"(default {DEFAULTS['augment']})",
    )
    option(
        "--filter",
        nargs="+",
        type=_parameter,
        action=_AsDict,
        metavar="NAME=NUMBER",
        help="parameters of the data set's filter: low, high and sigma of canny, amount and sigma of sharpen",
    )
    option("--image-size", type=positive(), metavar="PIXELS", help="what the network is fed (default: 48; resnet50 96)")
    option("--start-size", type=positive(), metavar="PIXELS", help="begin with smaller images; faster (not base_cnn)")
    option(
        "--init", metavar="PATH", help="start from the weights of a run's folder, a model file or a PyTorch checkpoint"
    )
    option("--teacher", nargs="+", metavar="FILE.onnx", help="learn from what these models say of the images, too")
    option("--teacher-weight", type=share, help=f"their part (default {DEFAULTS['teacher_weight']})")
    option(
        "--teacher-views",
        choices=TEACHER_VIEWS,
        help="what they are asked of: the images as they are, once, or as they are varied for the network, each time, "
        "one of them a batch in turn; --resume then needs their files, and those in INT8 answer fastest (default "
        f"{DEFAULTS['teacher_views']})",
    )
    option("--ferplus", metavar="FILE.csv", help="learn from the votes of FER+, too")
    option(
        "--ferplus-weight",
        type=share,
        help=f"their part; with --teacher the power of their evidence (default {DEFAULTS['ferplus_weight']})",
    )
    option(
        "--ferplus-head",
        type=amount,
        metavar="WEIGHT",
        help="teach the votes to a second head on the same features instead, which is not kept; weight of its loss, "
        "such as 1 (default: no)",
    )
    option("--label-smoothing", type=share, help=f"default {DEFAULTS['label_smoothing']}")
    option(
        "--keep",
        choices=KEEPS,
        help="epoch that the model is of: the best on PublicTest, or the last, as where --init names a network so good "
        f"that the first epoch, hardly changed, is the best by chance (default {DEFAULTS['keep']})",
    )
    option("--output", help="run folder (default runs/<time>-<model>-<dataset>)")
    option("--resume", metavar="DIR", help="continue the run in this folder; needs no other option")
    return parser


@command
def main(argv: list[str] | None = None) -> int:
    """Trains, or continues, one run and writes its report."""
    arguments = vars(_parser().parse_args(argv))
    output, resume, data_path = (arguments.pop(name) for name in ("output", "resume", "data"))
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given.keys() & {"init", "ferplus"}:
        given[name] = os.path.abspath(given[name])
    if "teacher" in given:
        given["teacher"] = [os.path.abspath(path) for path in given["teacher"]]
    for source in ("teacher", "ferplus"):
        if f"{source}_weight" in given and source not in given and not resume:
            raise UserError(f"--{source}-weight without --{source} has nothing to weigh; name it or leave both away")
    if "teacher_views" in given and "teacher" not in given and not resume:
        raise UserError("--teacher-views without --teacher has nobody to ask; name one or leave both away")
    if given.get("ferplus_head") and "ferplus" not in given and not resume:
        raise UserError("--ferplus-head without --ferplus has no votes to learn; name their table with --ferplus")
    init_origin = None if resume else _check_files(given)
    folder = _opened(resume, output, given) if resume else _new(output, given)
    data = load_data(data_path or (folder.settings.data if resume else None))
    if not resume:
        create(folder, settle(given), data, init_origin)
    try:
        report = complete(folder, data)
    except (KeyboardInterrupt, BrokenPipeError):  # the latter if what read the output has gone
        epochs = len(folder.read_history())
        print(
            f"\nstopped after {epochs} of {folder.settings.epochs} epochs; "
            f"continue with: python -m train.run --resume {folder.path}",
            file=sys.stderr,
        )
        return 130
    except Busy:
        raise
    except Exception as error:
        if not resume and (isinstance(error, UserError | ModuleNotFoundError) or is_out_of_memory(error)):
            folder.discard_unstarted()
        raise
    print(f"PublicTest {report['accuracy']:.2%} at epoch {report['epoch']}, temperature {report['temperature']:.3f}")
    print(f"{folder.path}: model.keras, history.csv, settings.json, public.json, curves.png, confusion.png")
    print(f"next: python -m export.onnx {folder.path}")
    return 0


def load_data(path: str | None) -> fer2013.Fer2013:
    """Returns a data set to train on, and prints what is odd about it.

    Args:
        path: zip, folder or CSV; None looks where `fer_tf.fer2013.find` does.

    Raises:
        UserError: if there is none, or nothing in it to train on or to choose the epoch by.
    """
    data = fer2013.load(fer2013.find(path))
    for note in data.notes:
        print(f"note: {note}")
    usable = int((~fer2013.blanks(data.train.images)).sum())
    if not usable or not len(data.public):
        raise UserError(f"{data.source}: {usable} images to train on and {len(data.public)} to choose the epoch by")
    return data


def create(folder: RunFolder, values: dict, data: fer2013.Fer2013, init_origin: dict | None = None) -> None:
    """Makes the folder of a new run.

    Args:
        folder: Where.
        values: What `settle` returns.
        data: What it is to be trained on.
        init_origin: What is known of the training of the weights to start from.

    Raises:
        UserError: if these settings do not go together, or if there is a run in the folder.
    """
    with muted_stderr():
        from fer_tf.models import check_widths
        from fer_tf.preprocessing.preprocessor import create_preprocessor
    if values["widths"]:
        check_widths(values["model"], values["widths"])
    full, start = (  # or they say why not
        create_preprocessor(values["dataset"], values["model"], image_size=size, filter_parameters=values["filter"])
        for size in (values["image_size"], values["start_size"])
    )
    if values["start_size"] and start.image_size > full.image_size:
        size = values["start_size"]
        raise UserError(f"--start-size {size} is above the size that images grow to, {full.image_size} pixels")
    values = values | {"filter": full.filter_parameters or None}
    begun_with = (init_origin or {}).get("filter")
    if begun_with and begun_with != values["filter"]:
        others = " ".join(option_words(begun_with))
        print(f"note: what --init names learned with --filter {others}; it begins less right with another")
    folder.check_free()
    folder.check_writable()
    init, origins = values["init"], None
    begun = {"init_origin": init_origin, "init_sha256": _digest(init) if init else None}
    if values["teacher"] or values["ferplus"]:
        paths = values["teacher"] or ()
        teachers = [Recognizer(path) for path in paths]
        origins = [teacher.card.as_origin(sha256(path)) for teacher, path in zip(teachers, paths, strict=True)]
        targets = _targets(values, data.train, teachers)
        folder.check_free()  # that took minutes
        folder.write_targets(targets)
    source = {"data": str(data.source), "data_fingerprint": data.fingerprint()}
    folder.create(Settings(**values, **source, **begun, teacher_origins=origins))


def complete(folder: RunFolder, data: fer2013.Fer2013) -> dict:
    """Trains a run to its last epoch, from where it stands, and returns what `fer_tf.train.report.write_report` does.

    Args:
        folder: A run's folder, new, interrupted or finished.
        data: What the run was begun with; its blank training images are left out.

    Raises:
        UserError: if it was begun with other images, if another training is at work there, or if it diverges.
    """
    with muted_stderr():
        from fer_tf.train.report import write_report
        from fer_tf.train.training import fit
    if data.fingerprint() != folder.settings.data_fingerprint:
        raise UserError(f"{folder.path} was trained on other images than {data.source} holds; name theirs with --data")
    init, digest = folder.settings.init, folder.settings.init_sha256
    if digest and not folder.state.exists() and _digest(init) != digest:
        raise UserError(f"{init} is not what {folder.path} was to begin with; put that back or start the run anew")
    train = data.train
    if folder.settings.teacher or folder.settings.ferplus:
        train = dataclasses.replace(train, labels=folder.read_targets(len(train)))
    train = train[~fer2013.blanks(train.images)]
    with folder.locked():
        fit(folder, _limited(train, folder.settings), data.public)
        return write_report(folder, data.public)


def _targets(values: dict, train: fer2013.Split, teachers: list[Recognizer]) -> np.ndarray:
    """Returns what a new run is to keep by `RunFolder.write_targets`."""
    from fer_tf.train.targets import evidence, soft_targets

    votes = read_votes(values["ferplus"], train.names) if values["ferplus"] else None
    mixed = votes if values["ferplus_weight"] else None
    asked_later = values["teacher_views"] == "varied"
    opinions = {} if asked_later else {"teachers": teachers, "votes": mixed}
    options = {name: values[name] for name in ("teacher_weight", "ferplus_weight", "label_smoothing")}
    targets = [soft_targets(train, **opinions, **options)]
    if values["ferplus_head"]:
        targets.append(votes.all_shares)
    if asked_later and mixed is not None:
        targets.append(evidence(mixed, train.labels, values["ferplus_weight"]))
    return np.concatenate(targets, axis=1, dtype=np.float32)


def _origin_of(init: str, architecture: str, dataset: str, widths: list[int] | None) -> dict | None:
    """Returns what is known of the training of the weights to start from: of a checkpoint nothing.

    Raises:
        UserError: if they are not of such a network.
    """
    if os.path.isdir(init):
        run = RunFolder.open(init)
        if not run.model.is_file():
            raise UserError(f"--init {init}: has come to no epoch; continue it with --resume {init}, or name another")
        origin, found = run.record(), (run.settings.model, run.settings.dataset)
    elif init.endswith(".keras"):
        raise UserError(f"--init {init}: name the folder of the run, {os.path.dirname(init)}")
    elif init.endswith(".onnx"):
        card = Recognizer(init).card
        if "members" in card.training:
            raise UserError(f"--init {init}: is joined of several; name one of them: {card.source_file}")
        if "quantization" in card.training:
            raise UserError(f"--init {init}: is in INT8; name the file in float that it was made from")
        if card.arithmetic != "standard":
            print(f"note: {init} learned by the first project's arithmetic of filters and sizes; it begins less right")
        origin, found = card.training, (card.architecture, card.dataset)
    else:
        with muted_stderr():
            from fer_tf.catalogue import channels
            from fer_tf.train.initial_weights import read_checkpoint
        read_checkpoint(init, architecture, channels(dataset, architecture))
        return None
    if found != (architecture, dataset):
        raise UserError(
            f"--init {init}: is a {found[0]} for {found[1]}, not a {architecture} for {dataset}; "
            f"train it with --model {found[0]} --dataset {found[1]}"
        )
    if (own := origin.get("widths")) != widths:
        wanted = f"give --widths {' '.join(option_words(own))}" if own else "leave --widths away"
        raise UserError(f"--init {init}: is a {architecture} of other widths; {wanted}")
    return origin


def _digest(init: str) -> str:
    """Returns the SHA-256 of the file that weights to start from are read from."""
    path = RunFolder(init).model if os.path.isdir(init) else init
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file")
    return sha256(path)


def _limited(train: fer2013.Split, settings: Settings) -> fer2013.Split:
    """Returns at most `limit` of the images, chosen at random."""
    if settings.limit is None or settings.limit >= len(train):
        return train
    chosen = np.random.default_rng(settings.seed).permutation(len(train))[: settings.limit]
    return train[np.sort(chosen)]


def _check_files(given: dict) -> dict | None:
    """Returns what `_origin_of` says of the weights that a new run is to start from.

    Raises:
        UserError: if a file that it is to be made from is not there, or not what it should be.
    """
    init, teachers = given.get("init"), given.get("teacher", ())
    for path in filter(None, (init, given.get("ferplus"), *teachers)):
        if not (os.path.isfile(path) or (path == init and os.path.isdir(path))):
            raise UserError(f"{path}: no such file")
    for path in teachers:
        Recognizer(path)
    deciding = ("model", "dataset", "widths")
    return _origin_of(init, *(given.get(name, DEFAULTS[name]) for name in deciding)) if init else None


def _new(output: str | None, given: dict) -> RunFolder:
    """Returns the folder of a new run, which is not made yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    model, dataset = (given.get(name, DEFAULTS[name]) for name in ("model", "dataset"))
    folder = RunFolder(output or os.path.join("runs", f"{stamp}-{model}-{dataset}"))
    folder.check_free()
    return folder


def _opened(path: str, output: str | None, given: dict) -> RunFolder:
    """Returns the run to continue, if no option contradicts it."""
    folder = RunFolder.open(path)
    if output is not None and Path(output).absolute() != folder.path.absolute():
        raise UserError(f"--resume {path} continues in its own folder; leave --output away")
    settings = folder.settings
    for name, value in given.items():
        kept = getattr(settings, name)
        if value != kept and not (name == "filter" and value.items() <= (kept or {}).items()):
            option, kept, value = name.replace("_", "-"), *(" ".join(option_words(words)) for words in (kept, value))
            raise UserError(f"{path} is a run with --{option} {kept}, not {value}; leave the option away or start anew")
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
