"""What `python -m realtime.archive` does, once its options are read."""

import argparse
import contextlib
import csv
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fer_tf import __version__
from fer_tf.errors import UserError
from fer_tf.files import sha256
from fer_tf.quiet import silence_opencv
from fer_tf.realtime.archive import schedule
from fer_tf.realtime.archive.listing import list_items
from fer_tf.realtime.archive.parts import Entry, drop_repeated, read_entries, write_csv
from fer_tf.realtime.archive.plan import Plan, make_plan
from fer_tf.realtime.archive.progress import Progress
from fer_tf.realtime.archive.store import Store
from fer_tf.realtime.options import make_pipeline

SETTINGS, FAILURES, SUMMARY = "settings.json", "failures.csv", "summary.json"

_READERS = 16
"""Threads that read footers; most of their time they wait."""


def carry_out(arguments: argparse.Namespace, options: dict[str, Any]) -> int:
    """Labels what is not labeled yet.

    Args:
        arguments: The options of `python -m realtime.archive`.
        options: Those about recognition, which the workers get.

    Returns:
        The exit code.

    Raises:
        UserError: if something is wrong that is not a matter of single sources.
    """
    silence_opencv()
    make_pipeline(argparse.Namespace(**options), threads=1)  # reports wrong options before any work
    store = Store(arguments.output)
    settings = _settings(options)
    _check_settings(store, settings)
    items = list_items(arguments.source, recursive=arguments.recursive)
    if arguments.dry_run:
        _describe(make_plan(items, _parts(store), retry_failed=arguments.retry_failed), arguments)
        return 0
    with store.claimed():
        _check_settings(store, settings)  # now that no one else writes them
        store.put_json(SETTINGS, settings)
        parts = _parts(store)
        drop_repeated(store, parts)
        plan = make_plan(items, parts, retry_failed=arguments.retry_failed)
        for source in plan.changed:
            print(f"note: {source}: changed since it was labeled; it is labeled again")
        try:
            if plan.shards:
                _work(plan, store, options, arguments)
        finally:  # also if it was interrupted
            entries = _outcome(store, len(items))
        if arguments.csv:
            write_csv(store, store.names(), arguments.csv)
    failed = sum(entry.error is not None for entry in entries)
    frames, faces = sum(entry.frames for entry in entries), sum(entry.faces for entry in entries)
    print(f"{len(entries)} sources, {frames} frames, {faces} faces, {failed} failed")
    for place in filter(None, (store.name, arguments.csv)):
        print(f"wrote {place}")
    return 1 if failed else 0


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Returns what the rows depend on; files by their SHA-256."""
    return {"version": __version__, **{name: _with_files(value, sha256) for name, value in options.items()}}


def _with_files(value: Any, replace: Callable[[Path], Any]) -> Any:
    """Returns the value of an option, with each path replaced by something that stands for the file."""
    if isinstance(value, list):
        return [_with_files(part, replace) for part in value]
    return replace(value) if isinstance(value, Path) else value


def _check_settings(store: Store, settings: dict[str, Any]) -> None:
    """Raises `UserError` if a run with other settings has written there."""
    before = store.read_json(SETTINGS)
    if before is None:
        if store.names():
            raise UserError(f"{store.name}: holds parts, but no {SETTINGS}; choose another --output")
        return
    if not isinstance(before, dict):
        raise UserError(f"{store.name}/{SETTINGS}: is damaged; choose another --output")
    for name in sorted(before.keys() | settings.keys()):
        if before.get(name) != settings.get(name):
            raise UserError(
                f"{store.name}: was labeled with {name} {before.get(name)}, and this is {settings.get(name)}; "
                "use the same, or choose another --output"
            )


def _parts(store: Store) -> dict[str, list[Entry]]:
    """Returns what became of the sources of each part."""
    names = store.names()
    with ThreadPoolExecutor(_READERS) as threads:
        return dict(zip(names, threads.map(lambda name: read_entries(store, name), names), strict=True))


def _describe(plan: Plan, arguments: argparse.Namespace) -> None:
    """Prints what would be done."""
    failed = sum(entry.error is not None for entry in plan.done)
    size = sum(item.size for item in plan.items)
    print(f"{len(plan.items) + len(plan.done)} sources: {len(plan.done)} done, {len(plan.items)} to do")
    print(f"to do: {size / 1e6:,.1f} MB in {len(plan.shards)} parts for {arguments.output}")
    if plan.changed:
        print(f"of these, {len(plan.changed)} changed since they were labeled")
    if failed:
        print(f"{failed} failed before; --retry-failed labels them again")


def _work(plan: Plan, store: Store, options: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Has the workers do what is left."""
    with contextlib.closing(Progress(plan)) as progress:
        schedule.run(
            plan.shards,
            output=store.place,
            options={name: _with_files(value, Path.read_bytes) for name, value in options.items()},
            address=arguments.address,
            workers=arguments.workers,
            on_change=progress.change,
        )


def _outcome(store: Store, listed: int) -> list[Entry]:
    """Writes the failures and the sums, and returns what became of each source."""
    parts = _parts(store)
    drop_repeated(store, parts)
    entries = sorted((entry for entries in parts.values() for entry in entries), key=lambda entry: entry.source)
    failed = [entry for entry in entries if entry.error]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([("source", "error"), *((entry.source, entry.error) for entry in failed)])
    store.put(FAILURES, text.getvalue().encode("utf-8", "backslashreplace"))
    sums: dict[str, Callable[[Entry], int]] = {
        "frames": lambda entry: entry.frames,
        "faces": lambda entry: entry.faces,
        "bytes": lambda entry: entry.size,
    }
    counts = {"sources": len(entries), "failed": len(failed), "listed": listed}
    store.put_json(SUMMARY, counts | {name: sum(map(count, entries)) for name, count in sums.items()})
    return entries
