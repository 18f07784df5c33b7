"""Costs of loops that take turns in short slices, and ratios of them that a busy machine cannot fool."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tqdm import tqdm

WIDEST_SPREAD = 2.0
"""Largest ratio of two slices of one loop with which it is still compared to others."""

Measure = Literal["wall", "cpu"]


@dataclass(frozen=True)
class Cost:
    """What one frame takes, as the mean of a slice."""

    wall: float
    """Seconds that pass."""
    cpu: float
    """CPU seconds of all threads. Other work on the machine hardly changes them."""


class Comparison:
    """The slices of several loops.

    Args:
        slices: The slices of each loop, of the same rounds in the same order.
    """

    def __init__(self, slices: Mapping[str, Sequence[Cost]]):
        self.slices = slices

    @classmethod
    def in_turn(cls, loops: Mapping[str, Callable[[], Cost]], *, rounds: int, description: str) -> "Comparison":
        """Runs slices of all loops in turn, so that other work on the machine affects all of them alike.

        Args:
            loops: Functions that each run a slice.
            rounds: Number of slices of each loop.
            description: Stands before the progress bar.
        """
        slices: dict[str, list[Cost]] = {name: [] for name in loops}
        for _ in tqdm(range(rounds), desc=description, unit="round", disable=None):
            for name, run in loops.items():
                slices[name].append(run())
        return cls(slices)

    def median(self, name: str, measure: Measure) -> float:
        """Returns the median cost of a loop, in seconds a frame."""
        return float(np.median(self._values(name, measure)))

    def spread(self, name: str, measure: Measure) -> float:
        """Returns the cost of a loop's most expensive slice, as a multiple of that of its cheapest."""
        values = self._values(name, measure)
        return float(values.max() / values.min()) if values.min() > 0 else float("inf")

    def ratio(self, name: str, base: str, measure: Measure) -> float | None:
        """Returns the median over all rounds of what one loop costs as a multiple of another.

        Returns:
            The ratio; None if it is refused, since slices of one of them differ by more than `WIDEST_SPREAD`.
        """
        if max(self.spread(name, measure), self.spread(base, measure)) > WIDEST_SPREAD:
            return None
        return float(np.median(self._values(name, measure) / self._values(base, measure)))

    def unsteady(self) -> list[str]:
        """Names each loop whose slices differ by more than `WIDEST_SPREAD`, with the factor."""
        measures: tuple[tuple[Measure, str], ...] = (("wall", "time"), ("cpu", "CPU time"))
        return [
            f"{name} ({word} ×{self.spread(name, measure):.1f})"
            for name in self.slices
            for measure, word in measures
            if self.spread(name, measure) > WIDEST_SPREAD
        ]

    def columns(self, name: str) -> str:
        """Returns four cells of a Markdown table: milliseconds a frame and their spread, by the clock and of CPU."""
        measures: tuple[Measure, ...] = ("wall", "cpu")
        cells = [(1000 * self.median(name, measure), self.spread(name, measure)) for measure in measures]
        return " | ".join(f"{cost:.1f} | {spread:.2f}" for cost, spread in cells)

    def _values(self, name: str, measure: Measure) -> np.ndarray:
        return np.array([getattr(cost, measure) for cost in self.slices[name]])


COLUMNS = "ms a frame | slowest slice / fastest | CPU ms a frame | most / least"
"""Heads of the cells of `Comparison.columns`."""


def multiple(ratio: float | None) -> str:
    """Formats a ratio for a table; `refused` for None."""
    return "refused" if ratio is None else f"{ratio:.2f}"
