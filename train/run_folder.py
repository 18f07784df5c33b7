"""The folder that a training run leaves: settings, history, the model and what PublicTest says of it."""

import csv
import dataclasses
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_tf.command import UserError
from fer_tf.files import remove_leftovers, write_json, written_aside

HISTORY_COLUMNS = (
    "epoch",
    "learning_rate",
    "loss",
    "accuracy",
    "public_loss",
    "public_accuracy",
    "seconds",
)
"""`loss` and `accuracy` are running means over the augmented training images of the epoch; `public_*` are those of
the averaged weights at its end, without label smoothing."""


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, so that `--resume` needs nothing else."""

    model: str
    dataset: str
    data: str
    """Absolute path of the data set."""
    data_fingerprint: str
    """`Fer2013.fingerprint` of what was read there."""
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    limit: int | None
    """How many training images are used, chosen at random; None is all."""
    augment: str
    image_size: int | None = None
    """Height and width that the network is fed; None is its architecture's own."""
    label_smoothing: float = 0.1
    weight_decay: float = 0.02
    ema_steps: float = 1000.0
    """Over how many steps the weights are averaged (time constant of the exponential average)."""
    warmup_epochs: float = 2.0


class RunFolder:
    """One run's folder. `path / "model.keras"` is the best epoch's network, `state.keras` the last epoch's.

    A killed run leaves it readable: every file is written aside and moved. `state.keras` is written last, so an epoch
    that it does not know of is trained again.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.model = self.path / "model.keras"
        self.state = self.path / "state.keras"
        self.history = self.path / "history.csv"
        self.public = self.path / "public.json"
        self._settings = self.path / "settings.json"

    @classmethod
    def create(cls, path: Path | str, settings: Settings) -> "RunFolder":
        """Makes a new run's folder.

        Raises:
            UserError: if there is a run in it already.
        """
        folder = cls(path)
        if folder._settings.exists():
            raise UserError(f"{path} holds a run; continue it with --resume {path} or name another --output")
        if folder.path.exists() and not folder.path.is_dir():
            raise UserError(f"{path} is a file; --output expects a folder")
        import keras
        import tensorflow

        versions = {
            "python": platform.python_version(),
            "tensorflow": tensorflow.__version__,
            "keras": keras.__version__,
        }
        write_json(folder._settings, {**dataclasses.asdict(settings), "versions": versions})
        return folder

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """Opens a run's folder.

        Raises:
            UserError: if there is no run in it.
        """
        folder = cls(path)
        if not folder._settings.is_file():
            raise UserError(f"{path}: no run there; expected a folder with settings.json that train.run made")
        folder.settings  # noqa: B018 (reads and checks)
        remove_leftovers(folder.path)
        return folder

    @classmethod
    def newest(cls, root: Path | str = "runs") -> "RunFolder":
        """Opens the newest run below `root` that has a model.

        Raises:
            UserError: if there is none.
        """
        models = sorted(Path(root).glob("*/model.keras"), key=lambda model: model.stat().st_mtime)
        if not models:
            raise UserError(f"no run with a model below {root}/; name its folder, or train one with train.run")
        return cls.open(models[-1].parent)

    @property
    def settings(self) -> Settings:
        """The run's settings."""
        values = self._read_json(self._settings)
        fields = dataclasses.fields(Settings)
        missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in values]
        if missing:
            raise UserError(f"{self._settings}: {', '.join(missing)} missing; it was not written by train.run")
        return Settings(**{field.name: values[field.name] for field in fields if field.name in values})

    def public_metrics(self) -> dict[str, Any]:
        """Returns what PublicTest says of the model: `epoch`, `temperature` and the keys of `fer_tf.metrics.measure`.

        Raises:
            UserError: if the run has not come to its end.
        """
        if not self.public.is_file():
            raise UserError(f"{self.path}: the run is not finished; continue it with train.run --resume {self.path}")
        return self._read_json(self.public)

    def read_history(self) -> list[dict[str, float]]:
        """Returns one row for each finished epoch, keyed by `HISTORY_COLUMNS`."""
        if not self.history.exists():
            return []
        with open(self.history, newline="") as file:
            try:
                return [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(file)]
            except (KeyError, TypeError, ValueError):
                raise UserError(f"{self.history}: damaged; expected {', '.join(HISTORY_COLUMNS)}") from None

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes all rows."""
        with written_aside(self.history) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HISTORY_COLUMNS)
            for row in rows:
                writer.writerow(f"{row[name]:.6g}" for name in HISTORY_COLUMNS)

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: not valid JSON ({error})") from None
        if not isinstance(values, dict):
            raise UserError(f"{path}: expected a JSON object")
        return values
