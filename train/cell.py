"""A cell of the matrix: a run that is trained from where it stands, and measured."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fer_tf.errors import UserError
from fer_tf.fer2013 import Fer2013
from fer_tf.files import write_json
from fer_tf.quiet import muted_stderr
from fer_tf.train.run_folder import RunFolder
from fer_tf.train.session import complete, create


@dataclass(frozen=True)
class Cell:
    """A run that is wanted.

    Attributes:
        folder: Its folder, which may be new.
        values: Options by name, as `fer_tf.train.settings.settle` returns them.
    """

    folder: RunFolder
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.path.name

    def is_done(self, private_fingerprint: str) -> bool:
        """Returns whether there is nothing to do, not even to say what is wrong."""
        with suppress(UserError):
            return self.folder.is_measured(private_fingerprint)
        return False

    def finish(self, data: Fer2013, private_fingerprint: str) -> None:
        """Trains and measures it, as far as that is not done.

        Args:
            data: What all cells are trained and measured on.
            private_fingerprint: Of its PrivateTest.

        Raises:
            UserError: as `create` and `complete` do.
        """
        with muted_stderr():
            import keras
        try:
            if not self.folder.exists():
                create(self.folder, self.values, data)
            if not self.folder.is_measured(private_fingerprint):
                if not self.folder.public.exists():
                    complete(self.folder, data)
                figures = measure(self.folder, data)
                write_json(self.folder.evaluation, {"private_fingerprint": private_fingerprint, "splits": figures})
        finally:
            keras.backend.clear_session()


def measure(folder: RunFolder, data: Fer2013) -> dict[str, dict[str, Any]]:
    """Returns the figures of `fer_tf.train.figures.evaluate` of a finished run, for all splits of the data set."""
    with muted_stderr():
        from scipy.special import softmax

        from fer_tf.models import load_network
        from fer_tf.train.figures import evaluate, evaluation_split
        from fer_tf.train.input_pipeline import evaluation_batches
        from fer_tf.train.prediction import predictor

    temperature = folder.public_metrics()["temperature"]
    network = predictor(load_network(folder.model))
    splits = "all" if len(data.private) else "public"
    logits = network(evaluation_batches(evaluation_split(data, splits).images, folder.preprocessor()))
    return evaluate(softmax(logits / temperature, axis=1), data, temperature=temperature, splits=splits)
