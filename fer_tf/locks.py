"""Locks on files, which keep two runs from writing the same one."""

import os
from pathlib import Path
from typing import IO, BinaryIO

from fer_tf.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

_LOCKED_BYTE = 2**31 - 2
"""Windows locks bytes against reading, too, so the one that stands for the file lies where no table of ours reaches."""


def lock(file: IO) -> None:
    """Locks an open file until it is closed or its process ends, however that ends.

    Raises:
        BlockingIOError: if another process or file object holds the lock.
        OSError: if the file system has no locks.
    """
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    place = file.tell()
    file.seek(_LOCKED_BYTE)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except PermissionError as error:  # how Windows says that someone else holds it
        raise BlockingIOError(error.errno, os.strerror(error.errno)) from None
    finally:
        file.seek(place)


def claim(path: Path | str) -> BinaryIO:
    """Opens a file to append to, and keeps our other runs from writing it until it is closed.

    Raises:
        UserError: if another run is writing it.
        OSError: if it cannot be opened.
    """
    file = open(path, "ab")  # noqa: SIM115
    try:
        if Path(path).is_file():  # a device or pipe may have several writers
            lock(file)
    except BlockingIOError:
        file.close()
        raise UserError(f"{path}: another run is writing it; wait until it ends, or choose another name") from None
    except OSError:
        pass  # this file system has no locks, so nothing is known about other writers
    return file
