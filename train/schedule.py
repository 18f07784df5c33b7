"""Gives the cells of a matrix to workers."""

import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from fer_tf import __version__
from fer_tf.cluster import TRIES, Crew, Placed, check_version, connected
from fer_tf.errors import UserError, is_out_of_memory
from fer_tf.fer2013 import Fer2013
from fer_tf.files import named_errors
from fer_tf.locks import claim
from fer_tf.quiet import configure_tensorflow, muted_stderr
from fer_tf.train.cell import Cell
from fer_tf.train.progress import Progress
from fer_tf.train.run_folder import Busy, RunFolder

_PATIENCE = 120.0
"""Seconds that a worker waits for a cell that is locked. NFS keeps the locks of a lost machine for 90 seconds."""


class Trainer(Placed):
    """A worker. It computes in one thread, so that figures do not depend on how many there are.

    Args:
        version: The version of whoever gives the work.
        output: Absolute path of the matrix.
        token: What the driver wrote there; see `_claimed`.
        data: What to train and measure on.
        private_fingerprint: Of its PrivateTest.

    Raises:
        UserError: if this is another version, or the folder is another.
    """

    def __init__(self, version: str, output: str, token: str, data: Fer2013, private_fingerprint: str):
        check_version(version)
        if not _holds(output, token):
            raise UserError(
                f"{output} on {socket.gethostname()} is not the folder that the driver writes to; choose an --output "
                "on storage that all machines see under the same path"
            )
        configure_tensorflow()
        with muted_stderr():
            import tensorflow as tf
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.set_visible_devices([], "GPU")  # workers would take it from each other
        self._data, self._private = data, private_fingerprint

    def finish(self, path: str, values: dict[str, Any]) -> str | None:
        """Finishes a cell from where it stands.

        Args:
            path: Its folder.
            values: Its options.

        Returns:
            What went wrong; None if it is done.
        """
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                Cell(RunFolder(path), values).finish(self._data, self._private)
            except Busy as error:  # as if a worker was lost, and its lock not yet
                if time.monotonic() > end:
                    return str(error)
                time.sleep(1)
            except UserError as error:
                return str(error)
            except Exception as error:
                return "out of memory" if is_out_of_memory(error) else f"{type(error).__name__}: {error}"
            else:
                return None


class Job(Crew[Cell]):
    """Workers that finish cells. Whoever takes one over goes on after its last whole epoch.

    Args:
        ray: The module, connected.
        workers: Number of workers.
        arguments: Those of `Trainer`.
        progress: Shows how far the cells are.
        on_done: Called with each cell that is done or has failed, and with what went wrong.
    """

    def __init__(
        self,
        ray: Any,
        workers: int,
        arguments: Sequence[Any],
        progress: Progress,
        on_done: Callable[[Cell, str | None], object],
    ):
        super().__init__(ray, Trainer, arguments, workers)
        self._progress, self._on_done = progress, on_done
        self._ended: Counter[str] = Counter()

    def _call(self, actor: Any, work: Cell) -> Any:
        return actor.finish.remote(str(work.folder.path.absolute()), work.values)

    def _take(self, work: Cell, answer: str | None) -> bool:
        self._progress.count(work)
        self._on_done(work, answer)
        return True

    def _take_back(self, work: Cell, *, is_blamed: bool) -> Cell | None:
        self._ended[work.name] += is_blamed
        if self._ended[work.name] >= TRIES:
            self._take(work, f"ended its worker {TRIES} times; is the memory enough?")
            return None
        self._progress.say(f"note: {work.name}: its worker ended; another one goes on")
        return work

    def _look(self) -> None:
        self._progress.show(self.alive)


def run(
    cells: Sequence[Cell],
    data: Fer2013,
    private_fingerprint: str,
    *,
    output: Path,
    address: str | None,
    workers: int | None,
    on_done: Callable[[Cell, str | None], object],
) -> None:
    """Finishes cells on Ray.

    Args:
        cells: What is to be done.
        data: What to train and measure on; it travels to the workers.
        private_fingerprint: Of its PrivateTest.
        output: Folder of the matrix.
        address: See `connected`.
        workers: See `connected`.
        on_done: Called with each cell that is done or has failed, and with what went wrong.

    Raises:
        UserError: if another driver is at work in the folder, the cluster is not reached, or no worker can start.
    """
    with (
        _claimed(output) as token,
        closing(Progress(cells)) as progress,
        connected(address, workers) as (ray, number),
    ):
        arguments = [__version__, str(output.absolute()), token, data, private_fingerprint]
        Job(ray, number, arguments, progress, on_done).run(cells)


@contextmanager
def _claimed(output: Path) -> Iterator[str]:
    """Keeps other drivers out of a folder, and yields what it holds now that no other folder does.

    Raises:
        UserError: if another driver is at work there, or it cannot be written.
    """
    with named_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        file = claim(output / ".lock")
    with file:
        token = secrets.token_hex()
        with named_errors(output):
            file.truncate(0)
            file.write(token.encode())
            file.flush()
            os.fsync(file.fileno())  # so that other machines read it
        yield token


def _holds(output: str, token: str) -> bool:
    """Returns whether a folder is the one that was claimed with this token."""
    with suppress(OSError):
        return Path(output, ".lock").read_text() == token
    return False
