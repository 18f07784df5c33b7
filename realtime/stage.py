"""Threads that pass items to each other."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Stage(Generic[Item]):
    """Iterates over an iterable in a thread of its own and keeps a few items ready.

    Stages can be chained: `Stage(f(item) for item in Stage(items))`. An error in the thread is raised where its items
    are taken, after the items before it. Close every stage. A thread that is blocked then does not keep the process
    from ending.

    Example:
        >>> import contextlib
        >>> with contextlib.closing(Stage(range(3))) as stage:
        ...     list(stage)
        [0, 1, 2]

    Args:
        items: The items. A generator is closed by the thread.
        size: Number of items that may wait while the thread makes another; with 0 it makes none before the last is
            taken.
        newest: Whether a new item replaces the waiting ones, instead of waiting until there is room.
    """

    def __init__(self, items: Iterable[Item], *, size: int = 4, newest: bool = False):
        self._waiting: deque[Item] = deque()
        self._size, self._newest = size, newest
        self._changed = threading.Condition()
        self._done = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def get(self, timeout: float | None = None) -> Item:
        """Returns the next item.

        Args:
            timeout: Seconds to wait for it; None waits until there is one.

        Raises:
            TimeoutError: if there is none in time.
            StopIteration: if there are no more.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._done or self._closed, timeout):
                raise TimeoutError
            if self._waiting and not self._closed:
                item = self._waiting.popleft()
                self._changed.notify_all()
                return item
            if self._error and not self._closed:
                raise self._error
            raise StopIteration

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return self.get()

    def close(self, timeout: float | None = 0.5) -> None:
        """Ends the iteration and waits for the thread.

        Args:
            timeout: Longest wait in seconds; None waits until the thread has ended.
        """
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self, items: Iterable[Item]) -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not self._put(item):
                    break
            if hasattr(iterator, "close"):
                iterator.close()
        except BaseException as error:  # passed on to whoever takes the items
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _put(self, item: Item) -> bool:
        """Adds an item and returns whether more are wanted."""
        with self._changed:
            if self._newest:
                self._waiting.clear()
            if not self._closed:
                self._waiting.append(item)
                self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._waiting) <= self._size or self._closed)
            return not self._closed


def in_thread(function: Callable[..., Item], *arguments: Any) -> Item:
    """Returns what a function returns, called in a thread of its own: Ctrl-C does not wait for compiled code there."""
    with contextlib.closing(Stage(function(*arguments) for _ in range(1))) as stage:
        return stage.get()
