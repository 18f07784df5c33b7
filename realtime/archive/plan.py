"""Says what is left to do: shards of sources, each of which becomes one part."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fer_tf.realtime.archive.listing import Item
from fer_tf.realtime.archive.parts import Entry

LARGEST_PART = 256
"""Sources in a part."""

LARGEST_BYTES = 256 * 2**20
"""Bytes of the sources of a part; a longer video is one by itself."""

LEAST_PARTS = 64
"""Smaller jobs are divided into about as many parts, so that all workers have something to do."""


@dataclass(frozen=True)
class Shard:
    """Some work: the sources that become one part."""

    name: str
    """Name of the part."""
    items: tuple[Item, ...]
    """What is to be labeled."""
    kept: tuple[Entry, ...] = ()
    """Sources of a part of that name whose rows stay."""

    @property
    def size(self) -> int:
        """Bytes to label."""
        return sum(item.size for item in self.items)


@dataclass(frozen=True)
class Plan:
    """What is left to do, and what is done."""

    shards: list[Shard]
    """Those with the largest files first, so that no worker begins a long one when the others are done."""
    done: list[Entry]
    """Sources that stay as they are, also those that failed."""
    changed: list[str]
    """Sources that are labeled again since their files changed."""

    @property
    def items(self) -> list[Item]:
        """All that is to be labeled."""
        return [item for shard in self.shards for item in shard.items]


def make_plan(items: Sequence[Item], parts: Mapping[str, Sequence[Entry]], *, retry_failed: bool = False) -> Plan:
    """Compares what there is with what was labeled before.

    A part keeps its name for as long as it exists. If some of its sources are labeled again, it is replaced at once by
    one that has the rows of the others, too. So at each moment a source is in one part.

    Args:
        items: The files that the user names.
        parts: The sources of each part that exists.
        retry_failed: Whether sources that failed are labeled again.
    """
    left = {item.path: item for item in items}
    shards, done, changed = [], [], []
    for name, entries in parts.items():
        again, kept = [], []
        for entry in entries:
            item = left.pop(entry.path, None)
            if item is not None and not entry.is_of(item):
                changed.append(item.source)
                again.append(item)
            elif item is not None and entry.error and retry_failed:
                again.append(item)
            else:
                kept.append(entry)
        done += kept
        if again:
            shards.append(Shard(name, tuple(again), tuple(kept)))
    # The limits depend on all that there is, so what a killed run left over is divided as before.
    most = -(-len(items) // LEAST_PARTS)
    most_bytes = sum(item.size for item in items) // LEAST_PARTS
    for group in _groups(left.values(), min(most, LARGEST_PART), min(most_bytes, LARGEST_BYTES)):
        shards.append(Shard(part_name(item.path for item in group), tuple(group)))
    shards.sort(key=lambda shard: (-max(item.size for item in shard.items), shard.name))
    return Plan(shards, done, changed)


def _groups(items: Iterable[Item], most: int, most_bytes: int) -> Iterator[list[Item]]:
    """Yields groups of files, large ones first, as long as a group stays within both limits."""
    group: list[Item] = []
    size = 0
    for item in sorted(items, key=lambda item: (-item.size, item.path)):
        if group and (len(group) >= most or size + item.size > most_bytes):
            yield group
            group, size = [], 0
        group.append(item)
        size += item.size
    if group:
        yield group


def part_name(paths: Iterable[str]) -> str:
    """Returns the name of the part of some sources, which depends on them alone."""
    # Python keeps the bytes of a path that is not UTF-8 as lone surrogates.
    content = "\n".join(sorted(paths)).encode("utf-8", "surrogateescape")
    return f"part-{hashlib.sha256(content).hexdigest()[:24]}.parquet"
