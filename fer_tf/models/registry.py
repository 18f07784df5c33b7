"""Builds and loads networks by name."""

import inspect
from collections.abc import Sequence
from pathlib import Path

import keras

from fer_tf.catalogue import ARCHITECTURES, channels, imported, known
from fer_tf.errors import UserError


def create_model(
    architecture: str,
    dataset: str,
    *,
    widths: Sequence[int] | None = None,
    precision: str = "float32",
    **options,
) -> keras.Model:
    """Returns a new network for a data set.

    Args:
        architecture: One of `fer_tf.catalogue.ARCHITECTURES`.
        dataset: One of `fer_tf.catalogue.DATASETS`. With the architecture it decides the number of channels.
        widths: Channels of the layers, if the network takes them (see `check_widths`); None keeps its defaults.
        precision: `float32` or `bfloat16`. Weights and logits are float32 either way.
        **options: Arguments of the architecture's builder.

    Returns:
        A model from the output of the data set's `Preprocessor` to logits, float32 [N, 7].

    Raises:
        UserError: if there is no such architecture or data set.
    """
    known("architecture", architecture, ARCHITECTURES)
    if widths is not None:
        options["widths"] = widths
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        return ARCHITECTURES[architecture].build(channels(dataset, architecture), **options)
    finally:
        keras.config.set_dtype_policy(before)


def check_widths(architecture: str, widths: Sequence[int]) -> None:
    """Checks that a network can have these widths: as many numbers as its defaults, all even and at least 8.

    They are even because mirrored channels come in pairs. Squeeze-and-excitation makes one channel of 8.

    Raises:
        UserError: if it cannot.
    """
    parameters = inspect.signature(imported(ARCHITECTURES[architecture].builder)).parameters
    named = f"widths {' '.join(map(str, widths))}"
    if "widths" not in parameters:
        raise UserError(f"{named}: the widths of {architecture} are fixed; leave them out or choose another network")
    usual = parameters["widths"].default
    if len(widths) != len(usual) or any(width < 8 or width % 2 for width in widths):
        raise UserError(
            f"{named}: expected {len(usual)} even numbers from 8 on, for the first convolution and for each stage, as "
            f"in the defaults of {architecture}: {' '.join(map(str, usual))}"
        )


def load_network(path: Path | str) -> keras.Model:
    """Loads a network from a `.keras` file that training wrote.

    Raises:
        UserError: if it is damaged or not a Keras model.
    """
    for architecture in ARCHITECTURES.values():  # importing it registers its own layers
        imported(architecture.builder)
    try:
        return keras.models.load_model(path)
    except Exception as error:  # Keras, h5py and zipfile raise many kinds on damaged files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a readable Keras model ({reason})") from None
