"""Layers that the networks share."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("fer_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization of channels-last images, trained with TensorFlow's fused operation.

    Keras's own takes many passes over the feature map and would dominate a training step on a CPU. The running variance
    is the unbiased estimate, as in PyTorch. Momentum and ε have PyTorch's defaults.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None):
        """Normalizes float32 or bfloat16 [N, H, W, C], in training with the batch's own statistics."""
        if not training:
            return super().call(inputs, training=False)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running * self.momentum + batch * (1 - self.momentum))
        return outputs
