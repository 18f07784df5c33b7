"""The progress bar of an archive: sources and bytes, the rate, the remaining time, and the workers alive."""

from collections.abc import Iterable

from tqdm import tqdm

from fer_tf.realtime.archive.parts import Entry
from fer_tf.realtime.archive.plan import Plan
from fer_tf.realtime.loop import say


class Progress:
    """A bar over all bytes, shown on a terminal; what failed is said above it, or on stderr alone.

    Args:
        plan: What is left to do, and what is done.
    """

    def __init__(self, plan: Plan):
        done, left = _bytes(plan.done), _bytes(plan.items)
        self._done, self._sources = len(plan.done), len(plan.done) + len(plan.items)
        self._bar = tqdm(total=done + left, initial=done, unit="B", unit_scale=True, disable=None)
        self._started = False
        self._bar.set_postfix_str(f"sources {self._done}/{self._sources}, starting Ray")

    def change(self, entry: Entry | None, alive: int) -> None:
        """Counts a source, if there is one, and shows how many workers are alive."""
        if alive and not self._started:
            self._started = True
            self._bar.unpause()  # the rate is that of the work, without the start of Ray
        if entry:
            self._done += 1
            if entry.error:
                say(f"error: {entry.error}")
            self._bar.update(entry.size)
        self._bar.set_postfix_str(f"sources {self._done}/{self._sources}, workers {alive}")

    def close(self) -> None:
        """Closes the bar."""
        self._bar.close()


def _bytes(files: Iterable) -> int:
    return sum(file.size for file in files)
