"""The progress bar of a matrix on workers: epochs and cells, the rate, the remaining time, and the workers alive."""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from tqdm import tqdm

from fer_tf.errors import UserError
from fer_tf.train.cell import Cell

_PAUSE = 5.0
"""Seconds between two counts of the epochs."""


class Progress:
    """A bar over the epochs of cells, shown on a terminal. Their histories tell how far they are.

    Args:
        cells: The cells that are to be finished.
    """

    def __init__(self, cells: Sequence[Cell]):
        self._cells, self._done, self._next = cells, 0, 0.0
        total = sum(cell.values["epochs"] for cell in cells)
        self._bar = tqdm(total=total, initial=self._epochs(), unit=" epochs", smoothing=0, disable=None)
        self._bar.set_postfix_str(f"cells 0/{len(cells)}, starting Ray")

    def count(self, cell: Cell) -> None:
        """Counts a cell that is done or has failed, and says which one it is."""
        self._done += 1
        self._next = 0.0
        tqdm.write(f"cell {self._done}/{len(self._cells)}: {cell.name}")
        sys.stdout.flush()  # for those who follow a log file

    def say(self, line: str) -> None:
        """Prints a line on stderr, above the bar."""
        tqdm.write(line, file=sys.stderr)

    def show(self, alive: int) -> None:
        """Shows the state of things; `alive` workers are at work."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PAUSE
        self._bar.update(self._epochs() - self._bar.n)
        self._bar.set_postfix_str(f"cells {self._done}/{len(self._cells)}, workers {alive}")

    def close(self) -> None:
        """Closes the bar."""
        self._bar.close()

    def _epochs(self) -> int:
        count = 0
        for cell in self._cells:
            with suppress(UserError, OSError):  # a damaged history is told of by the cell's worker
                count += len(cell.folder.read_history())
        return count
