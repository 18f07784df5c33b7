"""Trains networks on data sets and compares them: `python -m train.matrix`."""

import itertools
import sys
from pathlib import Path

from fer_tf.catalogue import ARCHITECTURES, DATASETS
from fer_tf.command import Parser, command, positive, seed
from fer_tf.errors import UserError
from fer_tf.files import write_json
from fer_tf.quiet import muted_stderr
from fer_tf.train.run import DEFAULTS, complete, create, load_data, settle
from fer_tf.train.run_folder import RunFolder, option_words


def _parser() -> Parser:
    parser = Parser(
        "train.matrix",
        description="Train a cell for each network, data set and seed, and write what they score as a table "
        "(matrix.md, matrix.json) and a chart (matrix.png). A finished cell is kept and an interrupted one continued, "
        "so give the same command again, or another one with the same --output to add cells.",
        epilog="Exit codes: 0 done, 1 some cells failed, 2 wrong input, 130 interrupted (give the command again).",
    )
    option = parser.add_argument
    option("--models", nargs="+", choices=ARCHITECTURES, default=[DEFAULTS["model"]], help="default %(default)s")
    option("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS), help="default all nine")
    option("--epochs", type=positive(), default=25, help="of each cell (default %(default)s)")
    option("--seeds", nargs="+", type=seed, default=[0], help="default %(default)s")
    option("--limit", type=positive(), help="train on this many images only, chosen at random (default all)")
    option("--data", help="zip, folder or CSV (default $FER2013, data/fer2013.zip, ../shared/data/fer2013.zip)")
    option("--output", type=Path, default=Path("runs/matrix"), help="folder of the cells (default %(default)s)")
    return parser


@command
def main(argv: list[str] | None = None) -> int:
    """Trains what is not trained yet, measures it, and writes the comparison of all cells in the folder."""
    arguments = _parser().parse_args(argv)
    wanted = list(dict.fromkeys(itertools.product(arguments.seeds, arguments.models, arguments.datasets)))
    cells = []
    for number, model, dataset in wanted:
        given = {"model": model, "dataset": dataset, "seed": number}
        values = settle(given | {"epochs": arguments.epochs, "limit": arguments.limit})
        cells.append((RunFolder(arguments.output / f"{model}-{dataset}-seed{number}"), values))
    present = [RunFolder.open(path.parent) for path in sorted(arguments.output.glob("*/settings.json"))]
    _check_comparable(present, [values for _, values in cells])
    data = load_data(arguments.data)
    for folder in present:
        if folder.settings.data_fingerprint != data.fingerprint():
            raise UserError(f"{folder.path} is a cell of other images; take another --output or its --data")
    private = data.fingerprint("private")
    wanted_paths = {folder.path for folder, _ in cells}
    for folder in present:
        if folder.evaluation.exists() and not folder.is_measured(private) and folder.path not in wanted_paths:
            print(f"note: {folder.path.name} is left out until it is named: it was not measured on this PrivateTest")
    with muted_stderr():
        import keras

        from fer_tf.preprocessing.preprocessor import create_preprocessor
        from fer_tf.train.matrix_report import measure_cell, write_matrix

    for folder in present:
        settings = folder.settings
        default = create_preprocessor(settings.dataset, settings.model).filter_parameters
        if settings.filter and settings.filter != default:
            kept, others = (" ".join(option_words(values)) for values in (settings.filter, default))
            raise UserError(f"{folder.path} is a cell with --filter {kept}, not {others}; take another --output")

    failed = 0
    for number, (folder, values) in enumerate(cells, 1):
        print(f"cell {number}/{len(cells)}: {folder.path.name}", flush=True)
        try:
            if not folder.exists():
                create(folder, values, data)
            if not folder.is_measured(private):
                if not folder.public.exists():
                    complete(folder, data)
                figures = measure_cell(folder, data)
                write_json(folder.evaluation, {"private_fingerprint": private, "splits": figures})
        except UserError as error:
            failed += 1
            print(f"error: {folder.path.name}: {error}", file=sys.stderr)
            continue
        except (KeyboardInterrupt, BrokenPipeError):  # the latter if what read the output has gone
            print("\nstopped; give the same command again to continue", file=sys.stderr)
            return 130
        finally:
            keras.backend.clear_session()
        table = write_matrix(arguments.output, private)  # after each cell, so that there is something to look at
    if failed < len(cells):
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
                option = f"--{name.replace('_', '-')}"
                raise UserError(
                    f"{folder.path} is a cell with {option} {kept}, not {recipe[name]}; take another --output"
                )


if __name__ == "__main__":
    raise SystemExit(main())
