"""Exports a finished run as one model file: `python -m export.onnx [RUN_DIR]`."""

from fer_tf.command import Parser, command
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
    option("run", nargs="?", metavar="RUN_DIR", help="folder of a finished run (default: the newest in runs/)")
    option("-o", "--output", metavar="OUT.onnx", help="file to write (default: RUN_DIR/<architecture>-<dataset>.onnx)")
    option("--force", action="store_true", help="overwrite OUT.onnx even if it was made from another run")
    arguments = parser.parse_args(argv)
    folder = RunFolder.open(arguments.run) if arguments.run else RunFolder.newest()
    path = export_run(folder, arguments.output, force=arguments.force)
    print(f"next: {program('realtime.webcam')} --model {path}")


if __name__ == "__main__":
    raise SystemExit(main())
