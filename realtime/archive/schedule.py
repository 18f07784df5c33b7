"""Gives shards to workers on Ray: who does what next, and what a worker that ended was at. Only this file knows Ray."""

import logging
import os
import signal
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fer_tf import __version__
from fer_tf.errors import UserError
from fer_tf.realtime.archive.listing import Item
from fer_tf.realtime.archive.parts import Entry, entry_of
from fer_tf.realtime.archive.plan import Shard
from fer_tf.realtime.archive.worker import Labeler

TRIES = 3
"""A source that ends its worker so many times is a failure."""

_STARTS = 5
"""Workers that may end in a row before they are ready, before the job does."""

_OBJECT_STORE = 128 * 2**20
"""Bytes of shared memory for Ray's objects on this machine; they are the model files alone."""

_REACH = 10.0
"""Seconds that the head of a cluster has to answer."""

_TICK = 0.5
"""Longest time in seconds between two calls of `on_change`."""


class Job:
    """Workers that label shards until all are done.

    A worker gets one source at a time, so it is known which one it was at if it ends. Then another is started, and
    whoever is free first begins the shard anew: rows that were not written are gone with the worker, and a part is
    written only when it is whole. A source that ends its worker `TRIES` times is left out. Workers that end with their
    machine, or with the driver, do not count.

    Args:
        ray: The module, connected.
        workers: Number of workers.
        arguments: Those of `Labeler`.
        on_change: Called after each source with what became of it, and at least every half second with None.

    Attributes:
        alive: Number of workers that are ready.
    """

    def __init__(
        self,
        ray: Any,
        workers: int,
        arguments: Sequence[Any],
        on_change: Callable[[Entry | None], object],
    ):
        self._ray, self._workers, self._on_change = ray, workers, on_change
        self._arguments = [ray.put(argument) for argument in arguments]  # once for each machine
        self._queue: deque[Shard] = deque()
        self._ended: Counter[str] = Counter()
        self._told: set[str] = set()
        self._failed_starts = 0
        self._calls: dict[Any, _Worker] = {}

    @property
    def alive(self) -> int:
        """Number of workers that are ready."""
        return sum(worker.node is not None for worker in self._calls.values())

    def run(self, shards: Sequence[Shard]) -> None:
        """Labels all shards, the first ones first.

        Raises:
            UserError: if no worker can start, or a part cannot be written.
        """
        self._queue.extend(shards)
        for _ in range(min(self._workers, len(shards))):
            self._start()
        # Not until all workers have ended: some may still wait for a processor that is never free.
        while self._queue or any(worker.shard for worker in self._calls.values()):
            ready, _ = self._ray.wait(list(self._calls), timeout=_TICK)
            for call in ready:
                worker = self._calls[call]
                try:
                    answer = self._ray.get(call)
                except self._ray.exceptions.RayActorError as error:
                    self._replace(worker, error)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                else:
                    self._go_on(worker, answer)
                del self._calls[call]
            self._on_change(None)

    def _start(self) -> None:
        """Starts a worker; its first answer comes when there is a processor for it and its models are loaded."""
        worker = _Worker(self._ray.remote(num_cpus=1)(_Actor).remote(*self._arguments))
        self._calls[worker.actor.node.remote()] = worker

    def _go_on(self, worker: "_Worker", answer: Any) -> None:
        """Takes the answer of a worker, and gives it its next work, if there is any."""
        if worker.node is None:
            worker.node, self._failed_starts = answer, 0
        elif worker.item:
            self._take(worker, answer)
        else:
            worker.shard = None
        if not worker.shard:
            if not self._queue:
                self._ray.kill(worker.actor)  # its processor may be needed
                return
            worker.begin(self._queue.popleft())
        while worker.left and self._ended[worker.left[0].path] >= TRIES:
            item = worker.left.popleft()
            self._take(worker, entry_of(item, error=f"{item.source}: ended its worker {TRIES} times; left out"))
        self._calls[worker.next_call()] = worker

    def _take(self, worker: "_Worker", entry: Entry) -> None:
        worker.entries.append(entry)
        if entry.path not in self._told:  # of a shard that is done anew, not twice
            self._told.add(entry.path)
            self._on_change(entry)

    def _replace(self, worker: "_Worker", error: Exception) -> None:
        """Replaces a worker that has ended, and counts it against the source that it was at, if that was the cause."""
        self._ray.kill(worker.actor)  # if it is only out of reach, it must not go on
        if worker.node is None:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                reason = str(error).strip().splitlines()[-1]
                raise UserError(f"the workers do not start: {reason}")
        elif self._is_own_end(worker.node, error):
            blamed = worker.item.path if worker.item else worker.shard.name if worker.shard else ""
            self._ended[blamed] += 1
            if not worker.item and self._ended[blamed] >= TRIES:
                raise UserError(f"{blamed}: its worker ended {TRIES} times while it wrote it; is the memory enough?")
        if worker.shard:
            self._queue.appendleft(worker.shard)
        self._start()

    def _is_own_end(self, node: str, error: Exception) -> bool:
        """Returns whether a worker ended while its machine lived on."""
        # A machine whose Ray has died cannot tell of its workers: they are just unavailable.
        if not isinstance(error, self._ray.exceptions.ActorDiedError):
            return False
        return any(entry["NodeID"] == node and entry["Alive"] for entry in self._ray.nodes())


class _Actor(Labeler):
    """A `Labeler` that says where it is."""

    def node(self) -> str:
        """Returns the id of its node, once it is ready."""
        import ray

        return str(ray.get_runtime_context().get_node_id())


class _Worker:
    """What the driver knows of a worker: its shard, and how far that is."""

    def __init__(self, actor: Any):
        self.actor = actor
        self.shard: Shard | None = None
        self.node: str | None = None
        self.item: Item | None = None
        self.left: deque[Item] = deque()
        self.entries: list[Entry] = []
        self._anew = True

    def begin(self, shard: Shard) -> None:
        """Begins a shard."""
        self.shard, self.left, self.entries, self._anew = shard, deque(shard.items), [], True

    def next_call(self) -> Any:
        """Sends it the next source, or has it write the part, and returns Ray's reference to the answer."""
        assert self.shard
        if self.left:
            self.item = self.left.popleft()
            call = self.actor.label.remote(self.item, anew=self._anew)
            self._anew = False
            return call
        self.item = None
        return self.actor.finish.remote(self.shard.name, self.entries, self.shard.kept, anew=self._anew)


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[tuple[Any, int]]:
    """Starts Ray on this machine, for it alone, or connects to a cluster; yields the module and how many may work.

    Args:
        address: Host and port of a cluster's head; None is this machine.
        workers: How many workers are wanted; None is one for each processor.

    Raises:
        UserError: if the cluster is not reached.
        ModuleNotFoundError: if Ray is not installed.
    """
    # Ray reads these when it is imported: it tells its makers nothing, and listens on the loopback interface alone.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            workers = workers or os.cpu_count() or 1
            ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
        else:
            _check_reachable(address)
            try:
                ray.init(address, **quiet)
            except Exception as error:  # of many kinds
                reason = str(error).strip().splitlines()[0]
                raise UserError(f"--address {address}: no cluster there ({reason})") from None
            workers = workers or int(ray.cluster_resources().get("CPU", 1))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        yield ray, workers
    finally:
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)


def _check_reachable(address: str) -> None:
    """Raises `UserError` if nothing answers at an address; Ray would go on trying for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_REACH):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"--address {address}: no cluster there ({error}); expected host and port of its head"
        ) from None


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
        job.run(shards)
