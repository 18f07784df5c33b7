"""The tf.data pipelines: shuffle, batch, augment, preprocess, mix, prefetch."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fer_tf.classes import CLASSES

Targets = np.ndarray | dict[str, np.ndarray]
"""What to learn of N images: labels, int [N], or their probabilities, float32 [N, 7]; or a dict with that as
`classes`, and other targets, float32 [N, M]."""


def training_batches(
    images: np.ndarray,
    targets: Targets,
    preprocessor: Callable[[tf.Tensor], tf.Tensor],
    *,
    batch_size: int,
    augmentation: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None,
    seed: int,
    first_epoch: int = 0,
    ask: Callable | None = None,
    ask_weight: float = 0.0,
    mixup: float = 0.0,
) -> tf.data.Dataset:
    """Returns an endless data set of training batches, epoch after epoch.

    Order and augmentation depend on the seed, the epoch and the batch alone. So a resumed run, which starts at
    `first_epoch`, sees what it would have seen without the interruption. The images stay in memory as uint8. Each
    epoch leaves out the few images that do not fill its last batch, other ones each time.

    Args:
        images: uint8 [N, 48, 48].
        targets: What to learn of them, by name for a model of several outputs.
        preprocessor: uint8 [B, 48, 48] → float32 [B, H, W, C], mapped after the augmentation.
        batch_size: At most N.
        augmentation: One of `fer_tf.train.augmentation.AUGMENTATIONS`: uint8 [B, 48, 48] and a seed → varied images.
        seed: Of order and augmentation.
        first_epoch: Which epoch to start with, from 0.
        ask: Asked what the varied images show: uint8 [B, 48, 48], step, int [B] places in `images` → float32 [B, 7].
        ask_weight: Weight of these answers in the probabilities of the classes, 0 to 1.
        mixup: Parameter of `mix`; 0 mixes nothing.

    Returns:
        (float32 [B, H, W, C], float32 [B, 7] or a dict with that as `classes`) batches, N // batch_size of them an
        epoch.
    """
    count = len(images)
    named = targets if isinstance(targets, dict) else {"classes": targets}
    with tf.device("cpu"):
        all_images = tf.constant(images)
        all_targets = {
            name: tf.one_hot(values, len(CLASSES)) if values.ndim == 1 else tf.constant(values, tf.float32)
            for name, values in named.items()
        }

    @tf.autograph.experimental.do_not_convert
    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, epoch])
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return batches.enumerate(start=epoch * (count // batch_size))

    def prepare(step: tf.Tensor, chosen: tf.Tensor) -> tuple:
        faces = tf.gather(all_images, chosen)
        truth = {name: tf.gather(values, chosen) for name, values in all_targets.items()}
        if augmentation:
            faces = augmentation(faces, [tf.constant(seed, tf.int64), step])
        if ask:
            answers = tf.numpy_function(ask, [faces, step, chosen], tf.float32, stateful=False)
            answers = tf.ensure_shape(answers, [batch_size, len(CLASSES)])
            truth["classes"] = (1 - ask_weight) * truth["classes"] + ask_weight * answers
        inputs = preprocessor(faces)
        if mixup:
            inputs, truth = mix(inputs, truth, mixup, seed=[tf.constant(~seed, tf.int64), step])
        return inputs, truth if isinstance(targets, dict) else truth["classes"]

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max)
    return _prepared(epochs.flat_map(epoch_batches), prepare, ahead=4)


def mix(
    inputs: tf.Tensor, targets: dict[str, tf.Tensor], alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Mixes each image, and its targets, with another one of the batch.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2017, arXiv 1710.09412.

    Args:
        inputs: float32 [B, H, W, C].
        targets: float32 [B, M] by name.
        alpha: Both parameters of the beta distribution that gives each image its share, above 0.
        seed: int [2].

    Returns:
        The mixed images and targets.
    """
    # A beta variable is one gamma variable's share of two.
    gammas = tf.random.stateless_gamma([2, tf.shape(inputs)[0]], seed, alpha)
    share = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])

    def mixed(values: tf.Tensor) -> tf.Tensor:
        shares = tf.reshape(share, [-1] + [1] * (len(values.shape) - 1))
        return shares * values + (1 - shares) * values[::-1]

    return mixed(inputs), {name: mixed(values) for name, values in targets.items()}


def evaluation_batches(
    images: np.ndarray,
    preprocessor: Callable[[tf.Tensor], tf.Tensor],
    *,
    batch_size: int = 256,
) -> tf.data.Dataset:
    """Returns the images once, in order, preprocessed: float32 [B, H, W, C] batches of uint8 [N, 48, 48]."""
    batches = tf.data.Dataset.from_tensor_slices(images).batch(batch_size)
    return _prepared(batches, preprocessor, ahead=2)


def _prepared(batches: tf.data.Dataset, prepare: Callable, *, ahead: int) -> tf.data.Dataset:
    """Returns the batches after `prepare`, some of them made ahead, on all cores.

    TensorFlow does not tune how many at once: an iterator that it tunes may end only when its tuner next wakes up, from
    pauses that double each time, so that going through a split may take twice as long.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    prepare = tf.autograph.experimental.do_not_convert(prepare)  # it has no loops to rewrite
    return batches.map(prepare, num_parallel_calls=os.cpu_count()).prefetch(ahead).with_options(options)
