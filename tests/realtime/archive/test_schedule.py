"""The scheduling against a Ray in memory, whose workers end when they are told to."""

from collections import Counter
from types import SimpleNamespace

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra cluster")

from fer_tf.cluster import TRIES
from fer_tf.errors import UserError
from fer_tf.realtime.archive.listing import Item
from fer_tf.realtime.archive.parts import entry_of
from fer_tf.realtime.archive.plan import Shard
from fer_tf.realtime.archive.schedule import Job


class ActorError(Exception):
    pass


class Died(ActorError):
    pass


class TaskError(Exception):
    def __init__(self, cause):
        self.cause = cause


class Ray:
    """Answers calls one by one, the newest last. `ends` gives the error of a call, if any, by its name and argument."""

    def __init__(self, ends=lambda name, argument: None, places=2):
        self.ends, self.places = ends, places
        self.exceptions = SimpleNamespace(RayActorError=ActorError, ActorDiedError=Died, RayTaskError=TaskError)
        self.placed, self.written, self.alive = [], {}, True

    def put(self, value):
        return value

    def remote(self, **_):
        return lambda _: SimpleNamespace(remote=lambda *_: Actor(self))

    def kill(self, actor):
        if actor in self.placed:
            self.placed.remove(actor)

    def nodes(self):
        return [{"NodeID": "n", "Alive": self.alive}]

    def wait(self, calls, timeout):
        for call in calls:
            if call.actor not in self.placed and len(self.placed) < self.places:
                self.placed.append(call.actor)
        ready = [call for call in calls if call.actor in self.placed]
        assert ready, "nothing would ever happen"
        return ready[:1], []

    def get(self, call):
        if error := self.ends(call.name, getattr(call.arguments[0], "source", None) if call.arguments else None):
            raise error
        return call.actor.answer(call)


class Actor:
    def __init__(self, ray):
        self.ray, self.rows = ray, []

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *arguments, **options: Call(self, name, arguments, options.get("anew")))

    def answer(self, call):
        if call.name == "node":
            return "n"
        if call.anew:
            self.rows = []
        if call.name == "label":
            self.rows.append(call.arguments[0].source)
            return entry_of(call.arguments[0], frames=1)
        name, entries, kept = call.arguments
        assert self.rows == [entry.source for entry in entries if not entry.error]
        self.ray.written[name] = [*kept, *entries]
        return None


class Call:
    def __init__(self, actor, name, arguments, anew):
        self.actor, self.name, self.arguments, self.anew = actor, name, arguments, anew


def shards(*names):
    return [
        Shard(name, tuple(Item(f"{name}{n}", f"/{name}{n}", 1, 1.0) for n in range(3))) for name in names
    ]  # fmt: skip


def run(ray, *names, workers=2):
    told = []
    Job(ray, workers, [], told.append).label(shards(*names))
    entries = [entry for part in ray.written.values() for entry in part]
    assert sorted(entry.source for entry in entries) == sorted(f"{name}{n}" for name in names for n in range(3))
    assert Counter(entry.source for entry in told if entry) == Counter(entry.source for entry in entries)
    return [entry.error for entry in entries if entry.error]


def test_all_shards_are_done():
    assert run(Ray(), "a", "b", "c", "d") == []


def test_more_workers_than_places_do_not_keep_it_from_ending():
    assert run(Ray(places=1), "a", "b", "c", "d", workers=4) == []


def test_a_source_that_ends_its_worker_is_left_out():
    ended = []

    def ends(name, source):
        if name == "label" and source == "b1":
            ended.append(source)
            return Died()
        return None

    assert run(Ray(ends), "a", "b", "c") == [f"b1: ended its worker {TRIES} times; left out"]
    assert len(ended) == TRIES


@pytest.mark.parametrize("error", [ActorError(), Died()], ids=["out of reach", "with its node"])
def test_a_node_that_ends_is_not_blamed_on_sources(error):
    left = [error] * (2 * TRIES)

    def ends(name, source):
        return left.pop() if name == "label" and source == "b1" and left else None

    ray = Ray(ends)
    ray.alive = False
    assert run(ray, "a", "b", "c") == []
    assert not left


def test_a_worker_that_ends_once_costs_nothing():
    left = [Died(), Died()]
    assert run(Ray(lambda name, source: left.pop() if name == "finish" and left else None), "a", "b") == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("node", Died("Traceback\nModuleNotFoundError: No module named 'fer_tf'"), "do not start: ModuleNotFound"),
        ("finish", Died(), "its worker ended 3 times while it wrote it"),
        ("finish", TaskError(UserError("out: cannot be written")), "out: cannot be written"),
    ],
)
def test_what_is_no_fault_of_a_source_ends_the_job(call, error, message):
    with pytest.raises(UserError, match=message):
        run(Ray(lambda name, source: error if name == call else None), "a", "b")
