"""Exports a finished run as one model file: `python -m export.onnx [RUN_DIR]`."""

from pathlib import Path

from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.export.from_run import export_run
from fer_tf.installation import program
from fer_tf.train.run_folder import RunFolder


@command
def main(argv: list[str] | None = None) -> None:
    """Writes the model file of a run."""
    parser = Parser(
        "export.onnx",
        description="Export a finished run as one ONNX file: preprocessing, network, calibration and softmax. The file "
        "is compared with Keras before it is kept.",
    )
    option = parser.add_argument
    option(
        "run",
        nargs="?",
        metavar="RUN_DIR",
        help="a finished run's folder or model.keras (default: the newest in runs/)",
    )
    option("-o", "--output", metavar="OUT.onnx", help="file to write (default: RUN_DIR/<architecture>-<dataset>.onnx)")
    option("--force", action="store_true", help="overwrite OUT.onnx even if it was made from another run")
    arguments = parser.parse_args(argv)
    folder = _open(arguments.run) if arguments.run else RunFolder.newest()
    path = export_run(folder, arguments.output, force=arguments.force)
    print(f"next: {program('realtime.webcam')} --model {path}")


def _open(path: str) -> RunFolder:
    """Opens the run that a path names: its folder, or the `model.keras` in it.

    Raises:
        UserError: if it names something else; it says what to give instead.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix in (".pth", ".pt", ".ckpt", ".safetensors"):
        raise UserError(f"{path}: a PyTorch checkpoint; import it by {program('export.from_pth')}")
    if suffix == ".onnx":
        raise UserError(f"{path}: an ONNX file; expected the folder of a run")
    if suffix not in (".keras", ".h5", ".hdf5") or file.is_dir():
        return RunFolder.open(path)
    run = RunFolder(file.parent)
    if run.exists() and file.name == run.model.name:
        return RunFolder.open(file.parent)
    what = f"name its folder, {file.parent}" if run.exists() else "expected the folder of a run"
    raise UserError(
        f"{path}: a Keras file alone does not say how its input was preprocessed; {what} (settings.json, public.json "
        f"and model.keras, as {program('train.run')} writes them)"
    )


if __name__ == "__main__":
    raise SystemExit(main())
