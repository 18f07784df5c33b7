"""Looks at running processes, by Linux's /proc."""

import contextlib
import os
import signal
import time
from pathlib import Path

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""This machine's own addresses, as in /proc/net/tcp and tcp6."""


def wait_for(what, seconds=120.0):
    """Returns what a function returns, once that is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def processes_below(parent):
    """Returns the ids of the processes that a process has started, and these in turn."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found, new = set(), {parent}
    while new:
        found |= new
        new = {child for child, owner in parents.items() if owner in new} - found
    return found - {parent}


def workers_of(driver, name):
    """Returns the ids of a driver's workers on Ray, by the name of their class."""
    return sorted(
        process for process in processes_below(driver) if name.encode() in _read(Path(f"/proc/{process}/cmdline"))
    )


def listening(processes):
    """Returns the addresses, as in /proc/net/tcp, at which processes wait for connections."""
    inodes = set()
    for process in processes:
        with contextlib.suppress(OSError):
            for entry in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in _read(Path(f"/proc/net/{table}")).decode().splitlines()[1:]
    ]
    return [fields[1].rpartition(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in inodes]


def kill(process):
    os.kill(process, signal.SIGKILL)


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
