"""How every command parses its arguments, reports errors and exits."""

import argparse
import contextlib
import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from fer_tf import __version__
from fer_tf.errors import UserError, is_out_of_memory
from fer_tf.installation import program, remedy
from fer_tf.quiet import configure_tensorflow
from fer_tf.text import one_line

_SIGPIPE = 13
"""The signal that ends most programs when whatever reads their output is gone; Windows has no name for it."""


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` with `--version`. Its errors are one line, without the usage.

    Args:
        module: The command's module as in the checkout, such as `train.run`; the usage line is made from it.
        **kwargs: See `ArgumentParser`.
    """

    def __init__(self, module: str, **kwargs):
        super().__init__(prog=program(module), **kwargs)
        self.add_argument("--version", action="version", version=f"fer-tf {__version__}")

    def error(self, message: str) -> NoReturn:
        """Raises `UserError` with the message."""
        raise UserError(f"{message} (see {self.prog} --help)")


def _checked(kind: type, is_valid: Callable, expected: str) -> Callable[[str], int | float]:
    def convert(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not is_valid(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return convert


def positive(kind: type = int) -> Callable[[str], int | float]:
    """Returns an argparse type for a finite number above zero."""
    name = "a whole number" if kind is int else "a number"
    return _checked(kind, lambda value: 0 < value < float("inf"), f"{name} above 0")


threads = _checked(int, lambda value: 0 < value <= 1024, "a whole number from 1 to 1024")
"""An argparse type for a number of threads."""


def command(main: Callable[[list[str] | None], int | None]) -> Callable[..., int]:
    """Decorates a `main(argv)`, so that errors that a user can cause are one line on stderr and never a traceback.

    Exit codes: what `main` returns (0 for None); 2 for wrong input; 130 after Ctrl-C; 141, silently, if the reader of
    its output is gone.
    """

    @functools.wraps(main)
    def wrapper(argv: list[str] | None = None) -> int:
        configure_tensorflow()
        # Where no further thread can start, tqdm draws its bars without one, which is nobody's concern.
        warnings.filterwarnings("ignore", message="tqdm:disabling monitor support")
        _open_what_is_closed()
        # Characters that the terminal cannot show are escaped instead of ending the program.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            code = main(argv) or 0
            sys.stdout.flush()  # here, where a closed pipe is caught
            return code
        except UserError as error:
            return _fail(str(error))
        except ModuleNotFoundError as error:
            todo = remedy(error.name or "")
            if todo is None:
                raise
            return _fail(f"this needs {error.name}, which is not installed; {todo}")
        except BrokenPipeError:
            # The reader of our output (`| head`) is gone; this keeps Python from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + _SIGPIPE
        except OSError as error:
            return _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            code = 128 + signal.SIGINT
            if argv is None:  # at once, since a model that still runs in a thread would abort an orderly shutdown
                with contextlib.suppress(OSError):
                    sys.stdout.flush()
                os._exit(code)
            return code
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return _fail("out of memory; close other programs, or use smaller images, smaller batches or less data")

    return wrapper


def _open_what_is_closed() -> None:
    """Opens the null device as stdout or stderr where a program was started without them (`>&-`)."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            setattr(sys, name, open(descriptor, "w", closefd=False))  # noqa: SIM115


def _fail(message: str) -> int:
    print(f"error: {one_line(message)}", file=sys.stderr)
    return 2
