"""ResNet50: 50 layers in bottleneck blocks, 23.5 million parameters."""

import keras
from keras import layers

from fer_tf.classes import CLASSES
from fer_tf.models.layers import BatchNormalization

BLOCKS = (3, 4, 6, 3)
"""Bottleneck blocks in each of the four stages."""

WIDTH = 64
"""Channels of the first convolution and of the narrow ones of the first stage; each later stage has twice as many."""


def resnet50(channels: int) -> keras.Model:
    """Returns the network as torchvision builds it ("v1.5"), with seven classes.

    The stride of a downsampling block is in its 3×3 convolution, the convolutions have no bias, and all padding is
    symmetric; `keras.applications.ResNet50` differs in all three. Layers have the names of torchvision's modules.
    Unlike torchvision's, the last normalization of a block starts at zero, so each block starts as its shortcut.

    Sources: He et al., Deep Residual Learning for Image Recognition, 2015, arXiv 1512.03385; Goyal et al., Accurate,
    Large Minibatch SGD, 2017, arXiv 1706.02677 (the start at zero).

    Args:
        channels: Channels of the input; torchvision has 3.

    Returns:
        A model from float32 [N, H, W, channels], 32 pixels or more, to logits, float32 [N, 7].
    """
    images = keras.Input((None, None, channels), name="images")
    features = _convolution(images, WIDTH, 7, 2, "conv1")
    features = layers.ReLU()(BatchNormalization(name="bn1")(features))
    # Nothing here is negative, so zeros pad the maximum as −∞ would.
    features = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(features))
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            features = _bottleneck(features, WIDTH * 2**stage, stride, f"layer{stage + 1}.{block}", widens=not block)
    features = layers.GlobalAveragePooling2D()(features)
    logits = layers.Dense(len(CLASSES), dtype="float32", name="fc")(features)
    return keras.Model(images, logits, name="resnet50")


def _bottleneck(features, filters: int, stride: int, name: str, *, widens: bool):
    """Adds 1×1, 3×3 and 1×1 convolutions to their input, which a widening block also projects."""
    shortcut = features
    if widens:
        shortcut = _convolution(features, 4 * filters, 1, stride, f"{name}.downsample.0")
        shortcut = BatchNormalization(name=f"{name}.downsample.1")(shortcut)
    for number, (width, size) in enumerate(((filters, 1), (filters, 3), (4 * filters, 1)), 1):
        features = _convolution(features, width, size, stride if size == 3 else 1, f"{name}.conv{number}")
        gamma = "ones" if number < 3 else "zeros"
        features = BatchNormalization(gamma_initializer=gamma, name=f"{name}.bn{number}")(features)
        if number < 3:
            features = layers.ReLU()(features)
    return layers.ReLU()(layers.Add()([features, shortcut]))


def _convolution(features, filters: int, size: int, stride: int, name: str):
    """Convolves without bias, padded equally on all sides; Keras's own padding is one-sided with strides."""
    if size > 1:
        features = layers.ZeroPadding2D(size // 2)(features)
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    convolution = layers.Conv2D(filters, size, stride, use_bias=False, kernel_initializer=initializer, name=name)
    return convolution(features)
