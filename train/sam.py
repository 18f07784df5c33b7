"""Sharpness-aware minimization."""

from collections.abc import Callable
from typing import TypeAlias

import keras
import tensorflow as tf

from fer_tf.train.heads import network_of

Targets: TypeAlias = tf.Tensor | dict[str, tf.Tensor]
"""Of one output, or of several by name."""


def sharpness_aware_step(model: keras.Model, radius: float) -> Callable:
    """Returns a training step that lowers the loss at the worst place near the weights.

    That place is one step up along the gradient of half of the batch, each weight moved by a multiple of its own size,
    so the scale of the weights does not matter. The gradient there, of the whole batch, then changes the weights. The
    step takes half as much time again. The loss and metrics that it reports are of that half, before the step up. The
    paper's η, which also moves weights of zero, is left out.

    Sources: Foret et al., Sharpness-Aware Minimization, 2021, arXiv 2010.01412; the scale by weight: Kwon et al., ASAM,
    2021, arXiv 2102.11600.

    Args:
        model: Compiled.
        radius: How far the place is, as the norm of each weight's change over its size.

    Returns:
        For `model.train_step`: (float32 [B, H, W, C], targets as the model was compiled for) → metrics by name.
    """
    network, variables = network_of(model), model.trainable_variables

    def gradients(learner: keras.Model, images: tf.Tensor, labels: Targets) -> tuple:
        with tf.GradientTape() as tape:
            logits = learner(images, training=True)
            loss = model.compute_loss(images, labels, logits)
        return logits, loss, tape.gradient(loss, [variable.value for variable in variables])

    def step(batch: tuple[tf.Tensor, Targets]) -> dict[str, tf.Tensor]:
        images, labels = batch
        half = (tf.shape(images)[0] + 1) // 2
        some_images, some_labels = tf.nest.map_structure(lambda values: values[:half], (images, labels))
        logits, loss, slopes = gradients(network, some_images, some_labels)
        model._loss_tracker.update_state(loss)
        metrics = model.compute_metrics(some_images, some_labels, logits)
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
