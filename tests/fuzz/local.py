"""An archive without Ray: the same work, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def label_here() -> Iterator[None]:
    """In this context `realtime.archive` labels by itself."""
    from fer_tf import __version__
    from fer_tf.realtime.archive import schedule
    from fer_tf.realtime.archive.worker import Labeler

    def run(shards, *, output, options, on_change, **_):
        labeler = Labeler(output, __version__, options)
        for shard in shards:
            entries = []
            for number, item in enumerate(shard.items):
                entries.append(labeler.label(item, anew=number == 0))
                on_change(entries[-1], 1)
            labeler.finish(shard.name, entries, shard.kept, anew=not shard.items)

    with mock.patch.object(schedule, "run", run):
        yield
