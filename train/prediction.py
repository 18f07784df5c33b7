"""What a network says of images outside of training."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def predictor(model: keras.Model) -> Callable[[tf.data.Dataset], np.ndarray]:
    """Returns a function from preprocessed batches of N images to logits, float32 [N, 7]."""
    run = tf.function(lambda images: model(images, training=False), autograph=False, reduce_retracing=True)
    return lambda batches: np.concatenate([run(images).numpy() for images in batches])


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean cross-entropy, in nats, of logits [N, C] to labels [N]."""
    return float(keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits))
