"""Reads named constants out of a Linux library (ELF, 64 bits, little-endian)."""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fer_tf.errors import UserError

_X86_64 = 62
_TABLES = (2, 11)  # SHT_SYMTAB, SHT_DYNSYM
_CONTENT = 1  # SHT_PROGBITS
_OBJECT = 1  # STT_OBJECT


class _Section(NamedTuple):
    kind: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


def read_objects(data: bytes, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Returns the bytes of the data objects that a library's symbol tables name.

    Args:
        data: The library.
        wanted: Whether an object of this name is to be read.

    Raises:
        UserError: if it is no library for Linux on x86-64, or if it is damaged.
    """
    if data[:4] != b"\x7fELF":
        raise UserError("is no Linux library (ELF)")
    if data[4:6] != b"\x02\x01" or data[18:20] != struct.pack("<H", _X86_64):
        raise UserError("is not for x86-64")
    try:
        sections = list(_sections(data))
        return {
            name: data[start : start + size]
            for table in sections
            if table.kind in _TABLES
            for name, start, size in _objects(data, table, sections)
            if wanted(name)
        }
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        raise UserError("is damaged or cut off") from None


def _sections(data: bytes) -> Iterator[_Section]:
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    for number in range(count):
        _, kind, _, *rest, _, entry_size = struct.unpack_from("<IIQQQQIIQQ", data, table + number * size)
        address, offset, length, link, _ = rest
        yield _Section(kind, address, offset, length, link, entry_size)


def _objects(data: bytes, table: _Section, sections: list[_Section]) -> Iterator[tuple[str, int, int]]:
    """Yields name, place in the file and size of each object of one symbol table."""
    names = sections[table.link]
    for number in range(table.size // table.entry_size):
        entry = table.offset + number * table.entry_size
        name, info, _, index, value, size = struct.unpack_from("<IBBHQQ", data, entry)
        # Indices above the sections stand for symbols that lie elsewhere.
        if info & 15 != _OBJECT or not size or not 0 < index < len(sections) or sections[index].kind != _CONTENT:
            continue
        start = names.offset + name
        yield (
            data[start : data.index(b"\0", start)].decode("ascii"),
            sections[index].offset + value - sections[index].address,
            size,
        )
