import contextlib
import threading
import time

import pytest

from fer_tf.realtime.stage import Stage

from ..processes import wait_for


@pytest.fixture
def staged():
    """Makes stages that are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **keywords: stack.enter_context(contextlib.closing(Stage(*arguments, **keywords)))


def test_every_item_arrives_in_order_through_a_chain(staged):
    first = staged(range(1000), size=3)
    assert list(staged((2 * item for item in first), size=1)) == list(range(0, 2000, 2))


def test_no_more_items_wait_than_are_asked_for(staged):
    taken = []
    stage = staged((taken.append(item) or item for item in range(100)), size=3)
    wait_for(lambda: len(taken) == 4)  # three wait, one is in the thread's hand
    time.sleep(0.05)
    assert len(taken) == 4
    assert stage.get() == 0
    wait_for(lambda: len(taken) == 5)


def test_with_size_0_an_item_is_made_when_the_last_one_was_taken(staged):
    begun = []

    def items():
        for item in range(100):
            begun.append(item)
            yield item

    first = staged(items(), size=0)
    second = staged((item for item in first), size=0)
    for item in range(5):
        wait_for(lambda item=item: len(begun) == item + 2)  # the second stage holds one, the first another
        time.sleep(0.02)
        assert len(begun) == item + 2
        assert second.get() == item
    second.close(10)
    first.close(10)


def test_the_newest_item_replaces_those_that_wait(staged):
    done = threading.Event()

    def items():
        yield from range(100)
        done.set()

    stage = staged(items(), newest=True)
    assert done.wait(10)
    assert list(stage) == [99]


def test_an_error_arrives_as_what_it_is_after_the_items_before_it(staged):
    def items():
        yield 1
        raise KeyError("broken")

    stage = staged(item for item in staged(items()))
    assert stage.get() == 1
    with pytest.raises(KeyError, match="broken"):
        stage.get()


def test_waiting_has_an_end(staged):
    release = threading.Event()
    stage = staged(iter(release.wait, True))
    with pytest.raises(TimeoutError):
        stage.get(0.01)
    release.set()
    with pytest.raises(StopIteration):
        stage.get(10)


def test_closing_does_not_wait_for_a_call_that_does_not_return(staged):
    release = threading.Event()
    begun = time.monotonic()
    first = staged(release.wait() for _ in range(1))
    second = staged(item for item in first)
    first.close(0.01)
    second.close(60)  # it waited for the first, and is woken
    assert time.monotonic() - begun < 30
    release.set()


def test_closing_closes_the_generator_in_its_own_thread(staged):
    closed_by = []

    def items():
        try:
            while True:
                yield 1
        finally:
            closed_by.append(threading.current_thread())

    stage = staged(items(), size=1)
    stage.get()
    stage.close(10)
    assert len(closed_by) == 1
    assert closed_by[0] is not threading.current_thread()
    assert list(stage) == []
