"""SE-ResNet: a small residual network with squeeze-and-excitation."""

from collections.abc import Sequence

import keras
from keras import layers

from fer_tf.classes import CLASSES
from fer_tf.models.layers import BatchNormalization


def se_resnet(
    channels: int,
    *,
    widths: Sequence[int] = (32, 64, 128, 224),
    blocks: Sequence[int] = (1, 1, 1),
    dropout: float = 0.3,
) -> keras.Model:
    """Returns the network.

    A convolution at full size, 48×48 pixels by default, comes first. Each stage is a convolution of stride 2 and
    residual blocks. A block has two convolutions, and squeeze-and-excitation weights its channels before they are
    added. Global average pooling, dropout and 7 logits follow. All convolutions are 3×3, without bias, and followed by
    batch normalization.

    Sources: He et al., Deep Residual Learning for Image Recognition, 2015, arXiv 1512.03385; Hu et al.,
    Squeeze-and-Excitation Networks, 2017, arXiv 1709.01507.

    Args:
        channels: Planes of the input, 1 or 2.
        widths: Channels of the first convolution and of each stage.
        blocks: Residual blocks in each stage.
        dropout: Share of the pooled features that is dropped in training.

    Returns:
        A model: float32 [N, H, W, channels] of any size → logits, float32 [N, 7].
    """
    images = keras.Input((None, None, channels), name="images")
    features = layers.ReLU()(_convolution(images, widths[0], 1, "stem"))
    for stage, (width, count) in enumerate(zip(widths[1:], blocks, strict=True), 1):
        features = layers.ReLU()(_convolution(features, width, 2, f"stage{stage}.down"))
        for block in range(count):
            features = _residual(features, width, f"stage{stage}.{block}")
    features = layers.GlobalAveragePooling2D()(features)
    features = layers.Dropout(dropout, name="dropout")(features)
    logits = layers.Dense(len(CLASSES), dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name="se_resnet")


def _residual(features, width: int, name: str):
    """Adds two convolutions, their channels weighted by squeeze-and-excitation."""
    shortcut = features
    features = layers.ReLU()(_convolution(features, width, 1, f"{name}.conv1"))
    features = _convolution(features, width, 1, f"{name}.conv2", last=True)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(features)
    squeezed = layers.Dense(width // 8, activation="relu", name=f"{name}.squeeze")(squeezed)
    excited = layers.Dense(width, activation="sigmoid", name=f"{name}.excite")(squeezed)
    return layers.ReLU()(layers.Add()([layers.Multiply()([features, excited]), shortcut]))


def _convolution(features, width: int, stride: int, name: str, *, last: bool = False):
    """Convolves and normalizes. The last of a block starts at zero, so the block starts as the identity."""
    convolution = layers.Conv2D(
        width, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )
    gamma = "zeros" if last else "ones"
    return BatchNormalization(gamma_initializer=gamma, name=f"{name}.norm")(convolution(features))
