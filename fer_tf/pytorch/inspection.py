"""Looks into the files of checkpoints without running or loading anything: damage, bombs, and what a pickle imports."""

import contextlib
import io
import pickletools
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from fer_tf import limits
from fer_tf.errors import UserError

_MAX_TUPLE = 100_000
"""How many values a tuple of a pickle may hold, counted through all that it holds. Hashing walks through all of them,
so few bytes can keep it busy for ever."""

_PICKLES_OF_LEGACY_FILES = 5


def open_checked(path: Path) -> BinaryIO:
    """Opens a checkpoint for loading, after a check of its zip's CRCs, of sizes and of its pickles.

    PyTorch reads members whose CRC is wrong, and finds them by numbers that no CRC covers. So what is opened is an
    archive in memory, of the members that were checked.

    Raises:
        UserError: if it is damaged, or larger than the limit `CHECKPOINT_BYTES` allows.
    """
    if not zipfile.is_zipfile(path):
        file = open(path, "rb")  # noqa: SIM115 (the caller closes it)
        try:
            for _ in range(_PICKLES_OF_LEGACY_FILES):
                _check_pickle(path, file)
        except UserError:
            file.close()
            raise
        except (ValueError, IndexError):  # torch says so
            pass
        file.seek(0)
        return file
    sound = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(sound, "w") as checked:
            members = archive.infolist()
            limits.check("CHECKPOINT_BYTES", sum(member.file_size for member in members), f"{path}: unpacked")
            if len({member.filename for member in members}) < len(members):
                raise UserError(f"{path}: holds a part twice, so it is damaged; copy or download it again")
            for member in members:
                content = archive.read(member)  # which compares the CRC
                if member.filename.endswith("data.pkl"):
                    _check_pickle(path, io.BytesIO(content))
                checked.writestr(zipfile.ZipInfo(member.filename), content)
    except UserError:
        raise
    except Exception as error:  # zipfile raises nearly anything on damaged files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path}: a damaged checkpoint ({reason}); copy or download it again") from None
    sound.seek(0)
    return sound


def imports_of(path: Path) -> list[str]:
    """Returns what a pickle would import, without running it. Unlike torch's own function it reads protocol 4."""
    try:
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = next((archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")), b"")
    except Exception:  # a damaged file imports nothing
        return []
    found: list[str] = []
    texts: list[str] = []
    memo: dict[Any, Any] = {}
    last = None
    with contextlib.suppress(ValueError):  # the end of what can be read
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "GLOBAL":
                found.append(str(argument).replace(" ", "."))
            elif operation.name == "STACK_GLOBAL":
                found.append(".".join(map(str, texts[-2:])))
            elif operation.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                memo[len(memo) if argument is None else argument] = last
                continue
            last = memo.get(argument) if operation.name.endswith("GET") else argument
            if isinstance(last, str):
                texts.append(last)
    return found


def _check_pickle(path: Path, file: BinaryIO | Any) -> None:
    """Raises `UserError` if a tuple of the next pickle in a file holds more than any tensor's.

    It follows the pickle's stack, with the number of values that each one holds instead of the value.

    Raises:
        ValueError, IndexError: if the pickle is not readable.
    """
    stack: list[int | None] = []  # None is a mark
    memo: dict[Any, int | None] = {}
    for operation, argument, _ in pickletools.genops(file):
        name = operation.name
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(argument, 1))
        elif name == "MARK":
            stack.append(None)
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP":
            stack.pop()
        else:
            taken = _take(stack, operation)
            walked = name.startswith("TUPLE") or name in ("REDUCE", "NEWOBJ", "BINPERSID", "FROZENSET")
            weight = _total(taken) + 1 if walked else 1
            if weight > _MAX_TUPLE:
                raise UserError(f"{path}: holds a tuple of more than {_MAX_TUPLE:,} values; expected a state_dict")
            stack.extend([weight] * len(operation.stack_after))


def _take(stack: list[int | None], operation: pickletools.OpcodeInfo) -> list[int | None]:
    """Takes from a stack what an operation does."""
    before = operation.stack_before
    taken: list[int | None] = []
    if pickletools.stackslice in before:
        while (top := stack.pop()) is not None:
            taken.append(top)
        before = before[: before.index(pickletools.markobject)]
    return taken + [stack.pop() for _ in before]


def _total(values: Iterable[int | None]) -> int:
    return sum(value or 0 for value in values)
