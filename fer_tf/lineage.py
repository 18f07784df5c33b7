"""Where a model comes from. A card keeps it as `training`; only this module knows what that record looks like.

A record is of one of four kinds, which `read` tells apart. Of each kind, a file may be in 8 bits (`quantization`):

| kind | keys |
|---|---|
| `Run`, a training run | its settings: `model`, `dataset`, … |
| `Imported`, a checkpoint whose training is not known | `image_size` and `resize`, or none |
| `Ensemble`, an average of model files | `members`, `mirror` |
| `Repeated`, a training that the record has described before | `repeated` |
"""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from fer_tf.errors import UserError

REPEATED = {"repeated": True}
"""Stands in a record for a training that the record has described before."""


class Labels(Enum):
    """A kind of labels that a network can learn from."""

    DATA_SET = "data set"
    VOTES = "FER+ votes"
    TEACHERS = "teachers"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Quantization:
    """How the network of a file was put into 8 bits; None is what an older file does not say."""

    weights: str | None = None
    """Type of the weights, such as `int8 of 7 bits`."""
    activations: str | None = None
    images: int | None = None
    """How many training images it was calibrated on."""
    float_sha256: str | None = None
    """SHA-256 of the file in float that it was made from."""


@dataclass(frozen=True)
class Lineage:
    """How a model file came about: a record, and what can be asked of it."""

    record: dict[str, Any]
    """As it stands in the card, ready for JSON."""

    @property
    def quantization(self) -> Quantization | None:
        """How the whole file was put into 8 bits; None if it was not."""
        found = self.record.get("quantization")
        if found is None:
            return None
        found = _checked(found, dict, "quantization")
        return Quantization(**{name: found.get(name) for name in Quantization.__dataclass_fields__})

    @property
    def is_quantized(self) -> bool:
        """Whether the file, or a member of it, is in 8 bits."""
        return self.quantization is not None

    @property
    def labels(self) -> tuple[Labels, ...]:
        """What a single network learned from."""
        return ()

    @property
    def inherited_labels(self) -> tuple[Labels, ...]:
        """What a network's initial weights and its teachers had learned from, and theirs, each kind once."""
        return ()

    def networks(self, name: str | None = None) -> list[tuple[str | None, "Lineage"]]:
        """Returns the networks that a file consists of, by name, however often they were joined.

        A file that is not an ensemble is one network, which is called `name`.
        """
        return [(name, self)]

    @property
    def runs(self) -> list["Run"]:
        """The runs that trained the networks of the file, as far as they are known."""
        return [network for _, network in self.networks() if isinstance(network, Run)]

    @property
    def epoch_was_chosen(self) -> bool | None:
        """Whether PublicTest chose the epoch of a network; None if no training is known."""
        return any(run.record.get("keep") != "last" for run in self.runs) if self.runs else None

    def quantized(self, quantization: Quantization) -> Self:
        """Returns the lineage of a file that is made from this one, in 8 bits."""
        return type(self)(self.record | {"quantization": dict(vars(quantization))})

    def _told_once(self, told: set[str]) -> "Lineage":
        return self


@dataclass(frozen=True)
class Origin:
    """A model file that another was made from, or learned from."""

    name: str | None
    sha256: str | None
    temperature: float | None
    training: Lineage

    @classmethod
    def read(cls, record: Any) -> "Origin":
        """Reads what `to_record` returned; None stands for what is missing."""
        record = _checked(record, dict, "origin")
        values = {name: record.get(name) for name in ("name", "sha256", "temperature")}
        return cls(**values, training=read(record.get("training")))

    def to_record(self) -> dict[str, Any]:
        """Returns it ready for JSON."""
        return vars(self) | {"training": self.training.record}


class Repeated(Lineage):
    """A training that the record has described before."""


class Imported(Lineage):
    """A checkpoint, of whose training nothing is known. Its record may say how its input is resized."""

    @property
    def labels(self) -> tuple[Labels, ...]:
        """Not known."""
        return (Labels.UNKNOWN,)


class Run(Lineage):
    """A training run. Its record has the settings, by name; a run of an older version may lack some."""

    @property
    def start(self) -> Lineage | None:
        """What its initial weights came from; None if they were random."""
        origin = self.record.get("init_origin")
        return read(origin or {}) if origin or self.record.get("init") else None

    @property
    def teachers(self) -> list[Origin]:
        """The model files that it learned from, as far as it kept their cards."""
        return [Origin.read(origin) for origin in _checked(self.record.get("teacher_origins") or [], list, "teachers")]

    @property
    def line(self) -> list["Run"]:
        """The runs that its weights went through, in order; it is the last."""
        return [*(self.start.line if isinstance(self.start, Run) else []), self]

    @property
    def files(self) -> list[tuple[str, str]]:
        """Name and SHA-256 of each file that it started or learned from, as far as it kept the SHA-256."""
        init = self.record.get("init") or ""
        if self.record.get("init_origin") and not init.endswith(".onnx"):
            init += "/model.keras"  # it is the folder of a run
        named: list[tuple[str, str | None]] = [(init, self.record.get("init_sha256"))]
        if teachers := self.teachers:
            named += zip(self.record["teacher"], (teacher.sha256 for teacher in teachers), strict=True)
        return [(name, digest) for name, digest in named if digest]

    @property
    def labels(self) -> tuple[Labels, ...]:
        """What it learned from, beside what its initial weights and its teachers had learned from."""
        used = {Labels.VOTES: self.record.get("ferplus"), Labels.TEACHERS: self.record.get("teacher")}
        return (Labels.DATA_SET, *(kind for kind, source in used.items() if source))

    @property
    def inherited_labels(self) -> tuple[Labels, ...]:
        """What its initial weights and its teachers had learned from, and theirs, each kind once."""
        kinds = []
        for parent in (self.start, *(teacher.training for teacher in self.teachers)):
            for _, network in parent.networks() if parent else ():
                kinds += [*network.labels, *network.inherited_labels]
        return tuple(dict.fromkeys(kinds))

    def _told_once(self, told: set[str]) -> Lineage:
        parents = self.record.get("teacher_origins") or []
        own = {key: value for key, value in self.record.items() if key not in ("init_origin", "teacher_origins")}
        identity = json.dumps([own, [teacher.sha256 for teacher in self.teachers]], sort_keys=True)
        if identity in told:
            return Repeated(REPEATED)
        told.add(identity)
        record = dict(self.record)
        if self.record.get("init_origin") and self.start:
            record["init_origin"] = self.start._told_once(told).record
        if parents:
            record["teacher_origins"] = _origins_told_once(parents, told)
        return Run(record)


class Ensemble(Lineage):
    """A file that averages others."""

    @classmethod
    def of(cls, origins: list[dict[str, Any]], *, mirror: bool) -> "Ensemble":
        """Returns the lineage of a file that averages others.

        Args:
            origins: What `ModelCard.as_origin` returned for each.
            mirror: Whether it averages over the mirrored faces, too.
        """
        return cls({"mirror": mirror, "members": origins})

    @property
    def members(self) -> list[Origin]:
        """The files that it was joined from."""
        return [Origin.read(member) for member in _checked(self.record["members"], list, "members")]

    @property
    def is_quantized(self) -> bool:
        """Whether the file, or a member of it, is in 8 bits."""
        return super().is_quantized or any(member.training.is_quantized for member in self.members)

    def networks(self, name: str | None = None) -> list[tuple[str | None, Lineage]]:
        """Returns the networks that it consists of, by name, however often they were joined."""
        return [network for member in self.members for network in member.training.networks(member.name)]

    def _told_once(self, told: set[str]) -> Lineage:
        return Ensemble(self.record | {"members": _origins_told_once(self.record["members"], told)})


def read(record: Any) -> Lineage:
    """Reads the record of a training.

    Args:
        record: What a card has as `training`, or a run as `init_origin`.

    Raises:
        UserError: if it is not an object. What is inside is read, and refused, when it is asked for.
    """
    record = _checked(record, dict, "training")
    if record == REPEATED:
        return Repeated(record)
    kind = Ensemble if "members" in record else Run if "model" in record else Imported
    return kind(record)


def told_once(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the record of a training with `REPEATED` in place of each training that it has described before.

    Teachers of one family share most of their past, which would otherwise double with every generation. What the
    weights began with comes first, so that this line is described in full.
    """
    return read(record)._told_once(set()).record


def _origins_told_once(origins: list[dict[str, Any]], told: set[str]) -> list[dict[str, Any]]:
    return [origin | {"training": read(origin["training"])._told_once(told).record} for origin in origins]


def _checked(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "a list"
        raise UserError(f"model card: {name} must be {expected}, found {value!r}; export the model again")
    return value
