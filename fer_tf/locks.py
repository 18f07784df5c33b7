"""Locks on files, so that no two runs write to the same one."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from fer_tf.errors import UserError

fcntl: Any = None  # of Unix
msvcrt: Any = None  # of Windows
with suppress(ImportError):
    import fcntl
with suppress(ImportError):
    import msvcrt

_LOCKED_BYTE = 2**42
"""Windows keeps others from reading a locked byte, so this one, which stands for the file, lies beyond its end."""


def lock(file: IO) -> None:
    """Locks an open file until it is closed or its process ends, however that ends.

    Raises:
        BlockingIOError: if another process or file object holds the lock.
        OSError: if the file system has no locks.
    """
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    descriptor = file.fileno()
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # locks from the position on
    except PermissionError as error:  # how Windows says that someone else holds it
        raise BlockingIOError(errno.EACCES, os.strerror(errno.EACCES)) from error
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)


def claim(path: Path | str) -> BinaryIO:
    """Opens a file to append to, and keeps other runs from claiming it until it is closed.

    Raises:
        UserError: if another run has claimed it.
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
