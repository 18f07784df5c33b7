import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fer_tf.errors import UserError
from fer_tf.realtime.exclusive import Exclusive


@pytest.fixture
def other():
    """A function that runs another one in a second thread, always the same."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result(timeout=30)


def enter(room):
    with room:
        return True


def test_the_first_thread_may_enter_again_and_no_other(other):
    room = Exclusive("taken")
    assert enter(room)
    assert enter(room)
    with pytest.raises(UserError, match="taken"):
        other(enter, room)
    assert enter(room)


def test_a_thread_that_has_ended_still_owns_it():
    room = Exclusive("taken")
    first = threading.Thread(target=enter, args=[room])
    first.start()
    first.join()
    with pytest.raises(UserError, match="taken"):
        enter(room)


def test_it_can_be_given_away_but_not_while_a_thread_is_inside(other):
    room = Exclusive("taken")
    with room, pytest.raises(UserError, match="taken"):
        other(room.release)
    room.release()
    assert other(enter, room)
    with pytest.raises(UserError, match="taken"):
        enter(room)


def test_an_error_inside_leaves_it_open():
    room = Exclusive("taken")
    with pytest.raises(ZeroDivisionError), room:
        raise ZeroDivisionError
    assert enter(room)


def test_those_who_are_refused_do_not_disturb_the_first_thread():
    room, stop = Exclusive("taken"), threading.Event()
    assert enter(room)

    def knock():
        while not stop.is_set():
            with pytest.raises(UserError):
                enter(room)

    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(knock) for _ in range(4)]
        try:
            assert all(enter(room) for _ in range(20_000))
        finally:
            stop.set()
        for future in others:
            future.result(timeout=30)
