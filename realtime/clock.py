"""Times for frames whose timestamps may be missing or wrong."""


class Clock:
    """Makes times that begin at 0 and never stand still of timestamps that may be missing, repeated or begin anew.

    Args:
        fps: Frames per second.
    """

    def __init__(self, fps: float):
        self._step = 1 / fps
        self._start: float | None = None
        self._position = 0.0
        self.time_s = -self._step

    def read(self, position: float | None) -> float:
        """Returns the time of a frame, in seconds, by its timestamp, if it has one."""
        if position is None:
            self.time_s += self._step
            return self.time_s
        if self._start is None or position < self._position - 2 * self._step:  # as where recordings were joined
            self._start = position - (self.time_s + self._step)
        before, self._position = self._position, position
        elapsed = position - self._start
        if elapsed > self.time_s:
            self.time_s = elapsed
        elif position >= before and elapsed > 0:  # a repeated timestamp, or one after a step back
            self.time_s += 0.001
        else:
            self.time_s += self._step
        return self.time_s
