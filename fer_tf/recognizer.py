"""Runs a model file by onnxruntime. `python -m fer_tf.recognizer FILE` prints its card."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tqdm import tqdm

from fer_tf.card import INPUT_NAME, METADATA_KEY, OUTPUT_NAME, ModelCard
from fer_tf.catalogue import IMAGE_SIZE
from fer_tf.classes import CLASSES
from fer_tf.command import Parser, command
from fer_tf.detector_card import DETECTOR_KEY
from fer_tf.errors import UserError, is_out_of_memory
from fer_tf.installation import program

_BATCH = 64
"""How many images `predict` gives to one call."""

LARGEST_BATCH = 256
"""How many faces a `Recognizer` gives to onnxruntime at once; more are split, so that memory stays bounded."""

_LARGE = 32_000_000
"""Bytes of a model file from which on the threads of a call share each operator. Operators of smaller networks are so
short that threads would mostly wait for each other, so each takes a part of the faces."""

_SUM_TOLERANCE = 1e-3
"""How far the sum of a row may be from 1."""


class Recognizer:
    """A model file, ready to run.

    The file carries the filter, stack, scaling, network, calibration and softmax, so the faces go in as they were
    cropped. One recognizer may be shared between threads, and pickled: the copy opens the file again.

    Example:
        >>> import fer_tf
        >>> recognizer = fer_tf.Recognizer(fer_tf.DEFAULT_MODEL)
        >>> recognizer(np.zeros((2, 48, 48), np.uint8)).shape
        (2, 7)

    Args:
        path: The model file.
        threads: How many threads one call may use; None is one for each core that this process may use.
        providers: onnxruntime execution providers, most wanted first.

    Raises:
        UserError: if there is no such file, if it is no model file of this format, or if a provider is not present or
            cannot be used.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ):
        path = Path(path)
        self._path = path
        self._arguments: dict[str, Any] = {"threads": threads, "providers": tuple(providers)}
        if not path.is_file():
            raise UserError(f"{path}: no such model file; expected an .onnx file that {program('export.onnx')} wrote")
        present = onnxruntime.get_available_providers()
        absent = [provider for provider in providers if provider not in present]
        if absent:
            raise UserError(f"provider {', '.join(absent)} is not present; this onnxruntime has {', '.join(present)}")
        onnxruntime.set_default_logger_severity(4)  # of what fails outside of a session
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong with a file is said by the error, once
        threads = threads or _cores()
        share_faces = path.stat().st_size < _LARGE and tuple(providers) == ("CPUExecutionProvider",)
        self._parts, options.intra_op_num_threads = (threads, 1) if share_faces else (1, threads)
        self._pool = ThreadPoolExecutor(threads - 1, "recognizer") if self._parts > 1 else None
        # Idle threads that spin would take the cores from whoever decodes, detects and draws beside us.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=list(providers))
        except Exception as error:  # onnxruntime's exceptions have no common base but this
            if is_out_of_memory(error):
                raise UserError(f"{path}: not enough memory to load it; close other programs") from None
            raise UserError(f"{path}: not a readable ONNX file ({str(error).splitlines()[0]})") from None
        unusable = [provider for provider in providers if provider not in self._session.get_providers()]
        if unusable:  # onnxruntime would go on without it
            raise UserError(
                f"provider {', '.join(unusable)} cannot be used here, for want of a driver or device; "
                f"this onnxruntime has {', '.join(present)}"
            )
        self.card = _read_card(path, self._session)

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Returns the probabilities of the classes for each face.

        Args:
            faces: uint8 [N, 48, 48], gray crops, 0 to 255; N may be 0.

        Returns:
            float32 [N, 7], in the order of `fer_tf.classes.CLASSES`; each row sums to 1.

        Raises:
            ValueError: if `faces` has another shape or dtype.
            UserError: if the model fails, or answers with anything but probabilities.
        """
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"faces must be uint8 [N, {IMAGE_SIZE}, {IMAGE_SIZE}]. Received: {faces.dtype} {list(faces.shape)}"
            )
        if not len(faces):
            return np.zeros((0, len(CLASSES)), np.float32)
        step = min(LARGEST_BATCH, -(-len(faces) // self._parts))
        first, *others = (faces[start : start + step] for start in range(0, len(faces), step))
        if not self._pool or not others:
            return np.concatenate([self._run(part) for part in (first, *others)])
        waiting = [self._pool.submit(self._run, part) for part in others]
        return np.concatenate([self._run(first), *(part.result() for part in waiting)])

    def __reduce__(self):
        return partial(type(self), self._path.absolute(), **self._arguments), ()

    def _run(self, faces: np.ndarray) -> np.ndarray:
        try:
            rows = self._session.run([OUTPUT_NAME], {INPUT_NAME: faces})[0]
        except Exception as error:  # onnxruntime's exceptions have no common base but this
            if is_out_of_memory(error):
                raise UserError(f"{self._path}: not enough memory to run it; close other programs") from None
            reason = str(error).partition("\n")[0][:300]
            raise UserError(f"{self._path}: the model failed while it ran ({reason}); export it again") from None
        if fault := _fault_of(rows, len(faces)):
            raise UserError(f"{self._path}: answers with {fault}; expected probabilities, so export the model again")
        return rows


def predict(
    recognize: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    *,
    description: str = "recognizing",
) -> np.ndarray:
    """Returns the probabilities, float32 [N, 7], of images, uint8 [N, 48, 48], under a progress bar.

    Args:
        recognize: A `Recognizer`, or what does the same.
        images: As many as fit in memory; at least one.
        description: Stands before the bar.
    """
    rows = []
    with tqdm(total=len(images), desc=description, unit=" faces", disable=None) as bar:
        for start in range(0, len(images), _BATCH):
            rows.append(recognize(images[start : start + _BATCH]))
            bar.update(len(rows[-1]))
    return np.concatenate(rows)


def _cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fault_of(rows: np.ndarray, count: int) -> str | None:
    """Returns what keeps a model's answer from being the probabilities of so many faces; None if nothing does."""
    if rows.shape != (count, len(CLASSES)):
        return f"{rows.shape} numbers for {count} faces"
    sums = rows.sum(axis=1)
    if not np.isfinite(sums).all():
        return "NaN or infinite values"
    if rows.min() < 0:
        return f"negative values ({rows.min():.3g})"
    if abs(sums - 1).max() > _SUM_TOLERANCE:
        return f"rows that sum to {sums[abs(sums - 1).argmax()]:.3g} and not to 1"
    return None


def _read_card(path: Path, session: onnxruntime.InferenceSession) -> ModelCard:
    """Returns the card of a file whose inputs and outputs are those of the format, or raises `UserError`."""
    try:
        metadata = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise UserError(f"{path}: its metadata is damaged; export the model again") from None
    if DETECTOR_KEY in metadata:
        raise UserError(f"{path}: is a face detector; pass it as --detector-model")
    text = metadata.get(METADATA_KEY)
    if text is None:
        wanted = f"expected a file that {program('export.onnx')} wrote"
        raise UserError(f"{path}: no model card ({METADATA_KEY}) in it; {wanted}")
    try:
        card = ModelCard.from_json(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for kind, found, expected in (
        ("input", session.get_inputs(), (INPUT_NAME, "tensor(uint8)", [IMAGE_SIZE, IMAGE_SIZE])),
        ("output", session.get_outputs(), (OUTPUT_NAME, "tensor(float)", [len(CLASSES)])),
    ):
        signatures = [(node.name, node.type, list(node.shape)) for node in found]
        name, dtype, shape = expected
        fits = len(found) == 1 and signatures[0][:2] == (name, dtype) and signatures[0][2][1:] == shape
        if not fits or isinstance(signatures[0][2][0], int):
            have = "; ".join(f"{n} {t} {s}" for n, t, s in signatures) or "none"
            raise UserError(f"{path}: expected one {kind} {name} {dtype} {['batch', *shape]}, found {have}")
    return card


@command
def main(argv: list[str] | None = None) -> None:
    """Prints the card of a model file as JSON."""
    parser = Parser("fer_tf.recognizer", description="Print the model card of a model file as JSON.")
    parser.add_argument("file", metavar="FILE.onnx", help="model file")
    print(Recognizer(parser.parse_args(argv).file).card.to_json())


if __name__ == "__main__":
    raise SystemExit(main())
