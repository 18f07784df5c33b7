"""Where a run begins: with the weights of another run, of a model file or of a PyTorch checkpoint."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from fer_tf.catalogue import channels
from fer_tf.errors import UserError
from fer_tf.files import sha256
from fer_tf.lineage import Ensemble, read
from fer_tf.quiet import muted_stderr
from fer_tf.recognizer import Recognizer
from fer_tf.train.run_folder import RunFolder


class OtherNetwork(UserError):
    """The weights are of another network than the one to train; `settings` are those of theirs."""

    def __init__(self, message: str, settings: dict[str, Any]):
        super().__init__(message)
        self.settings = settings


class Start(Protocol):
    """Weights to start from. `file` is the one that they are in."""

    file: Path

    def origin(self, model: str, dataset: str, widths: list[int] | None) -> dict[str, Any] | None:
        """Returns what is known of the training of the weights; None of a checkpoint.

        Args:
            model: The architecture that is to be trained.
            dataset: What it is to be trained on.
            widths: Its widths; None is its own.

        Raises:
            UserError: if there is nothing to start from, or nothing that a run can start from.
            OtherNetwork: if the weights are of another network.
        """

    def load_into(self, model, batches: Iterable) -> None:
        """Puts the weights into a new network.

        Args:
            model: A `keras.Model`.
            batches: Some preprocessed training images, float32 [N, H, W, C] each; for a model file.

        Raises:
            UserError: if the weights are damaged or of another network.
        """


def find_start(path: str) -> Start:
    """Returns what a run is to start from.

    Args:
        path: A run's folder, a model file (`.onnx`), or a PyTorch checkpoint. A checkpoint's last layer for other
            classes is left out.

    Raises:
        UserError: if it is not there, or the file of a run and not its folder.
    """
    if os.path.isdir(path):
        return _OfRun(path)
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such file")
    if path.endswith(".keras"):
        raise UserError(f"{path}: name the folder of the run, {os.path.dirname(path)}")
    return _OfModelFile(path) if path.endswith(".onnx") else _OfCheckpoint(path)


def digest_of(start: Start) -> str:
    """Returns the SHA-256 of the file that weights to start from are in.

    Raises:
        UserError: if it is not there.
    """
    if not start.file.is_file():
        raise UserError(f"{start.file}: no such file")
    return sha256(start.file)


class _OfRun:
    """The epoch that a run keeps."""

    def __init__(self, path: str):
        self._run = RunFolder(path)
        self.file = self._run.model

    def origin(self, model: str, dataset: str, widths: list[int] | None) -> dict[str, Any]:
        run = RunFolder.open(self._run.path)
        if not self.file.is_file():
            raise UserError(f"{run.path}: has come to no epoch; continue it with {run.resuming}, or name another")
        origin = run.record()
        _check_network(run.path, run.settings.model, run.settings.dataset, origin, model, dataset, widths)
        return origin

    def load_into(self, model, batches: Iterable) -> None:
        from fer_tf.models import load_network

        run, network = self._run, load_network(self.file)
        weights = network.get_weights()
        found, expected = ([array.shape for array in arrays] for arrays in (weights, model.get_weights()))
        if found != expected:
            raise UserError(
                f"{run.path}: holds a {run.settings.model} for {run.settings.dataset}, whose weights have other shapes "
                f"than those of the {model.name} to be trained"
            )
        model.set_weights(weights)
        _tell_if_not_smooth(model, run.path, _smooths(network))


class _OfModelFile:
    """A model file of one network in float."""

    def __init__(self, path: str):
        self.file = Path(path)

    def origin(self, model: str, dataset: str, widths: list[int] | None) -> dict[str, Any]:
        card = Recognizer(self.file).card
        lineage = read(card.training)
        if isinstance(lineage, Ensemble):
            raise UserError(f"{self.file}: is joined of several; name one of them: {card.source_file}")
        if lineage.quantization:
            raise UserError(f"{self.file}: is in INT8; name the file in float that it was made from")
        if card.arithmetic != "standard":
            print(
                f"note: {self.file} learned with the first project's arithmetic of filters and sizes; "
                "it begins less accurate"
            )
        _check_network(self.file, card.architecture, card.dataset, card.training, model, dataset, widths)
        return card.training

    def load_into(self, model, batches: Iterable) -> None:
        from fer_tf.train.onnx_weights import load_model_file

        smooth = load_model_file(model, str(self.file), batches)
        _tell_if_not_smooth(model, self.file, smooth)


class _OfCheckpoint:
    """A PyTorch checkpoint."""

    def __init__(self, path: str):
        self.file = Path(path)

    def origin(self, model: str, dataset: str, widths: list[int] | None) -> None:
        with muted_stderr():
            self._read(model, channels(dataset, model))

    def load_into(self, model, batches: Iterable) -> None:
        from fer_tf.pytorch.port import port

        state, classes = self._read(model.name, model.input_shape[-1])
        ours = model.output_shape[-1]
        try:
            port(state, model, head=classes == ours)
        except UserError as error:
            raise UserError(f"{self.file}: {error}") from None
        if classes != ours:
            print(f"{self.file}: its last layer is for {classes} classes and was left out; ours starts anew")

    def _read(self, architecture: str, planes: int) -> tuple[dict, int]:
        """Returns the checkpoint's weights, and for how many classes its last layer is."""
        from fer_tf.pytorch.checkpoint import read_state_dict
        from fer_tf.pytorch.port import identify

        state = read_state_dict(str(self.file))
        try:
            found, channels, classes = identify(state)
        except UserError as error:
            raise UserError(f"{self.file}: {error}") from None
        if (found, channels) != (architecture, planes):
            raise UserError(
                f"{self.file}: holds a {found} of {channels} channels; expected a {architecture} of {planes} channels"
            )
        return state, classes


def _check_network(
    path: Path, found: str, found_dataset: str, origin: dict, model: str, dataset: str, widths: list[int] | None
) -> None:
    """Raises `OtherNetwork` if the weights at a path are of another network than the one to train."""
    if (found, found_dataset) != (model, dataset):
        message = f"{path}: is a {found} for {found_dataset}, not a {model} for {dataset}"
        raise OtherNetwork(message, {"model": found, "dataset": found_dataset})
    if (own := origin.get("widths")) != widths:
        raise OtherNetwork(f"{path}: is a {model} of other widths", {"widths": own})


def _smooths(network) -> bool:
    """Returns whether a network smooths its features."""
    import keras

    return any(isinstance(layer, keras.layers.AveragePooling2D) for layer in network.layers)


def _tell_if_not_smooth(model, path: Path, smooth: bool) -> None:
    """Tells of weights from before `mirror_resnet` smoothed its features; today's network answers otherwise."""
    if not smooth and _smooths(model):
        print(f"{path}: its network did not smooth its features as the one to train does; it begins less accurate")
