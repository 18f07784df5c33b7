"""What a run keeps of each epoch: its figures, its averaged weights and its state."""

import sys
import time

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from fer_tf.errors import UserError
from fer_tf.files import written_aside
from fer_tf.models import create_model, load_network
from fer_tf.train.heads import network_of
from fer_tf.train.prediction import cross_entropy, predictor
from fer_tf.train.run_folder import RunFolder, kept_row


class Recorder(keras.callbacks.Callback):
    """Shows the progress; after each epoch, measures the averaged weights and saves everything.

    Args:
        folder: The run's.
        norm_batches: Some training batches that are not augmented, for the normalization statistics of the average.
        public_batches: PublicTest, preprocessed.
        public_labels: int [N], its labels.
        choosing: What these images are called.
        steps: Steps in an epoch.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        norm_batches: tf.data.Dataset,
        public_batches: tf.data.Dataset,
        public_labels: np.ndarray,
        choosing: str,
        steps: int,
    ):
        super().__init__()
        self._folder, self._norm_batches, self._steps = folder, norm_batches, steps
        self._public_batches, self._public_labels, self._choosing = public_batches, public_labels, choosing
        self._rows = folder.read_history()
        self._epochs = folder.settings.epochs

    def on_train_begin(self, logs=None):
        """Makes the network that gets the averaged weights."""
        if self._folder.state.exists():  # as it was begun: networks change from version to version
            self._averaged = load_network(self._folder.model)
        else:
            settings = self._folder.settings
            self._averaged = create_model(settings.model, settings.dataset, widths=settings.widths)
        self._predict = predictor(self._averaged)
        self._update_norms = tf.function(
            lambda images: self._averaged(images, training=True), autograph=False, reduce_retracing=True
        )
        done = len(self._rows)
        self._bar = tqdm(
            total=self._epochs * self._steps,
            initial=done * self._steps,
            unit=" batches",
            desc=f"epoch {done + 1}/{self._epochs}",
            disable=None,
            smoothing=0.02,
        )

    def on_train_end(self, logs=None):
        """Closes the progress bar."""
        self._bar.close()

    def on_epoch_begin(self, epoch, logs=None):
        """Seeds the random layers for the epoch."""
        self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}")
        # Keras does not save the state of its random layers; so each epoch has one of its own, resumed or not.
        random_layers = [layer for layer in network_of(self.model).layers if hasattr(layer, "seed_generator")]
        for number, layer in enumerate(random_layers):
            layer.seed_generator.state.assign([self._folder.settings.seed + number, epoch << 16])
        self._started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Moves the progress bar."""
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        """Measures the averaged weights and saves everything.

        Raises:
            UserError: if the training diverged.
        """
        self._average()
        logits = self._predict(self._public_batches)
        if not (np.isfinite(logs["loss"]) and np.isfinite(logits).all()):
            raise UserError(f"the training diverged in epoch {epoch + 1}; start anew with a lower learning rate")
        row = {
            "epoch": epoch + 1,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "loss": logs.get("classes_cross_entropy", logs["loss"]),  # without that of a second head
            "accuracy": logs.get("classes_accuracy", logs.get("accuracy")),
            "public_loss": cross_entropy(logits, self._public_labels),
            # As it is kept: what is equal there is equal here, so a resumed run keeps the same epoch.
            "public_accuracy": round(float((logits.argmax(axis=1) == self._public_labels).mean()), 6),
            "seconds": time.monotonic() - self._started,
        }
        self._rows.append(row)
        self._folder.write_history(self._rows)
        is_kept = kept_row(self._rows, self._folder.settings.keep) is row
        # Both are written before either takes its place, so that a kill has little time to come between.
        with written_aside(self._folder.state) as state:
            self.model.save(state)
            if is_kept:
                with written_aside(self._folder.model) as model:
                    self._averaged.save(model)
        self._say(row)

    def _average(self) -> None:
        """Gives `_averaged` the averaged weights, and normalization statistics that belong to them.

        The running statistics were gathered with the raw weights; with the averaged ones, activations have another
        distribution. So they are gathered anew, from nothing, over some batches of training images that are not
        augmented, like the faces that the network will see.
        """
        raw = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        network = network_of(self.model)
        for layer in (layer for layer in self._averaged.layers if layer.weights):  # a second head is left out
            layer.set_weights(network.get_layer(layer.name).get_weights())
        self.model.set_weights(raw)
        norms = [layer for layer in self._averaged.layers if isinstance(layer, keras.layers.BatchNormalization)]
        for variable in (variable for norm in norms for variable in norm.non_trainable_variables):
            variable.assign(tf.zeros_like(variable))
        batches = 0
        for images, _ in self._norm_batches:
            self._update_norms(images)
            batches += 1
        for norm in norms:
            for variable in norm.non_trainable_variables:
                variable.assign(variable / (1 - norm.momentum**batches))  # what is left of the zeros

    def _say(self, row: dict[str, float]) -> None:
        left = (self._epochs - row["epoch"]) * row["seconds"] / 60
        mark = " (best)" if kept_row(self._rows) is row else ""
        tqdm.write(
            f"epoch {row['epoch']:.0f}/{self._epochs}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.2%}, "
            f"{self._choosing} {row['public_accuracy']:.2%}{mark}, {row['seconds']:.0f} s, {left:.0f} min left"
        )
        sys.stdout.flush()  # for those who follow a log file
