"""What there is, by name: filters, data sets and networks. Light, so that a command's help needs no Keras."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fer_tf.errors import UserError

IMAGE_SIZE = 48
"""Height and width in pixels of the gray face crops that every model file takes."""

FILTERS = ("hist_median", "sobel", "canny", "sharpen")
"""Filters, as `fer_tf.preprocessing.filters.FILTERS` implements them."""

DATASETS = ("original", *FILTERS, *(f"stack_{name}" for name in FILTERS))
"""Data sets: the face as it is, filtered, or both as channels."""


@dataclass(frozen=True)
class Architecture:
    """A network: how it is built, fed, trained and exported."""

    builder: str
    """`module:function`; the function takes the number of channels and options, and returns a `keras.Model`."""
    rgb: bool = False
    """Whether it takes three channels, as networks for color images do, rather than one or two gray planes."""
    image_size: int = IMAGE_SIZE
    """Default height and width of its input, in pixels."""
    resizable: bool = True
    """Whether it takes other sizes."""
    smallest: int = 1
    """The smallest size it takes, in pixels."""
    mirror_equivariant: bool = False
    """Whether it gives a face and its mirror image the same answer, up to rounding."""
    exported_as: str | None = None
    """`module:function` that writes a cheaper graph with the same answers: (network, preprocessing, temperature) →
    `onnx.ModelProto`, as `fer_tf.mirror.parity.complete` does. None exports the network as Keras computes it."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Training settings that differ from the defaults of `fer_tf.train.settings.Settings`."""

    def build(self, channels: int, **options) -> Any:
        """Returns a new `keras.Model`."""
        return imported(self.builder)(channels, **options)


ARCHITECTURES = {
    "base_cnn": Architecture("fer_tf.models.base_cnn:base_cnn", resizable=False),
    "se_resnet": Architecture(
        "fer_tf.models.se_resnet:se_resnet",
        recipe={"learning_rate": 2e-3, "weight_decay": 0.3, "ghost_batches": 2},
    ),
    "mirror_resnet": Architecture(
        "fer_tf.models.mirror_resnet:mirror_resnet",
        smallest=8,
        mirror_equivariant=True,
        exported_as="fer_tf.mirror.parity:complete",
        recipe={"optimizer": "muon", "learning_rate": 2e-3, "weight_decay": 0.3, "ghost_batches": 2},
    ),
    "resnet50": Architecture(
        "fer_tf.models.resnet50:resnet50",
        rgb=True,
        image_size=96,  # the first project's checkpoints take 224
        recipe={"learning_rate": 1e-3, "weight_decay": 0.3, "ghost_batches": 2},
    ),
}
"""Networks by name."""


def imported(path: str) -> Callable:
    """Returns the function that `module:function` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def known(what: str, name: str, names: Iterable[str]) -> str:
    """Returns `name` if it is one of `names`.

    Raises:
        UserError: if it is not; `what` says what kind of name was expected.
    """
    if name not in names:
        raise UserError(f"no {what} {name!r}; expected one of {', '.join(names)}")
    return name


def channels(dataset: str, architecture: str = "base_cnn") -> int:
    """Returns how many channels a network gets: 3 if it takes RGB, else 2 for a stack and 1 otherwise.

    Raises:
        UserError: if there is no such data set or architecture.
    """
    stacked = known("data set", dataset, DATASETS).startswith("stack_")
    return 3 if ARCHITECTURES[known("architecture", architecture, ARCHITECTURES)].rgb else 1 + stacked
