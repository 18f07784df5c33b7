"""Networks by the name that `--model` takes."""

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
        dataset: One of `fer_tf.catalogue.DATASETS`; it decides the number of channels, with the architecture.
        widths: Channels of its layers, of a network that takes them (see `check_widths`); None is its own.
        precision: What it computes in, `float32` or `bfloat16`; its weights and its logits are float32 either way.
        **options: Named arguments of the architecture's function.

    Returns:
        A model: the output of the data set's `Preprocessor` → logits, float32 [N, 7].

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
    """Checks the widths that a network is to have: one number for each of its own.

    They are even, since mirrored channels come in pairs, and not below 8, of which squeeze-and-excitation leaves one.

    Raises:
        UserError: if it cannot.
    """
    parameters = inspect.signature(imported(ARCHITECTURES[architecture].builder)).parameters
    named = f"--widths {' '.join(map(str, widths))}"
    if "widths" not in parameters:
        raise UserError(f"{named}: the widths of {architecture} are given; leave the option away or change --model")
    usual = parameters["widths"].default
    if len(widths) != len(usual) or any(width < 8 or width % 2 for width in widths):
        raise UserError(
            f"{named}: expected {len(usual)} even numbers from 8 on, of the first convolution and of each stage, such "
            f"as {architecture}'s own, {' '.join(map(str, usual))}"
        )


def load_network(path: Path | str) -> keras.Model:
    """Loads a network that training kept as a `.keras` file.

    Raises:
        UserError: if it is damaged or no Keras model.
    """
    for architecture in ARCHITECTURES.values():  # which registers the layers of its own
        imported(architecture.builder)
    try:
        return keras.models.load_model(path)
    except Exception as error:  # of Keras, h5py and zipfile, on damaged files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a readable Keras model ({reason})") from None
