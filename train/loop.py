"""The training loop: a cosine, weights averaged over time, and which epoch is kept."""

import functools
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013 import Split
from fer_tf.ferplus import ANSWERS
from fer_tf.files import written_aside
from fer_tf.models import create_model, load_network
from fer_tf.train.augmentation import AUGMENTATIONS
from fer_tf.train.initial_weights import initialise
from fer_tf.train.input_pipeline import evaluation_batches, training_batches
from fer_tf.train.muon import ConvolutionMuon
from fer_tf.train.run_folder import RunFolder, Settings, kept_row
from fer_tf.train.targets import asking, teachers_again

_NORM_BATCHES = 16
"""How many training batches, at most, give the normalisation statistics of the averaged weights."""

_INIT_IMAGES = 1024
"""How many training images, at most, show how the features of a model file to start from are distributed."""

_HEADS = slice(len(CLASSES)), slice(len(CLASSES), None)
"""Which answers are of the network that is kept, and which of a second head."""

_SIZE_STEP = 8
"""By how many pixels images grow from phase to phase."""


def fit(folder: RunFolder, train: Split, public: Split) -> None:
    """Trains the folder's run to its last epoch, from where it stands.

    Args:
        folder: A run's folder, new or interrupted.
        train: The images to learn from; their labels may be probabilities, with all columns of `Settings.answers`.
        public: The images that each epoch is measured on.
    """
    settings = folder.settings
    batch_size = min(settings.batch_size, len(train))
    parts = min(settings.ghost_batches, batch_size)
    batch_size -= batch_size % parts
    steps = len(train) // batch_size
    preprocessor = folder.preprocessor()
    if folder.state.exists():
        model = load_network(folder.state)
    else:
        keras.utils.set_random_seed(settings.seed)
        model = create_model(settings.model, settings.dataset, widths=settings.widths, precision=settings.precision)
        if settings.init:
            some = train.images[:: -(-len(train) // _INIT_IMAGES)]  # of all classes, by which they are sorted
            initialise(model, settings.init, evaluation_batches(some, preprocessor, batch_size=32))
            answers = predictor(model)(evaluation_batches(public.images, preprocessor)).argmax(axis=1)
            print(f"PublicTest of the initial weights: {(answers == public.labels).mean():.2%}")
        if settings.ferplus_head:
            model = _with_second_head(model, len(ANSWERS))
        model = _in_parts(model, parts, batch_size)
        _compile(model, settings, steps)
    first_epoch = int(model.optimizer.iterations) // steps
    rows = folder.read_history()
    if len(rows) < first_epoch:
        raise UserError(f"{folder.history}: has {len(rows)} of {first_epoch} epochs; restore it or start the run anew")
    folder.write_history(rows[:first_epoch])  # one behind the state is of an epoch that was killed before it was kept
    if first_epoch >= settings.epochs:
        return
    labels, ratios = train.labels, None
    if settings.has_evidence:
        labels, ratios = np.split(labels, [-len(CLASSES)], axis=1)
    ask = None
    if settings.teacher_views == "varied":
        ask = asking(teachers_again(settings.teacher, settings.teacher_origins), ratios)
    batches = functools.partial(
        training_batches,
        train.images,
        labels,
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
    recorder = _Recorder(
        folder,
        norm_batches=batches(preprocessor, seed=settings.seed + 1, augmentation=None, mixup=0.0).take(
            min(_NORM_BATCHES, 1 + steps // 5)
        ),
        public_batches=evaluation_batches(public.images, preprocessor),
        public_labels=public.labels,
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
    epochs learn nearly as much from them. Normalisation statistics and accuracy are always measured at full size.

    Source: Tan and Le, EfficientNetV2, 2021, arXiv 2104.00298 (progressive learning).
    """
    sizes = [*range(start or full, full, _SIZE_STEP), full]
    return [(epochs * number // len(sizes), size) for number, size in enumerate(sizes, 1)]


def sharpness_aware_step(model: keras.Model, radius: float) -> Callable:
    """Returns a training step that lowers the loss not where the weights are but at the worst place near them.

    That place is found by one step up along the gradient of half of the batch, each weight by a multiple of its own
    size, so that it does not matter how large weights are; the whole batch then says how the weights themselves are to
    change. The step takes half as much time again, and the loss and accuracy that it reports are of that half,
    before the step up. The paper's η, by which weights of zero are moved, too, is left out.

    Sources: Foret et al., Sharpness-Aware Minimization, 2021, arXiv 2010.01412; the weights' own size: Kwon et al.,
    ASAM, 2021, arXiv 2102.11600.

    Args:
        model: Compiled.
        radius: How far the place is, as the norm of each weight's change over its size.

    Returns:
        For `model.train_step`: (float32 [B, H, W, C], float32 [B, 7 or more] probabilities) → metrics by name.
    """
    network, variables = _network_of(model), model.trainable_variables

    def gradients(learner: keras.Model, images: tf.Tensor, labels: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            logits = learner(images, training=True)
            loss = model.compute_loss(images, labels, logits)
        return logits, loss, tape.gradient(loss, [variable.value for variable in variables])

    def step(batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, labels = batch
        half = (tf.shape(images)[0] + 1) // 2
        logits, loss, slopes = gradients(network, images[:half], labels[:half])
        model._loss_tracker.update_state(loss)
        metrics = model.compute_metrics(images[:half], labels[:half], logits)
        before = [tf.identity(variable.value) for variable in variables]
        length = tf.linalg.global_norm([weights * slope for weights, slope in zip(before, slopes, strict=True)])
        for variable, weights, slope in zip(variables, before, slopes, strict=True):
            variable.assign(weights + tf.math.divide_no_nan(radius, length) * weights**2 * slope)
        _, _, slopes = gradients(model, images, labels)
        for variable, weights in zip(variables, before, strict=True):
            variable.assign(weights)
        model.optimizer.apply(slopes, variables)
        return metrics

    return step


def predictor(model: keras.Model) -> Callable[[tf.data.Dataset], np.ndarray]:
    """Returns a function from preprocessed batches of N images to logits, float32 [N, 7]."""
    run = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    return lambda batches: np.concatenate([run(images).numpy() for images in batches])


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean cross-entropy, in nats, of logits [N, C] to labels [N]."""
    return float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits))


def _in_parts(network: keras.Model, parts: int, batch_size: int) -> keras.Model:
    """Returns a model that sends equal parts of each batch through the network, each normalised by itself.

    The parts do not depend on each other until their logits are joined, so TensorFlow computes them side by side: on
    two cores a step is faster than with the operations of one batch spread over both.

    Source: Hoffer et al., Train longer, generalize better, 2017, arXiv 1705.08741 (ghost batch normalisation).
    """
    if parts == 1:
        return network
    images = keras.Input(network.input_shape[1:], batch_size=batch_size)
    logits = [network(part) for part in keras.ops.split(images, parts)]
    return keras.Model(images, keras.layers.Concatenate(axis=0)(logits))


def _with_second_head(network: keras.Model, answers: int) -> keras.Model:
    """Returns a model whose logits are the network's, then those of a second head on the same features.

    Source: Caruana, Multitask Learning, Machine Learning 28, 1997.
    """
    second = keras.layers.Dense(answers, dtype="float32", name="second_head")(network.layers[-1].input)
    logits = keras.layers.Concatenate(axis=1, dtype="float32")([network.output, second])
    return keras.Model(network.input, logits, name=network.name)


@keras.saving.register_keras_serializable("fer_tf")
def head_loss(y_true, y_pred, head=0):
    """Returns the cross-entropy of one head's answers, float32 [B], for probabilities and logits of both."""
    return keras.losses.categorical_crossentropy(*(values[:, _HEADS[head]] for values in (y_true, y_pred)), True)


@keras.saving.register_keras_serializable("fer_tf")
class TwoHeadLoss(keras.losses.Loss):
    """The cross-entropy of the first seven answers, and by a weight that of the others.

    Args:
        second_weight: Of the others.
        **kwargs: As of any loss.
    """

    def __init__(self, second_weight: float, **kwargs):
        super().__init__(**kwargs)
        self.second_weight = second_weight

    def call(self, y_true, y_pred):
        """Returns float32 [B] for probabilities and logits, [B, 7 + M] each; a row of zeros, for no answer, costs 0."""
        first, second = (head_loss(y_true, y_pred, head) for head in range(len(_HEADS)))
        return first + self.second_weight * second

    def get_config(self):
        """Returns what a kept state makes it from."""
        return {**super().get_config(), "second_weight": self.second_weight}


@keras.saving.register_keras_serializable("fer_tf")
def first_accuracy(y_true, y_pred):
    """Returns whether the first seven answers are right, float32 [B]."""
    return keras.metrics.categorical_accuracy(*(values[:, _HEADS[0]] for values in (y_true, y_pred)))


def _network_of(model: keras.Model) -> keras.Model:
    """Returns the network that `_in_parts` may have put into a model."""
    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)


def _compile(model: keras.Model, settings: Settings, steps: int) -> None:
    total = settings.epochs * steps
    warmup = int(min(settings.warmup_epochs * steps, total / 5))
    ema_steps = max(min(settings.ema_steps, total / 10), 1)  # a short run must not average over its whole length
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 100,
        total - warmup,
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
    )
    common = {"weight_decay": settings.weight_decay, "use_ema": True, "ema_momentum": 1 - 1 / ema_steps}
    if settings.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, **common)
    elif settings.optimizer == "muon":
        optimizer = ConvolutionMuon(schedule, **common)
    else:
        optimizer = keras.optimizers.AdamW(schedule, **common)
    mixed = settings.teacher or settings.ferplus  # such targets have smoothed labels in them
    smoothing = 0.0 if mixed else settings.label_smoothing
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    metrics = [keras.metrics.CategoricalAccuracy(name="accuracy")]
    if settings.ferplus_head:
        loss = TwoHeadLoss(settings.ferplus_head)
        kept = {"accuracy": first_accuracy, "kept_loss": head_loss}  # of the head that is kept
        metrics = [keras.metrics.MeanMetricWrapper(function, name=name) for name, function in kept.items()]
    # XLA makes these networks slower on a CPU.
    model.compile(optimizer, loss, metrics=metrics, jit_compile=False)


class _Recorder(keras.callbacks.Callback):
    """Shows the progress and, after each epoch, measures the averaged weights and keeps everything."""

    def __init__(
        self,
        folder: RunFolder,
        *,
        norm_batches: tf.data.Dataset,
        public_batches: tf.data.Dataset,
        public_labels: np.ndarray,
        steps: int,
    ):
        super().__init__()
        self._folder, self._norm_batches, self._steps = folder, norm_batches, steps
        self._public_batches, self._public_labels = public_batches, public_labels
        self._rows = folder.read_history()
        self._epochs = folder.settings.epochs

    def on_train_begin(self, logs=None):
        if self._folder.state.exists():  # as it was begun: networks change from version to version
            self._averaged = load_network(self._folder.model)
        else:
            settings = self._folder.settings
            self._averaged = create_model(settings.model, settings.dataset, widths=settings.widths)
        self._predict = predictor(self._averaged)
        self._update_norms = tf.function(lambda images: self._averaged(images, training=True), reduce_retracing=True)
        done = len(self._rows)
        self._bar = tqdm(
            total=self._epochs * self._steps,
            initial=done * self._steps,
            unit=" batches",
            desc=f"epoch {done + 1}/{self._epochs}",
            disable=None,
            smoothing=0.02,
        )

    def on_train_end(self, logs=None):
        self._bar.close()

    def on_epoch_begin(self, epoch, logs=None):
        self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}")
        # Keras does not save the state of its random layers; so each epoch has one of its own, resumed or not.
        random_layers = [layer for layer in _network_of(self.model).layers if hasattr(layer, "seed_generator")]
        for number, layer in enumerate(random_layers):
            layer.seed_generator.state.assign([self._folder.settings.seed + number, epoch << 16])
        self._started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self._average()
        logits = self._predict(self._public_batches)
        if not (np.isfinite(logs["loss"]) and np.isfinite(logits).all()):
            raise UserError(f"the training diverged in epoch {epoch + 1}; start anew with a lower --learning-rate")
        row = {
            "epoch": epoch + 1,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "loss": logs.get("kept_loss", logs["loss"]),
            "accuracy": logs["accuracy"],
            "public_loss": cross_entropy(logits, self._public_labels),
            # As it is kept: what is equal there is equal here, so a resumed run keeps the same epoch.
            "public_accuracy": round(float((logits.argmax(axis=1) == self._public_labels).mean()), 6),
            "seconds": time.monotonic() - self._started,
        }
        self._rows.append(row)
        self._folder.write_history(self._rows)
        is_kept = kept_row(self._rows, self._folder.settings.keep) is row
        # Both are written before either takes its place, so that a kill has little time to come between.
        with written_aside(self._folder.state) as state:
            self.model.save(state)
            if is_kept:
                with written_aside(self._folder.model) as model:
                    self._averaged.save(model)
        self._say(row)

    def _average(self) -> None:
        """Gives `_averaged` the averaged weights, and normalisation statistics that belong to them.

        The running statistics were gathered under the raw weights, and under the averaged ones the activations are
        distributed otherwise. So they are gathered anew, from nothing, over some batches of training images as they
        are: so are the faces that the network will be given.
        """
        raw = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        self._averaged.set_weights(self.model.get_weights()[: len(self._averaged.weights)])  # no second head
        self.model.set_weights(raw)
        norms = [layer for layer in self._averaged.layers if isinstance(layer, keras.layers.BatchNormalization)]
        for variable in (variable for norm in norms for variable in norm.non_trainable_variables):
            variable.assign(tf.zeros_like(variable))
        batches = 0
        for images, _ in self._norm_batches:
            self._update_norms(images)
            batches += 1
        for norm in norms:
            for variable in norm.non_trainable_variables:
                variable.assign(variable / (1 - norm.momentum**batches))  # what is left of the zeros

    def _say(self, row: dict[str, float]) -> None:
        left = (self._epochs - row["epoch"]) * row["seconds"] / 60
        mark = " (best)" if kept_row(self._rows) is row else ""
        tqdm.write(
            f"epoch {row['epoch']:.0f}/{self._epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.2%}, "
            f"PublicTest {row['public_accuracy']:.2%}{mark}, {row['seconds']:.0f} s, {left:.0f} min left"
        )
        sys.stdout.flush()  # for those who follow a log file
