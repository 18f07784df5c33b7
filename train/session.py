"""A training run from its data and settings to its report: what the commands of this room share."""

import os
from typing import Any

import numpy as np

from fer_tf import fer2013
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.ferplus import read_votes
from fer_tf.files import sha256
from fer_tf.mixture import training_shares
from fer_tf.quiet import muted_stderr
from fer_tf.recognizer import Recognizer
from fer_tf.train.run_folder import RunFolder
from fer_tf.train.settings import Settings, option_words
from fer_tf.train.warm_start import digest_of, find_start


def load_data(path: str | None, classes: list[str] | None = None) -> fer2013.Fer2013:
    """Returns a data set to train on, and prints what is odd about it.

    Args:
        path: zip, folder or CSV; None looks where `fer_tf.fer2013.find` does.
        classes: What its names or numbers of classes stand for; see `fer_tf.fer2013.load`.

    Raises:
        UserError: if there is none, or nothing in it to train on or to choose the epoch by.
    """
    data = fer2013.load(fer2013.find(path), classes=classes)
    for note in data.notes:
        print(f"note: {note}")
    usable = int((~fer2013.blanks(data.train.images)).sum())
    if not usable or not len(data.public):
        raise UserError(f"{data.source}: {usable} images to train on and {len(data.public)} to choose the epoch by")
    found = [name for name, count in zip(CLASSES, np.bincount(data.train.labels, minlength=7), strict=True) if count]
    if len(found) < 2:
        raise UserError(f"{data.source}: all training images are of {found[0]}; expected two classes or more")
    return data


def check_files(values: dict[str, Any]) -> dict[str, Any] | None:
    """Checks the files that a new run is to be made from, before anything that takes long.

    Args:
        values: Options by name, as `fer_tf.train.settings.settle` returns them.

    Returns:
        What is known of the training of the weights to start from: see `fer_tf.train.warm_start.Start.origin`.

    Raises:
        UserError: if a file is not there, or not what it should be.
        OtherNetwork: if the weights to start from are of another network.
    """
    init, teachers = values["init"], values["teacher"] or ()
    for path in filter(None, (init, values["ferplus"], *teachers)):
        if not (os.path.isfile(path) or (path == init and os.path.isdir(path))):
            raise UserError(f"{path}: no such file")
    for path in teachers:
        Recognizer(path)
    return find_start(init).origin(values["model"], values["dataset"], values["widths"]) if init else None


def create(
    folder: RunFolder, values: dict[str, Any], data: fer2013.Fer2013, init_origin: dict[str, Any] | None = None
) -> None:
    """Makes the folder of a new run.

    Args:
        folder: Where.
        values: Options by name, as `fer_tf.train.settings.settle` returns them.
        data: What it is to be trained on.
        init_origin: What `check_files` returned.

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
        raise UserError(
            f"a start size of {values['start_size']} is above the size that images grow to, {full.image_size} pixels"
        )
    values = values | {"filter": full.filter_parameters or None}
    begun_with = (init_origin or {}).get("filter")
    if begun_with and begun_with != values["filter"]:
        others = " ".join(option_words(begun_with))
        print(f"note: {values['init']} learned with the filter's {others}; it begins less accurate with another")
    folder.check_free()
    folder.check_writable()
    paths = values["teacher"] or ()
    teachers = [Recognizer(path) for path in paths]
    settings = Settings(
        **values,
        data=str(data.source),
        data_fingerprint=data.fingerprint(),
        init_origin=init_origin,
        init_sha256=digest_of(find_start(values["init"])) if values["init"] else None,
        teacher_origins=[t.card.as_origin(sha256(path)) for t, path in zip(teachers, paths, strict=True)] or None,
    )
    if settings.targets:
        from fer_tf.train.distillation import make_targets

        votes = read_votes(settings.ferplus, data.train.names) if settings.ferplus else None
        targets = make_targets(settings, data.train, teachers, votes)
        folder.check_free()  # that took minutes
        folder.write_targets(targets)
    folder.create(settings)


def complete(folder: RunFolder, data: fer2013.Fer2013) -> dict[str, Any]:
    """Trains a run to its last epoch, from where it stands, and returns what `fer_tf.train.report.write_report` does.

    Args:
        folder: A run's folder, new, interrupted or finished.
        data: What the run was begun with; its blank training images are left out.

    Raises:
        UserError: if it was begun with other images, if another training is at work there, or if it diverges.
    """
    with muted_stderr():
        from fer_tf.train.loop import fit
        from fer_tf.train.report import write_report
    settings = folder.settings
    if data.fingerprint() != settings.data_fingerprint:
        raise UserError(f"{folder.path} was trained on other images than {data.source} holds; name theirs")
    init, digest = settings.init, settings.init_sha256
    if init and digest and not folder.state.exists() and digest_of(find_start(init)) != digest:
        raise UserError(f"{init} is not what {folder.path} was to begin with; put that back or start the run anew")
    chosen = choose(data.train.images, settings)
    targets = folder.read_targets(len(data.train))
    with folder.locked():
        if folder.state.exists():
            folder.network()  # or it says that it is another
        targets = {name: values[chosen] for name, values in targets.items()}
        fit(folder, data.train[chosen], data.public, targets, choosing=data.choosing)
        shares = training_shares(data.train.labels[chosen])
        return write_report(folder, data.public, choosing=data.choosing, shares=shares)


def choose(images: np.ndarray, settings: Settings) -> np.ndarray:
    """Returns which training images a run learns from: at random at most `limit` of those that are not blank.

    Args:
        images: uint8 [N, 48, 48].
        settings: The run's.

    Returns:
        int [M], their places in order.
    """
    usable = np.flatnonzero(~fer2013.blanks(images))
    if settings.limit is None or settings.limit >= len(usable):
        return usable
    return usable[np.sort(np.random.default_rng(settings.seed).permutation(len(usable))[: settings.limit])]
