"""The folder that a training run leaves: settings, history, the model and what PublicTest says of it."""

import csv
import dataclasses
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fer_tf import limits
from fer_tf.errors import UserError
from fer_tf.files import check_writable, read_json, remove_leftovers, write_json, written_aside
from fer_tf.installation import program
from fer_tf.lineage import told_once
from fer_tf.locks import lock
from fer_tf.train.settings import REQUIRED, Settings

HISTORY_COLUMNS = (
    "epoch",
    "learning_rate",
    "loss",
    "accuracy",
    "public_loss",
    "public_accuracy",
    "seconds",
)
"""`loss` and `accuracy` are running means over the augmented training images of the epoch, whose label is the most
probable one where opinions or images are mixed; `public_*` are those of the averaged weights at its end, without label
smoothing. With `sam`, `loss` and `accuracy` are of half of each batch; with `ferplus_head`, of the first head."""


def kept_row(rows: list[dict[str, float]], keep: str = "best") -> dict[str, float]:
    """Returns the row of the epoch that is kept: the last, or the best on PublicTest, of equals the first."""
    return rows[-1] if keep == "last" else max(rows, key=lambda row: row["public_accuracy"])


class Busy(UserError):
    """Another training is at work in a run's folder."""


class RunFolder:
    """One run's folder. `path / "model.keras"` is the network of `kept_row`, `state.keras` that of the last epoch.

    A killed run leaves it readable: every file is written aside and moved. `state.keras` is written last, so an epoch
    that it does not know of is trained again.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.model = self.path / "model.keras"
        self.state = self.path / "state.keras"
        self.history = self.path / "history.csv"
        self.targets = self.path / "targets.npz"
        self.public = self.path / "public.json"
        self.evaluation = self.path / "evaluation.json"
        self.curves = self.path / "curves.png"
        self.confusion = self.path / "confusion.png"
        self._settings = self.path / "settings.json"
        self._is_new = not self.path.exists()

    @property
    def resuming(self) -> str:
        """The command that continues the run."""
        return f"{program('train.run')} --resume {self.path}"

    def exists(self) -> bool:
        """Returns whether there is a run in it."""
        return self._settings.exists()

    def check_free(self) -> None:
        """Raises `UserError` if no new run can be made here."""
        if self.exists():
            raise UserError(f"{self.path} holds a run; continue it with {self.resuming} or choose another folder")
        files = (self.model, self.state, self.public, self.history, self.targets, self.curves, self.confusion)
        if left := [file.name for file in files if file.exists()]:
            raise UserError(f"{self.path} holds {left[0]}, which a run would replace; move it or choose another folder")
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; expected a folder")

    def check_writable(self) -> None:
        """Raises `UserError` if it cannot be made, or written to."""
        check_writable(self._settings if self.path.exists() else self.path)

    def create(self, settings: Settings) -> None:
        """Makes a new run's folder.

        Raises:
            UserError: if there is a run in it already.
        """
        import keras
        import tensorflow

        if self.exists():  # by now; its targets may be there, and be this run's own
            self.check_free()
        versions = {
            "python": platform.python_version(),
            "tensorflow": tensorflow.__version__,
            "keras": keras.__version__,
        }
        write_json(self._settings, {**dataclasses.asdict(settings), "versions": versions})
        self.settings = settings

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
        return folder

    @classmethod
    def newest(cls, root: Path | str = "runs") -> "RunFolder":
        """Opens the newest run below `root` that is finished.

        Raises:
            UserError: if there is none.
        """
        finished = sorted(Path(root).rglob("public.json"), key=lambda public: public.stat().st_mtime)
        if not finished:
            raise UserError(f"no finished run below {root}/; name its folder, or train one with {program('train.run')}")
        return cls.open(finished[-1].parent)

    def discard_unstarted(self) -> None:
        """Removes a run that has come to no epoch, so that another can be made in its place."""
        if not self.state.exists():
            self._settings.unlink()
            self.history.unlink(missing_ok=True)
            self.targets.unlink(missing_ok=True)
            with suppress(OSError):  # Windows keeps open files, and there may be a user's own
                (self.path / ".lock").unlink()
                if self._is_new:
                    self.path.rmdir()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other trainings out of the folder, if its file system has locks, and removes what a killed one left.

        Raises:
            Busy: if another training is at work in it.
        """
        with open(self.path / ".lock", "w") as file:
            try:
                lock(file)
            except BlockingIOError:
                raise Busy(f"{self.path}: another training is at work there; wait for it or end it") from None
            except OSError as error:
                print(f"note: {self.path} cannot be locked ({error.strerror}); train nothing else in it")
            remove_leftovers(self.path)
            yield

    @cached_property
    def settings(self) -> Settings:
        """The run's settings, read once.

        Raises:
            UserError: if they are damaged.
        """
        values = _read_json(self._settings)
        if missing := [name for name in REQUIRED if name not in values]:
            raise UserError(f"{self._settings}: {', '.join(missing)} missing; it was not written by train.run")
        known = {field.name for field in dataclasses.fields(Settings)}
        try:
            return Settings(**{name: value for name, value in values.items() if name in known})
        except UserError as error:
            raise UserError(f"{self._settings}: {error}; it was not written by train.run") from None

    def preprocessor(self, image_size: int | None = None):
        """Returns the `fer_tf.preprocessing.preprocessor.Preprocessor` of the run's network.

        Args:
            image_size: Height and width of its output in pixels; None is the run's.
        """
        from fer_tf.preprocessing.preprocessor import create_preprocessor

        settings = self.settings
        image_size = settings.image_size if image_size is None else image_size
        return create_preprocessor(
            settings.dataset, settings.model, image_size=image_size, filter_parameters=settings.filter
        )

    def network(self):
        """Returns the kept network, a `keras.Model`.

        Raises:
            UserError: if it is missing, damaged, or another than the settings say.
        """
        from fer_tf.models import check_widths, create_model, load_network

        if not self.model.is_file():
            raise UserError(f"{self.model}: missing; train the run anew")
        settings, found = self.settings, load_network(self.model)
        other = (
            f"{self.model}: holds another network than a {settings.model} for {settings.dataset}, as settings.json "
            "says; put the right file back, or train the run anew"
        )
        if settings.widths:
            check_widths(settings.model, settings.widths)
            if max(settings.widths) > max(side for variable in found.weights for side in variable.shape):
                raise UserError(other)  # before memory is taken for one
        expected = create_model(settings.model, settings.dataset, widths=settings.widths)
        ours, theirs = (
            # Its shapes only if they were asked for: the usual widths change from version to version.
            (network.name, network.input_shape[-1], [tuple(v.shape) for v in network.weights if settings.widths])
            for network in (expected, found)
        )
        if ours != theirs:
            raise UserError(other)
        return found

    def record(self) -> dict[str, Any]:
        """Returns what a model made from the run may tell of its training.

        Its settings, without folders, how many of the `epochs` it has come to (`epochs_done`), and in how many `hours`.
        What its weights began with and its teachers share of their past is told once: see `told_once`.
        """
        record = dataclasses.asdict(self.settings)
        for key in ("data", "init", "ferplus"):  # where a user keeps them is nobody's business
            record[key] = record[key] and Path(record[key]).name
        record["teacher"] = record["teacher"] and [Path(path).name for path in record["teacher"]]
        rows = self.read_history()
        record["epochs_done"] = len(rows)
        record["hours"] = round(sum(row["seconds"] for row in rows) / 3600, 2)
        return told_once(record)

    def public_metrics(self) -> dict[str, Any]:
        """Returns what PublicTest says of the model: `epoch`, `temperature` and the keys of `fer_tf.metrics.measure`.

        Raises:
            UserError: if the run has not come to its end.
        """
        if not self.public.is_file():
            raise UserError(f"{self.path}: the run is not finished; continue it with {self.resuming}")
        metrics = _read_json(self.public)
        temperature = metrics.get("temperature")
        if not (isinstance(temperature, int | float) and 0 < temperature < float("inf")):
            raise UserError(f"{self.public}: temperature is {temperature!r}; mend it with {self.resuming}")
        return metrics

    def write_targets(self, targets: dict[str, np.ndarray]) -> None:
        """Keeps what the network is to answer to each of the N training images.

        Args:
            targets: float32 [N, columns] by name, as `Settings.targets` says.
        """
        with written_aside(self.targets) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **targets)

    def read_targets(self, count: int) -> dict[str, np.ndarray]:
        """Returns what `write_targets` kept of so many training images; nothing of a run that learns the labels alone.

        Raises:
            UserError: if it is missing or damaged.
        """
        expected = {name: (count, columns) for name, columns in self.settings.targets.items()}
        if not expected:
            return {}
        try:
            with np.load(self.targets, allow_pickle=False) as file:
                targets = dict(file)
            if {name: values.shape for name, values in targets.items()} != expected:
                raise ValueError
        except (OSError, EOFError, ValueError, TypeError, BadZipFile):
            raise UserError(f"{self.targets}: missing or damaged; start the run anew") from None
        return targets

    def is_measured(self, private_fingerprint: str) -> bool:
        """Returns whether there is an evaluation that is of this PrivateTest, by its `Fer2013.fingerprint`."""
        return self.evaluation.exists() and self.read_evaluation().get("private_fingerprint") == private_fingerprint

    def read_evaluation(self) -> dict[str, Any]:
        """Returns what `fer_tf.train.matrix` left in its cell: figures by `splits`, and `private_fingerprint`."""
        return _read_json(self.evaluation)

    def read_history(self) -> list[dict[str, float]]:
        """Returns one row for each finished epoch, keyed by `HISTORY_COLUMNS`."""
        if not self.history.exists():
            return []
        limits.check("JSON_BYTES", self.history.stat().st_size, self.history)
        with open(self.history, newline="") as file:
            try:
                return [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(file)]
            except (KeyError, TypeError, ValueError, csv.Error):
                raise UserError(f"{self.history}: damaged; expected {', '.join(HISTORY_COLUMNS)}") from None

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes all rows."""
        with written_aside(self.history) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HISTORY_COLUMNS)
            for row in rows:
                writer.writerow(f"{row[name]:.6g}" for name in HISTORY_COLUMNS)


def _read_json(path: Path) -> dict[str, Any]:
    return read_json(path, wrote="train.run")
