"""Makes whole pictures of interlaced frames."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av


class Deinterlacer:
    """Makes whole pictures of interlaced frames and passes on the others, as many as it gets.

    The filter looks at the frames before and after, so it is one frame late, from the first interlaced frame on.
    """

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[Any, ...] = ()

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Takes a frame and yields those that are finished."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.flush()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._graph, self._shape = _deinterlacing(frame), shape
        self._graph.vpush(frame)
        yield from self._pull()

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yields the frames that are left."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._pull()
        self._graph = None

    def _pull(self) -> Iterator[av.VideoFrame]:
        while self._graph is not None:
            try:
                yield self._graph.vpull()
            except (BlockingIOError, EOFError):  # it wants another frame, or has given its last
                return


def _deinterlacing(frame: av.VideoFrame) -> av.filter.Graph:
    """Returns a graph that deinterlaces frames like this one, each into one."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph
