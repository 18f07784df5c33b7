"""Gives shards to workers: who does what next, and what a worker that ended was at."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fer_tf import __version__
from fer_tf.cluster import TRIES, Crew, Placed, connected
from fer_tf.errors import UserError
from fer_tf.realtime.archive.listing import Item
from fer_tf.realtime.archive.parts import Entry, entry_of
from fer_tf.realtime.archive.plan import Shard
from fer_tf.realtime.archive.worker import Labeler


class _Actor(Labeler, Placed):
    """A `Labeler` as a worker."""


class _Begun:
    """How far a shard is.

    Attributes:
        shard: The shard.
        item: The source that is labeled; None before the first, and while the part is written.
        left: The sources that follow.
        entries: What became of those before.
        is_new: Whether no source was sent to a worker yet.
    """

    def __init__(self, shard: Shard):
        self.shard, self.left = shard, deque(shard.items)
        self.item: Item | None = None
        self.entries: list[Entry] = []
        self.is_new = True


class Job(Crew[_Begun]):
    """Workers that label shards until all are done.

    A worker gets one source at a time, so it is known which one it was at if it ends. Then another is started, and
    whoever is free first begins the shard anew: rows that were not written are gone with the worker, and a part is
    written only when it is whole. A source that ends its worker `TRIES` times is left out.

    Args:
        ray: The module, connected.
        workers: Number of workers.
        arguments: Those of `Labeler`.
        on_change: Called after each source with what became of it, and at least every half second with None.
    """

    def __init__(
        self,
        ray: Any,
        workers: int,
        arguments: Sequence[Any],
        on_change: Callable[[Entry | None], object],
    ):
        super().__init__(ray, _Actor, arguments, workers)
        self._on_change = on_change
        self._ended: Counter[str] = Counter()
        self._told: set[str] = set()

    def label(self, shards: Sequence[Shard]) -> None:
        """Labels all shards, the first ones first.

        Raises:
            UserError: if no worker can start, or a part cannot be written.
        """
        self.run(map(_Begun, shards))

    def _call(self, actor: Any, work: _Begun) -> Any:
        """Sends a worker the next source, or has it write the part."""
        while work.left and self._ended[work.left[0].path] >= TRIES:
            item = work.left.popleft()
            self._add(work, entry_of(item, error=f"{item.source}: ended its worker {TRIES} times; left out"))
        anew = work.is_new
        if work.left:
            work.item, work.is_new = work.left.popleft(), False
            return actor.label.remote(work.item, anew=anew)
        work.item = None
        return actor.finish.remote(work.shard.name, work.entries, work.shard.kept, anew=anew)

    def _take(self, work: _Begun, answer: Any) -> bool:
        if work.item is None:
            return True
        self._add(work, answer)
        return False

    def _add(self, work: _Begun, entry: Entry) -> None:
        work.entries.append(entry)
        if entry.path not in self._told:  # of a shard that is done anew, not twice
            self._told.add(entry.path)
            self._on_change(entry)

    def _take_back(self, work: _Begun, *, is_blamed: bool) -> _Begun:
        name = work.item.path if work.item else work.shard.name
        self._ended[name] += is_blamed
        if not work.item and self._ended[name] >= TRIES:
            raise UserError(f"{name}: its worker ended {TRIES} times while it wrote it; is the memory enough?")
        return _Begun(work.shard)

    def _look(self) -> None:
        self._on_change(None)


def run(
    shards: Sequence[Shard],
    *,
    output: str,
    options: Mapping[str, Any],
    address: str | None = None,
    workers: int | None = None,
    on_change: Callable[[Entry | None, int], object] = lambda entry, alive: None,
) -> None:
    """Labels shards on Ray.

    Args:
        shards: The work.
        output: `Store.place` of where the parts go.
        options: See `Labeler`.
        address: See `connected`.
        workers: See `connected`.
        on_change: Called after each source with what became of it, and at least every half second with None; and with
            the number of workers that are alive.

    Raises:
        UserError: if the cluster is not reached, no worker can start, or a part cannot be written.
    """
    with connected(address, workers) as (ray, count):
        job = Job(ray, count, [output, __version__, options], lambda entry: on_change(entry, job.alive))
        job.label(shards)
