"""Trains networks on data sets and compares them: `python -m train.matrix`."""

import itertools
import sys
from pathlib import Path

from tqdm import tqdm

from fer_tf.catalogue import ARCHITECTURES, DATASETS
from fer_tf.command import Parser, command, positive
from fer_tf.errors import UserError
from fer_tf.quiet import muted_stderr
from fer_tf.train import schedule
from fer_tf.train.cell import Cell
from fer_tf.train.options import DATA_HELP, add_option, number
from fer_tf.train.run_folder import RunFolder
from fer_tf.train.session import load_data
from fer_tf.train.settings import COUNT, OPTIONS, SEED, flag, option_words, settle


def _parser() -> Parser:
    parser = Parser(
        "train.matrix",
        description="Train a cell for each network, data set and seed, and write their scores as a table (matrix.md, "
        "matrix.json) and a chart (matrix.png). Finished cells are kept and interrupted ones continued: give the same "
        "command again, or another one with the same --output to add cells.",
        epilog="Exit codes: 0 done, 1 some cells failed, 2 wrong input, 130 interrupted (give the command again).",
    )
    option = parser.add_argument
    usual = OPTIONS["model"].default
    option(
        "--models",
        nargs="+",
        choices=ARCHITECTURES,
        metavar="NAME",
        default=[usual],
        help=f"networks ({', '.join(ARCHITECTURES)}; default: {usual})",
    )
    option(
        "--datasets",
        nargs="+",
        choices=DATASETS,
        metavar="NAME",
        default=list(DATASETS),
        help=f"data sets ({', '.join(DATASETS)}; default: all nine)",
    )
    option("--seeds", nargs="+", type=number(int, SEED), metavar="N", default=[0], help="seeds (default: 0)")
    option("--epochs", type=number(int, COUNT), metavar="N", default=25, help="epochs per cell (default: 25)")
    add_option(parser, "limit")
    option("--data", metavar="PATH", help=DATA_HELP)
    add_option(parser, "classes")
    option("--output", type=Path, metavar="DIR", default=Path("runs/matrix"), help="folder (default: runs/matrix)")
    add = parser.add_argument_group(
        "workers",
        "Train several cells at once, on Ray. Each worker computes in one thread, so figures do not depend on the "
        "number of workers. They depend on the kind of processor. Without workers, TensorFlow uses all processors for "
        "one cell and rounds otherwise, unless TF_NUM_INTRAOP_THREADS=1 is set. docs/cluster.md says more.",
    ).add_argument
    add("--workers", type=positive(), metavar="N", help="number of workers (with --address: one for each processor)")
    add("--address", metavar="HOST:PORT", help="head of a Ray cluster (default: this machine alone)")
    return parser


@command
def main(argv: list[str] | None = None) -> int:
    """Trains what is not trained yet, measures it, and writes the comparison of all cells in the folder."""
    arguments = _parser().parse_args(argv)
    wanted = list(dict.fromkeys(itertools.product(arguments.seeds, arguments.models, arguments.datasets)))
    cells = []
    for seed, model, dataset in wanted:
        given = {"model": model, "dataset": dataset, "seed": seed, "classes": arguments.classes}
        values = settle(given | {"epochs": arguments.epochs, "limit": arguments.limit})
        cells.append(Cell(RunFolder(arguments.output / f"{model}-{dataset}-seed{seed}"), values))
    present = [RunFolder.open(path.parent) for path in sorted(arguments.output.glob("*/settings.json"))]
    _check_comparable(present, [cell.values for cell in cells])
    data = load_data(arguments.data, arguments.classes)
    for folder in present:
        if folder.settings.data_fingerprint != data.fingerprint():
            raise UserError(f"{folder.path} is a cell of other images; take another --output or its --data")
    private = data.fingerprint("private")
    wanted_paths = {cell.folder.path for cell in cells}
    for folder in present:
        if folder.evaluation.exists() and not folder.is_measured(private) and folder.path not in wanted_paths:
            print(f"note: {folder.path.name} is left out until it is named: it was not measured on this PrivateTest")
    _check_filters(present)
    with muted_stderr():
        from fer_tf.train.matrix_report import write_matrix

    failed = 0

    def take(cell: Cell, error: str | None) -> None:
        nonlocal failed
        if error:
            failed += 1
            tqdm.write(f"error: {cell.name}: {error}", file=sys.stderr)
        else:  # after each cell, so that there is something to look at
            write_matrix(arguments.output, private, choosing=data.choosing)

    try:
        if arguments.workers or arguments.address:
            left = [cell for cell in cells if not cell.is_done(private)]
            if left:
                schedule.run(
                    left,
                    data,
                    private,
                    output=arguments.output,
                    address=arguments.address,
                    workers=arguments.workers,
                    on_done=take,
                )
        else:
            for place, cell in enumerate(cells, 1):
                print(f"cell {place}/{len(cells)}: {cell.name}", flush=True)
                try:
                    cell.finish(data, private)
                except UserError as error:
                    take(cell, str(error))
                else:
                    take(cell, None)
    except (KeyboardInterrupt, BrokenPipeError):  # the latter if what read the output has gone
        print("\nstopped; give the same command again to continue", file=sys.stderr)
        return 130
    if failed < len(cells):
        table = write_matrix(arguments.output, private, choosing=data.choosing)
        print(f"{table}\n\n{arguments.output}: matrix.md, matrix.json, matrix.png")
    return 1 if failed else 0


def _check_comparable(present: list[RunFolder], wanted: list[dict]) -> None:
    """Raises `UserError` if a cell that is there already was made otherwise than those that are wanted."""
    recipes = {values["model"]: values for values in wanted}
    for folder in present:
        # Of a network that is not wanted now, only what all networks share is known.
        recipe = recipes.get(folder.settings.model, {"limit": wanted[0]["limit"]})
        for name in (name for name in recipe if name not in ("dataset", "filter", "seed")):
            kept = getattr(folder.settings, name)
            if kept != recipe[name]:
                raise UserError(
                    f"{folder.path} is a cell with {flag(name)} {kept}, not {recipe[name]}; take another --output"
                )


def _check_filters(present: list[RunFolder]) -> None:
    """Raises `UserError` if a cell that is there already has another filter than cells have."""
    for folder in (folder for folder in present if folder.settings.filter):
        with muted_stderr():
            from fer_tf.preprocessing.preprocessor import create_preprocessor
        settings = folder.settings
        default = create_preprocessor(settings.dataset, settings.model).filter_parameters
        if settings.filter != default:
            kept, others = (" ".join(option_words(values)) for values in (settings.filter, default))
            raise UserError(f"{folder.path} is a cell with --filter {kept}, not {others}; take another --output")


if __name__ == "__main__":
    raise SystemExit(main())
