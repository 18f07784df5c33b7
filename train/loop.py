"""The training loop, from where a run stands to its last epoch."""

import functools

import keras
import numpy as np
import tensorflow as tf

from fer_tf.errors import UserError
from fer_tf.fer2013 import PUBLIC_TEST, Split
from fer_tf.models import create_model, load_network
from fer_tf.train.augmentation import AUGMENTATIONS
from fer_tf.train.distillation import ask_in_turn, reopen_teachers
from fer_tf.train.heads import with_ghost_batches, with_votes_head
from fer_tf.train.input_pipeline import evaluation_batches, training_batches
from fer_tf.train.optimizers import create_optimizer
from fer_tf.train.prediction import predictor
from fer_tf.train.recorder import Recorder
from fer_tf.train.run_folder import RunFolder
from fer_tf.train.sam import sharpness_aware_step
from fer_tf.train.settings import Settings
from fer_tf.train.warm_start import find_start

_NORM_BATCHES = 16
"""How many training batches, at most, give the normalization statistics of the averaged weights."""

_INIT_IMAGES = 1024
"""How many training images, at most, show how the features of a model file to start from are distributed."""

_SIZE_STEP = 8
"""By how many pixels images grow from phase to phase."""


def fit(
    folder: RunFolder,
    train: Split,
    public: Split,
    targets: dict[str, np.ndarray] | None = None,
    *,
    choosing: str = PUBLIC_TEST,
) -> None:
    """Trains the folder's run to its last epoch, from where it stands.

    Args:
        folder: A run's folder, new or interrupted.
        train: The N images to learn from.
        public: The images that each epoch is measured on.
        targets: What to learn of the training images, float32 [N, columns] by name as `Settings.targets` says; None or
            nothing is their labels.
        choosing: What `public` is called.

    Raises:
        UserError: if the history does not fit the state, a file that the run needs is not there, or it diverges.
    """
    settings = folder.settings
    targets = dict(targets or {"classes": train.labels})
    evidence = targets.pop("evidence", None)
    batch_size = min(settings.batch_size, len(train))
    parts = min(settings.ghost_batches, batch_size)
    batch_size -= batch_size % parts
    steps = len(train) // batch_size
    preprocessor = folder.preprocessor()
    if folder.state.exists():
        model = load_network(folder.state)
    else:
        model = _begin(folder, train, public, choosing)
        if settings.ferplus_head:
            model = with_votes_head(model, settings.targets["votes"])
        model = with_ghost_batches(model, parts, batch_size)
        compile_model(model, settings, steps)
    first_epoch = int(model.optimizer.iterations) // steps
    rows = folder.read_history()
    if len(rows) < first_epoch:
        raise UserError(f"{folder.history}: has {len(rows)} of {first_epoch} epochs; restore it or start the run anew")
    folder.write_history(rows[:first_epoch])  # one behind the state is of an epoch that was killed before it was kept
    if first_epoch >= settings.epochs:
        return
    ask = None
    if settings.teacher and settings.teacher_views == "varied":
        ask = ask_in_turn(reopen_teachers(settings.teacher, settings.teacher_origins or ()), evidence)
    batches = functools.partial(
        training_batches,
        train.images,
        targets if settings.ferplus_head else targets["classes"],
        batch_size=batch_size,
        augmentation=AUGMENTATIONS[settings.augment],
        mixup=settings.mixup,
    )
    phases, epoch = [], first_epoch
    for end, size in growth(settings.start_size, preprocessor.image_size, settings.epochs):
        if epoch < end:
            phase = batches(
                folder.preprocessor(size),
                seed=settings.seed,
                first_epoch=epoch,
                ask=ask,
                ask_weight=settings.teacher_weight,
            )
            phases.append(phase.take((end - epoch) * steps))
            epoch = end
    recorder = Recorder(
        folder,
        norm_batches=batches(preprocessor, seed=settings.seed + 1, augmentation=None, mixup=0.0).take(
            min(_NORM_BATCHES, 1 + steps // 5)
        ),
        public_batches=evaluation_batches(public.images, preprocessor),
        public_labels=public.labels,
        choosing=choosing,
        steps=steps,
    )
    if settings.sam:
        model.train_step = sharpness_aware_step(model, settings.sam)
    model.fit(
        functools.reduce(tf.data.Dataset.concatenate, phases),
        initial_epoch=first_epoch,
        epochs=settings.epochs,
        steps_per_epoch=steps,
        callbacks=[recorder],
        shuffle=False,  # the batches are
        verbose=0,
    )


def growth(start: int | None, full: int, epochs: int) -> list[tuple[int, int]]:
    """Returns when to train on which size: the epoch that each phase ends with, and its images' height and width.

    The sizes grow by 8 pixels from `start` to `full` in phases of equal length. Small images take less time, and early
    epochs learn nearly as much from them. Normalization statistics and accuracy are always measured at full size.

    Source: Tan and Le, EfficientNetV2, 2021, arXiv 2104.00298 (progressive learning).
    """
    sizes = [*range(start or full, full, _SIZE_STEP), full]
    return [(epochs * number // len(sizes), size) for number, size in enumerate(sizes, 1)]


def _begin(folder: RunFolder, train: Split, public: Split, choosing: str) -> keras.Model:
    """Returns the network of a new run with its first weights."""
    settings, preprocessor = folder.settings, folder.preprocessor()
    keras.utils.set_random_seed(settings.seed)
    network = create_model(settings.model, settings.dataset, widths=settings.widths, precision=settings.precision)
    if settings.init:
        some = train.images[:: -(-len(train) // _INIT_IMAGES)]  # of all classes, by which they are sorted
        find_start(settings.init).load_into(network, evaluation_batches(some, preprocessor, batch_size=32))
        answers = predictor(network)(evaluation_batches(public.images, preprocessor)).argmax(axis=1)
        print(f"{choosing} with the initial weights: {(answers == public.labels).mean():.2%}")
    return network


def compile_model(model: keras.Model, settings: Settings, steps: int) -> None:
    """Gives a model the losses, metrics and optimizer of a run, whose epochs have so many steps."""
    smoothing = 0.0 if settings.targets else settings.label_smoothing  # which is in such targets already
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    options = {"loss": loss, "metrics": [accuracy]}
    if settings.ferplus_head:
        cross_entropy = keras.metrics.CategoricalCrossentropy(from_logits=True, name="cross_entropy")
        options = {
            "loss": {"classes": loss, "votes": keras.losses.CategoricalCrossentropy(from_logits=True)},
            "loss_weights": {"classes": 1.0, "votes": settings.ferplus_head},
            "metrics": {"classes": [accuracy, cross_entropy]},
        }
    # XLA makes these networks slower on a CPU.
    model.compile(create_optimizer(settings, steps), **options, jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # while tracing, it would have the step traced a second time
