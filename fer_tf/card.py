"""The model card: the one record that travels inside every model file."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import Any

from fer_tf.catalogue import ARCHITECTURES
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.files import to_json
from fer_tf.lineage import Lineage, Origin, read

FORMAT_VERSION = 1
METADATA_KEY = "fer.card"
INPUT_NAME = "faces"
OUTPUT_NAME = "probabilities"

LICENSE = (
    "MIT; the images that the weights learned from keep their own terms: those of FER-2013 are for research and stay "
    "with their owners"
)
INTENDED_USES = (
    "naming the expression that a face shows in images and video: labeling footage, studying preprocessing "
    "and networks, art and play with the consent of those filmed"
)
EXCLUDED_USES = (
    "Not for inferring what a person feels, thinks or intends: a face shows an expression, and no more. Not "
    "for people at work or in education, where inferring emotions is prohibited in the European Union since "
    "2 February 2025 (Regulation (EU) 2024/1689, article 5), and not for decisions about anyone: hiring, "
    "policing, border control, insurance, credit, health."
)


_OPTIONAL = {"training_shares"}
"""Fields that a file need not have; those of version 0.1 have none of them."""


@dataclass(frozen=True)
class ModelCard:
    """What a model file is and where it comes from.

    Raises:
        UserError: if a field has a value that is not allowed in a model file.
    """

    name: str
    """The file's name when it was written, without its suffix. Tables and windows show it."""
    architecture: str
    dataset: str
    """The preprocessing in the graph, one of `fer_tf.catalogue.DATASETS`."""
    arithmetic: str
    """How the filters compute: `standard`, or `original` for imported checkpoints."""
    framework: str
    """What trained the weights: `keras` or `torch`."""
    source_file: str
    """Name of the file that the weights come from."""
    source_sha256: str
    training: dict[str, Any]
    """How the weights came about; `fer_tf.lineage` reads and writes it."""
    metrics: dict[str, Any]
    """Figures on PublicTest, the split that chose the weights; empty if nothing was measured."""
    temperature: float = 1.0
    """Divides the logits before the softmax; 1 if none was fitted."""
    labels: tuple[str, ...] = CLASSES
    license: str = LICENSE
    intended_uses: str = INTENDED_USES
    excluded_uses: str = EXCLUDED_USES
    format_version: int = FORMAT_VERSION
    training_shares: tuple[float, ...] | None = None
    """Share of each label in what the weights learned from, in their order; None means FER-2013's training split."""

    def __post_init__(self):
        _check_version(self.format_version)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is str and not isinstance(value, str):
                raise UserError(f"model card: {field.name} must be a text, found {value!r}")
        for name in ("training", "metrics"):
            if not isinstance(getattr(self, name), dict):
                raise UserError(f"model card: {name} must be an object, found {getattr(self, name)!r}")
        if tuple(self.labels) != CLASSES:
            raise UserError(f"model card: labels must be {', '.join(CLASSES)}, found {self.labels!r}")
        object.__setattr__(self, "labels", CLASSES)
        number = isinstance(self.temperature, int | float) and not isinstance(self.temperature, bool)
        if not (number and 0 < self.temperature <= sys.float_info.max):
            raise UserError(f"model card: temperature must be a number above 0, found {self.temperature!r}")
        if self.training_shares is not None:
            object.__setattr__(self, "training_shares", _checked_shares(self.training_shares))

    @property
    def is_mirror_equivariant(self) -> bool:
        """Whether a face and its mirror image get the same answer, up to rounding, by the network's design."""
        network = ARCHITECTURES.get(self.architecture)
        return network is not None and network.mirror_equivariant and self.dataset == "original"

    @property
    def lineage(self) -> Lineage:
        """Where the model comes from: `training`, to be asked instead of looked into."""
        return read(self.training)

    def to_json(self) -> str:
        """Returns the card as JSON with one key for each field; fields that are None are left out."""
        return to_json({name: value for name, value in dataclasses.asdict(self).items() if value is not None})

    def as_origin(self, sha256: str) -> dict[str, Any]:
        """Returns what the card of a model made from this one records about it; `sha256` is of this model's file."""
        return Origin(self.name, sha256, self.temperature, self.lineage).to_record()

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Reads a card that `to_json` wrote.

        Raises:
            UserError: if the text is not a JSON object, has another format version, lacks a key, has an unknown key or
                a bad value.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"model card is not valid JSON ({error}); export the model again") from None
        if not isinstance(values, dict):
            raise UserError(f"model card must be a JSON object, found {type(values).__name__}")
        _check_version(values.get("format_version"))  # before the keys, which another version may change
        known = {field.name for field in dataclasses.fields(cls)}
        missing, unknown = sorted(known - values.keys() - _OPTIONAL), sorted(values.keys() - known)
        if missing or unknown:
            found = [f"{kind} {', '.join(keys)}" for kind, keys in (("missing", missing), ("unknown", unknown)) if keys]
            raise UserError(f"model card: {'; '.join(found)}; export the model again")
        if not isinstance(values["labels"], list):
            raise UserError(f"model card: labels must be a list, found {values['labels']!r}")
        return cls(**values)


def _check_version(version: Any) -> None:
    if version != FORMAT_VERSION:
        raise UserError(
            f"model file format {version!r}: this version reads format {FORMAT_VERSION}; "
            "export the model again or install the version that wrote it"
        )


def _checked_shares(shares: Any) -> tuple[float, ...]:
    """Returns seven shares that sum to 1, or raises `UserError`."""
    listed = list(shares) if isinstance(shares, list | tuple) else []
    numbers = all(
        isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1 for share in listed
    )
    if not (numbers and len(listed) == len(CLASSES) and abs(sum(listed) - 1) <= 1e-3):
        raise UserError(f"model card: training_shares must be {len(CLASSES)} shares that sum to 1, found {shares!r}")
    return tuple(map(float, listed))
