"""The optimizer that turns each convolution's steps into orthogonal ones."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("fer_tf")
class ConvolutionMuon(keras.optimizers.Muon):
    """Muon for the kernels of convolutions, and AdamW for all other weights, at one learning rate and decay.

    A step of Muon is the momentum of the gradients with all its singular values made about one, so that a kernel
    learns in rare directions, too. A kernel [height, width, in, out] is taken as a matrix [height · width · in, out].
    Steps are as long as those of AdamW: of 0.2 in the root mean square, times the learning rate.

    Sources: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024,
    https://kellerjordan.github.io/posts/muon/; for the length of a step Liu et al., Muon is Scalable for LLM Training,
    2025, arXiv 2502.16982.

    Args:
        learning_rate: Of both, a number or a schedule.
        weight_decay: Of both, apart from the gradient, as in AdamW.
        **kwargs: As of `keras.optimizers.Muon`.
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
