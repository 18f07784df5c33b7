"""Keeps what only one thread may use from others."""

import threading
from types import TracebackType

from fer_tf.errors import UserError


class Exclusive:
    """A context that only one thread may enter: the first one, until `release`.

    It is no lock: a second thread never waits, even where the first one has ended. What it would find here belongs to
    the work of the first.

    Args:
        message: What the error says to a second thread.
    """

    def __init__(self, message: str):
        self._message = message
        self._lock = threading.Lock()
        self._is_inside = False
        self._owner: threading.Thread | None = None  # and no number, which the next thread may get

    def __enter__(self) -> None:
        """Enters.

        Raises:
            UserError: if another thread has entered before.
        """
        thread = threading.current_thread()
        with self._lock:
            if self._owner not in (None, thread):
                raise UserError(self._message)
            self._owner, self._is_inside = thread, True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves."""
        self._is_inside = False

    def release(self) -> None:
        """Lets another thread enter next.

        Raises:
            UserError: if a thread is inside.
        """
        with self._lock:
            if self._is_inside:
                raise UserError(self._message)
            self._owner = None
