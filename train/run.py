"""Trains a network: `python -m train.run --dataset stack_sharpen`."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from fer_tf.command import command
from fer_tf.errors import UserError, is_out_of_memory
from fer_tf.fer2013 import PUBLIC_TEST
from fer_tf.installation import program
from fer_tf.train.options import check_needs, create_parser, given
from fer_tf.train.run_folder import Busy, RunFolder
from fer_tf.train.session import check_files, complete, create, load_data
from fer_tf.train.settings import flag, option_words, settle
from fer_tf.train.warm_start import OtherNetwork


@command
def main(argv: list[str] | None = None) -> int:
    """Trains, or continues, one run and writes its report."""
    arguments = vars(create_parser().parse_args(argv))
    output, resume, data_path = (arguments[name] for name in ("output", "resume", "data"))
    chosen = given(arguments)
    for name in chosen.keys() & {"init", "ferplus"}:
        chosen[name] = os.path.abspath(chosen[name])
    if "teacher" in chosen:
        chosen["teacher"] = [os.path.abspath(path) for path in chosen["teacher"]]
    if resume:
        folder = _opened(resume, output, chosen)
        data = load_data(data_path or folder.settings.data, folder.settings.classes)
    else:
        check_needs(chosen)
        values = settle(chosen)
        init_origin = _checked(values)
        folder = _new(output, values)
        data = load_data(data_path, values["classes"])
        create(folder, values, data, init_origin)
    try:
        report = complete(folder, data)
    except (KeyboardInterrupt, BrokenPipeError):  # the latter if what read the output has gone
        epochs = len(folder.read_history())
        print(
            f"\nstopped after {epochs} of {folder.settings.epochs} epochs; continue with: {folder.resuming}",
            file=sys.stderr,
        )
        return 130
    except Busy:
        raise
    except Exception as error:
        if not resume and (isinstance(error, UserError | ModuleNotFoundError) or is_out_of_memory(error)):
            folder.discard_unstarted()
        raise
    measured = data.choosing if data.choosing == PUBLIC_TEST else f"{len(data.public):,} {data.choosing}:"
    print(f"{measured} {report['accuracy']:.2%} at epoch {report['epoch']}, temperature {report['temperature']:.3f}")
    print(f"{folder.path}: model.keras, history.csv, settings.json, public.json, curves.png, confusion.png")
    print(f"next: {program('export.onnx')} {folder.path}")
    return 0


def _checked(values: dict[str, Any]) -> dict[str, Any] | None:
    """Returns what `check_files` does; its advice names options."""
    try:
        return check_files(values)
    except OtherNetwork as error:
        words = [word for name, value in error.settings.items() for word in (flag(name), *option_words(value))]
        missing = [flag(name) for name, value in error.settings.items() if value is None]
        advice = f"leave {missing[0]} out" if missing else f"give {' '.join(words)}"
        raise UserError(f"--init {error}; {advice}") from None


def _new(output: str | None, values: dict[str, Any]) -> RunFolder:
    """Returns the folder of a new run, which is not made yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = RunFolder(output or os.path.join("runs", f"{stamp}-{values['model']}-{values['dataset']}"))
    folder.check_free()
    return folder


def _opened(path: str, output: str | None, chosen: dict[str, Any]) -> RunFolder:
    """Returns the run to continue, if no option contradicts it."""
    folder = RunFolder.open(path)
    if output is not None and Path(output).absolute() != folder.path.absolute():
        raise UserError(f"--resume {path} continues in its own folder; leave --output out")
    for name, value in chosen.items():
        kept = getattr(folder.settings, name)
        if value != kept and not (name == "filter" and value.items() <= (kept or {}).items()):
            kept, value = (" ".join(option_words(words)) for words in (kept, value))
            raise UserError(
                f"{path} is a run with {flag(name)} {kept}, not {value}; leave the option out or start anew"
            )
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
