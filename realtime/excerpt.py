"""Which frames of a source are wanted: every how many, from when and until when."""

import argparse
import math
import re
from dataclasses import dataclass

_TOLERANCE_S = 1e-6
"""Times are sums and quotients, and so may be a little early."""


@dataclass(frozen=True)
class Excerpt:
    """Which frames of a source are wanted."""

    every: int = 1
    """Every how many frames one is taken, from the first on."""
    start_s: float = 0.0
    """Time of the first frame, in seconds."""
    end_s: float = math.inf
    """Time before which the last frame lies, in seconds."""

    @property
    def no_frame(self) -> str:
        """What is wrong with a source that ends before any wanted frame."""
        return f"it has no frame from --start {self.start_s:g} s on; choose an earlier time"

    @property
    def is_whole(self) -> bool:
        """Whether all frames are wanted."""
        return self == WHOLE

    def wants(self, index: int, time_s: float) -> bool:
        """Returns whether a frame is wanted; `index` counts from 0."""
        return index % self.every == 0 and time_s > self.start_s - _TOLERANCE_S and not self.ends_before(time_s)

    def ends_before(self, time_s: float) -> bool:
        """Returns whether no frame from `time_s` on is wanted."""
        return time_s > self.end_s - _TOLERANCE_S

    def length(self, length: int | None, fps: float) -> int | None:
        """Returns how many frames are wanted of a source with `length` frames, if that is known."""
        if length is None or self.is_whole:
            return length
        return max(1, math.ceil((min(length, self.end_s * fps) - min(length, self.start_s * fps)) / self.every))


WHOLE = Excerpt()
"""All frames of a source."""


def seconds(text: str) -> float:
    """Converts a time such as `90`, `1:30` or `0:01:30.5` to seconds; an argparse type."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90, 1:30 or 0:01:30.5")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest
