"""Workers on Ray, on this machine or on a cluster: how they are started, given work and replaced. Only this knows Ray.

What is imported here needs neither Ray nor anything heavy.
"""

import logging
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from fer_tf import __version__
from fer_tf.errors import UserError

TRIES = 3
"""A piece of work that ends its worker so many times is a failure."""

_STARTS = 5
"""Workers that may end in a row before they are ready, before the job does."""

_OBJECT_STORE = 128 * 2**20
"""Bytes of shared memory for Ray's objects on this machine; what is larger goes to files."""

_REACH = 10.0
"""Seconds that the head of a cluster has to answer."""

_TICK = 0.5
"""Longest time in seconds between two looks at the workers."""

Work = TypeVar("Work")


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
    # Ray reads these when it is imported. It tells its makers nothing, prints no logs of machines that are lost, and
    # listens on the loopback interface alone.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "^"
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


def check_version(version: str) -> None:
    """Raises `UserError` if whoever gives the work has another version than this machine."""
    if version != __version__:
        raise UserError(f"this machine has fer-tf {__version__}, and the driver {version}; install the same wheel")


class Placed:
    """What a worker is besides its work: a process that says where it is."""

    def node(self) -> str:
        """Returns the id of its node, once it is ready."""
        import ray

        return str(ray.get_runtime_context().get_node_id())


class Crew(ABC, Generic[Work]):
    """Workers that do pieces of work until all are done, and are replaced when they end.

    Whoever is free first takes the next piece.

    Args:
        ray: The module, connected.
        kind: The class of the workers.
        arguments: Those of the class.
        workers: Number of workers.
    """

    def __init__(self, ray: Any, kind: type[Placed], arguments: Sequence[Any], workers: int):
        self._ray, self._kind, self._workers = ray, kind, workers
        self._arguments = [ray.put(argument) for argument in arguments]  # once for each machine
        self._queue: deque[Work] = deque()
        self._calls: dict[Any, _Worker[Work]] = {}
        self._failed_starts = 0

    @property
    def alive(self) -> int:
        """Number of workers that are ready."""
        return sum(worker.node is not None for worker in self._calls.values())

    def run(self, work: Iterable[Work]) -> None:
        """Does all pieces, the first ones first.

        Raises:
            UserError: if no worker can start, or one of them raised it.
        """
        self._queue.extend(work)
        for _ in range(min(self._workers, len(self._queue))):
            self._start()
        # Not until all workers have ended: some may still wait for a processor that is never free.
        while self._queue or any(worker.work is not None for worker in self._calls.values()):
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
            self._look()

    @abstractmethod
    def _call(self, actor: Any, work: Work) -> Any:
        """Gives a worker, by Ray's handle, the next call of its work, and returns Ray's reference to the answer."""

    @abstractmethod
    def _take(self, work: Work, answer: Any) -> bool:
        """Takes the answer to the last call, and returns whether the work is done."""

    @abstractmethod
    def _take_back(self, work: Work, *, is_blamed: bool) -> Work | None:
        """Returns what is to be done again after a worker ended; None if nothing is.

        Args:
            work: What it was at.
            is_blamed: Whether it ended while its machine lived on. Workers that end with their machine do not count.

        Raises:
            UserError: if the job cannot go on.
        """

    @abstractmethod
    def _look(self) -> None:
        """Shows how things are; called at least every half second."""

    def _start(self) -> None:
        """Starts a worker; its first answer comes when there is a processor for it and it is ready."""
        worker = _Worker[Work](self._ray.remote(num_cpus=1)(self._kind).remote(*self._arguments))
        self._calls[worker.actor.node.remote()] = worker

    def _go_on(self, worker: "_Worker[Work]", answer: Any) -> None:
        """Takes the answer of a worker, and gives it its next work, if there is any."""
        if worker.node is None:
            worker.node, self._failed_starts = answer, 0
        elif worker.work is not None and self._take(worker.work, answer):
            worker.work = None
        if worker.work is None:
            if not self._queue:
                self._ray.kill(worker.actor)  # its processor may be needed
                return
            worker.work = self._queue.popleft()
        self._calls[self._call(worker.actor, worker.work)] = worker

    def _replace(self, worker: "_Worker[Work]", error: Exception) -> None:
        """Replaces a worker that has ended, and takes back what it was at."""
        self._ray.kill(worker.actor)  # if it is only out of reach, it must not go on
        if worker.node is None:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                reason = str(error).strip().splitlines()[-1].removeprefix(f"{UserError.__module__}.UserError: ")
                raise UserError(f"the workers do not start: {reason}")
        elif worker.work is not None:
            again = self._take_back(worker.work, is_blamed=self._is_own_end(worker.node, error))
            if again is not None:
                self._queue.appendleft(again)
        self._start()

    def _is_own_end(self, node: str, error: Exception) -> bool:
        """Returns whether a worker ended while its machine lived on."""
        # A machine whose Ray has died cannot tell of its workers: they are just unavailable.
        if not isinstance(error, self._ray.exceptions.ActorDiedError):
            return False
        return any(entry["NodeID"] == node and entry["Alive"] for entry in self._ray.nodes())


class _Worker(Generic[Work]):
    """What the driver knows of a worker: Ray's handle, its node once it is ready, and what it is at."""

    def __init__(self, actor: Any):
        self.actor = actor
        self.node: str | None = None
        self.work: Work | None = None
