"""Mirror-equivariant SE-ResNet: by design, a face and its mirror image get the same answer."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import layers, ops

from fer_tf.classes import CLASSES
from fer_tf.models.layers import BatchNormalization


def mirror_resnet(
    channels: int,
    *,
    widths: Sequence[int] = (32, 64, 128, 224),
    blocks: Sequence[int] = (1, 1, 1),
    dropout: float = 0.3,
) -> keras.Model:
    """Returns the network.

    Mirroring the image mirrors all feature maps and swaps the two halves of their channels. The mean of both halves is
    pooled, so a face and its mirror image have the same logits, up to rounding. Before each convolution of stride 2,
    2×2 average pooling smooths the features, so the answer depends less on subpixel shifts. The network has half as
    many weights as an SE-ResNet of the same widths. As `fer_tf.mirror.parity` writes it, it also takes half as
    many multiply-adds.

    Sources: Cohen and Welling, Group Equivariant Convolutional Networks, 2016, arXiv 1602.07576 (here the group is the
    identity and the left-right mirror); Zhang, Making Convolutional Networks Shift-Invariant Again, 2019, arXiv
    1904.11486; and those of `fer_tf.models.se_resnet`.

    Args:
        channels: Planes of the input, 1 or 2.
        widths: Channels of the first convolution and of each stage; even.
        blocks: Residual blocks in each stage.
        dropout: Share of the pooled features that is dropped in training.

    Returns:
        A model: float32 [N, H, W, channels] of 8 × 8 pixels or more → logits, float32 [N, 7].
    """
    images = keras.Input((None, None, channels), name="images")
    features = layers.ReLU()(_convolution(images, widths[0], 1, "stem", lifting=True))
    for stage, (width, count) in enumerate(zip(widths[1:], blocks, strict=True), 1):
        features = layers.AveragePooling2D(2, strides=1, name=f"stage{stage}.smooth")(features)
        features = layers.ReLU()(_convolution(features, width, 2, f"stage{stage}.down"))
        for block in range(count):
            features = _residual(features, width, f"stage{stage}.{block}")
    features = layers.Dropout(dropout, name="dropout")(_pooled(features))
    logits = layers.Dense(len(CLASSES), dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name="mirror_resnet")


@keras.saving.register_keras_serializable("fer_tf")
class MirrorConvolution(layers.Layer):
    """3×3 convolution, without bias, whose filters come in mirrored pairs.

    Filter i of the second half is filter i of the first with its columns reversed and, unless it is `lifting`, the
    halves of its input channels swapped. So mirroring the input mirrors the output and swaps its halves.

    Args:
        filters: Channels of the output; even.
        stride: 1 or 2. The output has size ⌈H/stride⌉ × ⌈W/stride⌉. An even width cannot be halved symmetrically, so
            the windows of one half end at the right border, and those of the other begin at the left.
        lifting: Whether the input channels are images and not halves of features.
    """

    def __init__(self, filters: int, stride: int = 1, lifting: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stride, self.lifting = filters, stride, lifting

    def build(self, shape):
        """Creates the kernels of the first half, [3, 3, C, filters / 2]."""
        self.kernel = self.add_weight((3, 3, shape[-1], self.filters // 2), keras.initializers.HeNormal, name="kernel")

    def call(self, features):
        """Convolves [N, H, W, C] of any size."""
        kernel = ops.cast(self.kernel, self.compute_dtype)
        mirrored = self.mirrored(kernel)
        if self.stride == 1:
            return tf.nn.conv2d(features, ops.concatenate([kernel, mirrored], axis=-1), 1, "SAME")
        # Padded beforehand, since TensorFlow is much slower with explicit paddings.
        height, width = ops.shape(features)[1:3]
        rows = (height % 2, 1)
        halves = []
        for name, filters, columns in (("first", kernel, (width % 2, 1)), ("second", mirrored, (1, width % 2))):
            padded = tf.pad(features, ((0, 0), rows, columns, (0, 0)))
            halves.append(tf.nn.conv2d(padded, filters, self.stride, "VALID", name=name))  # --init looks for it
        return ops.concatenate(halves, axis=-1)

    def mirrored(self, kernel):
        """Returns the second filter of each pair from the first: [3, 3, C, filters / 2] both."""
        reversed_columns = kernel[:, ::-1]
        return reversed_columns if self.lifting else ops.roll(reversed_columns, kernel.shape[2] // 2, axis=2)

    def compute_output_shape(self, shape):
        """Returns [N, ⌈H/stride⌉, ⌈W/stride⌉, filters]."""
        sides = (None if side is None else -(-side // self.stride) for side in shape[1:3])
        return (shape[0], *sides, self.filters)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "stride": self.stride, "lifting": self.lifting}


@keras.saving.register_keras_serializable("fer_tf")
class MirrorNormalization(BatchNormalization):
    """Batch normalization whose statistics and factors the two halves of the channels share."""

    def build(self, shape):
        """Creates γ, β, mean and variance of the first half, [C / 2] each."""
        super().build((*shape[:-1], shape[-1] // 2))
        self.input_spec = None

    def call(self, inputs, training=None):
        """Normalizes float32 or bfloat16 [N, H, W, C]."""
        if training:
            # The halves side by side, as one image with twice as many columns.
            count, height, width, channels = ops.shape(inputs)
            halves = ops.reshape(inputs, (count, height, 2 * width, channels // 2))
            return ops.reshape(super().call(halves, training=True), (count, height, width, channels))
        values = (self.moving_mean, self.moving_variance, self.beta, self.gamma)
        mean, variance, beta, gamma = (ops.tile(ops.cast(value, "float32"), 2) for value in values)
        outputs = ops.batch_normalization(
            ops.cast(inputs, "float32"), mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, shape):
        """Returns the input's shape."""
        return shape


def _convolution(features, width: int, stride: int, name: str, *, last: bool = False, lifting: bool = False):
    """Convolves and normalizes. The last of a block starts at zero, so the block starts as the identity."""
    features = MirrorConvolution(width, stride, lifting, name=name)(features)
    return MirrorNormalization(gamma_initializer="zeros" if last else "ones", name=f"{name}.norm")(features)


def _residual(features, width: int, name: str):
    """Adds two convolutions, their pairs of channels weighted by squeeze-and-excitation."""
    shortcut = features
    features = layers.ReLU()(_convolution(features, width, 1, f"{name}.conv1"))
    features = _convolution(features, width, 1, f"{name}.conv2", last=True)
    squeezed = layers.Dense(width // 8, activation="relu", name=f"{name}.squeeze")(_pooled(features))
    excited = layers.Dense(width // 2, activation="sigmoid", name=f"{name}.excite")(squeezed)
    excited = layers.Reshape((1, 1, width))(layers.Concatenate()([excited, excited]))
    return layers.ReLU()(layers.Add()([layers.Multiply()([features, excited]), shortcut]))


def _pooled(features):
    """Returns the mean of each pair of channels over the image, [N, C / 2]."""
    pooled = layers.GlobalAveragePooling2D()(features)
    return layers.GlobalAveragePooling1D()(layers.Reshape((2, features.shape[-1] // 2))(pooled))
