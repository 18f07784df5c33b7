"""The optimizer of a run: its learning rate, its averaged weights, and Muon for convolutions."""

import math

import keras
from keras import ops

from fer_tf.train.settings import Settings


def create_optimizer(settings: Settings, steps: int) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run.

    Its learning rate rises to its peak, then falls to zero along a cosine. It keeps an exponential average of the
    weights.

    Args:
        settings: The run's.
        steps: Steps in an epoch.
    """
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
        return SGD(schedule, momentum=0.9, nesterov=True, **common)
    if settings.optimizer == "muon":
        return ConvolutionMuon(schedule, **common)
    return AdamW(schedule, **common)


class _DecayAtOneRate(keras.optimizers.Optimizer):
    """Weight decay that computes the learning rate once in a step.

    Keras computes it again for each variable, which makes the graph of a step larger and slower to trace.
    """

    def _apply_weight_decay(self, variables):
        rate = self.learning_rate
        for variable in variables:
            if self._use_weight_decay(variable):
                self.assign_sub(variable, variable * self.weight_decay * rate)


@keras.saving.register_keras_serializable("fer_tf")
class AdamW(_DecayAtOneRate, keras.optimizers.AdamW):
    """Keras's AdamW, quicker to begin."""


@keras.saving.register_keras_serializable("fer_tf")
class SGD(_DecayAtOneRate, keras.optimizers.SGD):
    """Keras's SGD, quicker to begin."""


@keras.saving.register_keras_serializable("fer_tf")
class ConvolutionMuon(_DecayAtOneRate, keras.optimizers.Muon):
    """Muon for the kernels of convolutions, and AdamW for all other weights, at one learning rate and decay.

    A step of Muon is the momentum of the gradients with all its singular values set to about one, so that a kernel
    learns in rare directions, too. A kernel [height, width, in, out] becomes a matrix [height · width · in, out]. Steps
    are as long as AdamW's: their root mean square is 0.2 times the learning rate.

    Sources: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024,
    https://kellerjordan.github.io/posts/muon/; for the length of a step Liu et al., Muon is Scalable for LLM Training,
    2025, arXiv 2502.16982.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: Decoupled, as in AdamW.
        **kwargs: See `keras.optimizers.Muon`.
    """

    def __init__(self, learning_rate=0.001, *, weight_decay=0.004, **kwargs):
        super().__init__(learning_rate, weight_decay=weight_decay, **{**kwargs, "adam_weight_decay": weight_decay})

    def _should_use_adamw(self, variable) -> bool:
        return len(variable.shape) != 4

    def _muon_update_step(self, gradient, variable, lr, m):
        height, width, inputs, outputs = variable.shape
        matrix = height * width * inputs, outputs
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        direction = ops.reshape(gradient + self.momentum * m, matrix)
        update = self.zeropower_via_newtonschulz5(direction, self.ns_steps)
        update = update * (lr * self.rms_rate * math.sqrt(max(matrix)))
        self.assign_sub(variable, ops.reshape(update, variable.shape))
