"""Makes the model file of a finished run."""

from pathlib import Path

from fer_tf.card import ModelCard
from fer_tf.errors import UserError
from fer_tf.export.publish import check_output
from fer_tf.files import sha256
from fer_tf.lineage import Run
from fer_tf.quiet import muted_stderr
from fer_tf.train.run_folder import RunFolder


def export_run(folder: RunFolder, output: Path | str | None = None, *, force: bool = False) -> Path:
    """Exports a run, prints the measured difference to Keras, and returns the model file's path.

    Args:
        folder: A finished run's.
        output: The model file; None is `<architecture>-<dataset>.onnx` in the folder.
        force: Whether to replace a file that was made from something else.

    Raises:
        UserError: if the run is not finished, its model is damaged, or the output is not what it should be.
    """
    settings, metrics = folder.settings, folder.public_metrics()
    path = Path(output or folder.path / f"{settings.model}-{settings.dataset}.onnx")
    if not folder.model.is_file():
        raise UserError(f"{folder.model}: missing; train the run anew")
    digest = sha256(folder.model)
    check_output(path, [folder.model], digest, force=force)
    with muted_stderr():
        from fer_tf.export.convert import convert
    network = folder.network()
    temperature, shares = metrics.pop("temperature"), metrics.pop("training_shares", None)
    preprocessor = folder.preprocessor()
    card = ModelCard(
        name=path.stem,
        architecture=settings.model,
        dataset=settings.dataset,
        arithmetic="standard",
        framework="keras",
        source_file=folder.model.name,
        source_sha256=digest,
        training=Run(folder.record() | preprocessor.resizing).record,
        metrics=metrics,
        temperature=temperature,
        training_shares=shares,
    )
    difference = convert(network, preprocessor, card, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, onnxruntime and Keras differ by at most {difference:.1e}")
    return path
