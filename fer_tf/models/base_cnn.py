"""BaseCNN: three convolutions and two dense layers, 1.3 million parameters, 24 million multiply-adds."""

import keras
from keras import layers

from fer_tf.classes import CLASSES
from fer_tf.models.layers import BatchNormalization


def base_cnn(channels: int, *, dropout: float = 0.5) -> keras.Model:
    """Returns the first project's network, layer for layer.

    Three times 3×3 convolution, ReLU, batch normalization and 2×2 max pooling; then 256 units, dropout and 7 logits.
    Batch normalization follows the ReLU and has PyTorch's ε and momentum.

    Args:
        channels: Planes of the input, 1 or 2.
        dropout: Share of the 256 units that is dropped in training.

    Returns:
        A model: float32 [N, 48, 48, channels] → logits, float32 [N, 7].
    """

    def initializer() -> keras.initializers.Initializer:
        # PyTorch's: Keras's default makes the dense layers so large that the first epochs only shrink them.
        return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")

    images = keras.Input((48, 48, channels), name="images")
    features = images
    for number, filters in enumerate((32, 64, 128), 1):
        features = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=initializer(),
            name=f"conv{number}",
        )(features)
        features = BatchNormalization(name=f"norm{number}")(features)
        features = layers.MaxPooling2D(2, name=f"pool{number}")(features)
    features = layers.Flatten(name="flatten")(features)
    features = layers.Dense(256, activation="relu", kernel_initializer=initializer(), name="dense")(features)
    features = layers.Dropout(dropout, name="dropout")(features)
    logits = layers.Dense(len(CLASSES), kernel_initializer=initializer(), dtype="float32", name="logits")(features)
    return keras.Model(images, logits, name="base_cnn")
