"""The settings of a training run: each with its default, its checks and its help, told once."""

# ruff: noqa: RUF009 (`option` makes a field)

import math
import shlex
from collections.abc import Collection, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from fer_tf.catalogue import ARCHITECTURES, DATASETS
from fer_tf.classes import CLASSES
from fer_tf.errors import UserError
from fer_tf.fer2013.labels import HELP
from fer_tf.ferplus import ANSWERS
from fer_tf.installation import program

AUGMENTATIONS = ("none", "light", "light-camera", "standard", "camera")


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`; with `above`, without `low` itself."""

    low: float = 0
    high: float = math.inf
    above: bool = False

    def __contains__(self, number: float) -> bool:
        return (self.low < number if self.above else self.low <= number) and number <= self.high and number < math.inf

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"from {self.low:g} to {self.high:.15g}"
        return f"above {self.low:g}" if self.above else f"of {self.low:g} or more"


POSITIVE = Range(above=True)
NOT_NEGATIVE = Range()
COUNT = Range(low=1, high=1_000_000)
PIXELS = Range(low=1, high=4096)
SHARE = Range(high=1)
SEED = Range(high=2**31 - 1)


def option(
    default: Any,
    group: str,
    help: str,
    *,
    choices: Collection[str] = (),
    within: Range | None = None,
    metavar: str | None = None,
    needs: str | None = None,
) -> Any:
    """Returns a field of `Settings` that a user can set.

    Args:
        default: Its value unless it is given or in the network's recipe; None turns it off.
        group: Heading that it stands below in the help.
        help: What it is, without default and choices, which are added.
        choices: The values that it may have.
        within: The numbers that it, or each of its parts, may be.
        metavar: Stands for its value in the help.
        needs: Name of another setting, without which this one is off.
    """
    told = {"group": group, "help": help, "choices": choices, "within": within, "metavar": metavar, "needs": needs}
    return field(default=default, metadata=told)


_DATA, _FITTING = "network and data", "optimization"
_IMAGES, _SOURCES = "augmentation", "starting weights, teachers and votes"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a run depends on, so that resuming it needs nothing else.

    Their order is that of the options in the command that `command_line` gives.

    Raises:
        UserError: if a value is of another type than its setting, or not one that it may have.
    """

    model: str = option("base_cnn", _DATA, "network", choices=ARCHITECTURES)
    widths: list[int] | None = option(
        None, _DATA, "channels of stem and stages of a se_resnet or mirror_resnet", within=COUNT, metavar="CHANNELS"
    )
    classes: list[str] | None = option(None, _DATA, HELP, metavar="NAME=CLASS")
    dataset: str = option("stack_sharpen", _DATA, "what the network sees", choices=DATASETS)
    epochs: int = option(60, _FITTING, "number of epochs", within=COUNT, metavar="N")
    batch_size: int = option(128, _FITTING, "images per batch", within=COUNT, metavar="N")
    optimizer: str = option("adamw", _FITTING, "optimizer", choices=("adamw", "muon", "sgd"))
    learning_rate: float = option(1.5e-3, _FITTING, "peak learning rate", within=POSITIVE, metavar="RATE")
    weight_decay: float = option(
        0.02, _FITTING, "decoupled weight decay, scaled by the learning rate", within=NOT_NEGATIVE, metavar="RATE"
    )
    mixup: float = option(0.0, _IMAGES, "alpha of mixup", within=NOT_NEGATIVE, metavar="ALPHA")
    sam: float = option(
        0.0,
        _FITTING,
        "radius of adaptive sharpness-aware minimization, such as 0.7; takes half as much time again",
        within=NOT_NEGATIVE,
        metavar="RHO",
    )
    ghost_batches: int = option(
        1, _FITTING, "split each batch into N parts that are normalized separately", within=COUNT, metavar="N"
    )
    precision: str = option(
        "float32", _FITTING, "what training computes in; the model is float32", choices=("float32", "bfloat16")
    )
    seed: int = option(0, _FITTING, "seed of weights, order and augmentation", within=SEED, metavar="N")
    limit: int | None = option(None, _DATA, "train on this many images, chosen at random", within=COUNT, metavar="N")
    augment: str = option("standard", _IMAGES, "how images are augmented", choices=AUGMENTATIONS)
    filter: dict[str, float] | None = option(
        None, _DATA, "parameters of the filter, such as low=50 high=150", metavar="NAME=NUMBER"
    )
    image_size: int | None = option(
        None, _DATA, "input height and width (default: the network's)", within=PIXELS, metavar="PIXELS"
    )
    start_size: int | None = option(
        None, _IMAGES, "begin with smaller images, to save time (not base_cnn)", within=PIXELS, metavar="PIXELS"
    )
    init: str | None = option(
        None, _SOURCES, "start from the weights of a run folder, model file or PyTorch checkpoint", metavar="PATH"
    )
    teacher: list[str] | None = option(None, _SOURCES, "learn from these models' predictions, too", metavar="FILE.onnx")
    teacher_weight: float = option(
        0.7, _SOURCES, "weight of the teachers' predictions, 0 to 1", within=SHARE, metavar="SHARE", needs="teacher"
    )
    teacher_views: str = option(
        "plain",
        _SOURCES,
        "ask the teachers once about each image, or anew about each augmented one",
        choices=("plain", "varied"),
        needs="teacher",
    )
    ferplus: str | None = option(None, _SOURCES, "learn from the votes of FER+, too", metavar="FILE.csv")
    ferplus_weight: float = option(
        0.5,
        _SOURCES,
        "weight of the votes, 0 to 1; the power of their evidence where they correct teachers",
        within=SHARE,
        metavar="SHARE",
        needs="ferplus",
    )
    ferplus_as: str = option(
        "evidence",
        _SOURCES,
        "what votes do beside teachers: correct their predictions (evidence), or mix with the labels (opinion)",
        choices=("evidence", "opinion"),
        needs="ferplus",
    )
    ferplus_head: float = option(
        0.0,
        _SOURCES,
        "train an auxiliary head on the votes instead; the weight of its loss, such as 1",
        within=NOT_NEGATIVE,
        metavar="WEIGHT",
        needs="ferplus",
    )
    label_smoothing: float = option(0.1, _FITTING, "label smoothing, 0 to 1", within=SHARE, metavar="SHARE")
    keep: str = option("best", _FITTING, "which epoch to keep: best on PublicTest, or last", choices=("best", "last"))
    data: str
    """Absolute path of the data set."""
    data_fingerprint: str
    """`Fer2013.fingerprint` of what was read there."""
    init_origin: dict | None = None
    """What the card, or `RunFolder.record`, of `init` said of its training; None of a checkpoint."""
    init_sha256: str | None = None
    """Of that file, or of the folder's `model.keras`."""
    teacher_origins: list[dict] | None = None
    """What `ModelCard.as_origin` says of each teacher."""
    ema_steps: float = field(default=1000.0, metadata={"within": POSITIVE})
    """Time constant, in steps, of the exponential average of the weights."""
    warmup_epochs: float = field(default=2.0, metadata={"within": NOT_NEGATIVE})
    """Epochs in which the learning rate rises to its peak."""

    def __post_init__(self):
        for setting in fields(self):
            _check(setting, getattr(self, setting.name))
        if self.teacher_origins and len(self.teacher_origins) != len(self.teacher or ()):
            raise UserError(f"teacher_origins has {len(self.teacher_origins)} entries; expected one for each teacher")

    @property
    def has_evidence(self) -> bool:
        """Whether votes correct the answers of teachers who are asked each time."""
        correct = self.ferplus_as == "evidence" and bool(self.ferplus) and self.ferplus_weight > 0
        return correct and self.teacher_views == "varied"

    @property
    def targets(self) -> dict[str, int]:
        """The run's targets in `targets.npz`, as name → columns; none if the labels are all.

        `classes` are probabilities of the labels; `votes` are shares of FER+'s answers, for the second head; `evidence`
        is that of `fer_tf.train.distillation.evidence`.
        """
        names = {
            "classes": bool(self.teacher or self.ferplus),
            "votes": self.ferplus_head,
            "evidence": self.has_evidence,
        }
        return {name: len(ANSWERS if name == "votes" else CLASSES) for name, is_there in names.items() if is_there}


OPTIONS: dict[str, Field] = {setting.name: setting for setting in fields(Settings) if "help" in setting.metadata}
"""The settings that a user can set, by name."""

REQUIRED = tuple(setting.name for setting in fields(Settings) if setting.default is MISSING)

_HINTS = get_type_hints(Settings)


def types_of(name: str) -> tuple[type, ...]:
    """Returns the types that a setting may be of, such as `(list[int], NoneType)`."""
    hint = _HINTS[name]
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _check(setting: Field, value: Any) -> None:
    """Raises `UserError` if a setting cannot have this value."""
    kinds = tuple(get_origin(kind) or kind for kind in types_of(setting.name))
    choices, within = setting.metadata.get("choices"), setting.metadata.get("within")
    right = isinstance(value, (*kinds, int) if float in kinds else kinds) and not isinstance(value, bool)
    if right and isinstance(value, list | dict):
        right = all(isinstance(part, (*of, int) if float in of else of) for part, of in _parts(setting, value))
    if right and choices:
        right = value in choices
    if right and within and value is not None:
        parts = value if isinstance(value, list) else [value]
        right = all(isinstance(part, int | float) and part in within for part in parts)
    if not right:
        names = " or ".join("none" if kind is type(None) else kind.__name__ for kind in kinds)
        expected = f"one of {', '.join(choices)}" if choices else f"{names} {within or ''}".strip()
        raise UserError(f"{setting.name} is {value!r}; expected {expected}")


def _parts(setting: Field, value: list | dict) -> Iterator[tuple[Any, tuple[type, ...]]]:
    """Yields the parts of a setting with the types that they may be of: of a dict, the names and the values."""
    for hint in types_of(setting.name):
        of = tuple(get_origin(part) or part for part in get_args(hint))
        if get_origin(hint) is list and isinstance(value, list):
            yield from ((part, of) for part in value)
        elif get_origin(hint) is dict and isinstance(value, dict):
            yield from ((part, of[:1]) for part in value)
            yield from ((part, of[1:]) for part in value.values())


def settle(given: dict[str, Any]) -> dict[str, Any]:
    """Returns all options of a new run: what is given, and for the rest the network's recipe and the defaults.

    The weight of teachers or votes that are not there is 0. Votes that a second head learns are not mixed into the
    labels, too, unless their weight is given.
    """
    values = {name: setting.default for name, setting in OPTIONS.items()}
    values |= ARCHITECTURES[given.get("model", values["model"])].recipe | given
    for source in ("teacher", "ferplus"):
        if not values[source]:
            values[f"{source}_weight"] = 0.0
    if values["ferplus_head"] and "ferplus_weight" not in given:
        values["ferplus_weight"] = 0.0
    return values


def flag(name: str) -> str:
    """Returns a setting's name as it stands on a command line."""
    return f"--{name.replace('_', '-')}"


def option_words(value: Any) -> list[str]:
    """Returns a setting's value as it follows its option on a command line."""
    if isinstance(value, dict):
        return [f"{name}={number:g}" for name, number in value.items()]
    return [str(part) for part in (value if isinstance(value, list) else [value])]


def command_line(record: dict[str, Any]) -> str | None:
    """Returns the command that repeats a run, but for where its files are.

    Args:
        record: What a card tells of a training, as `RunFolder.record` made it.

    Returns:
        The command; None if the record is not of a run.
    """
    if "model" not in record:
        return None
    deciding = ("model", "teacher", "ferplus", "ferplus_head")
    usual = settle({name: record[name] for name in deciding if record.get(name)})
    usual |= {name: OPTIONS[name].default for name in deciding}
    words = shlex.split(program("train.run"))
    for name in OPTIONS:
        value = record.get(name, usual[name])
        if value is not None and (value != usual[name] or name in ("model", "dataset", "epochs", "seed")):
            words += [flag(name), *option_words(value)]
    return shlex.join(words)
