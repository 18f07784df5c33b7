"""Reads from the first bytes of a picture what it is: its format, size, number of pages and how it is turned."""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import islice

HEIC, AVIF, GIF, JPEG, TIFF = "HEIC", "AVIF", "GIF", "JPEG", "TIFF"
"""Formats that need more than OpenCV, or that OpenCV treats differently."""

HEIF_BRANDS = ("avif", "avis", "heic", "heim", "heis", "heix", "hevc", "hevm", "hevs", "hevx", "mif1", "mif2", "msf1")
"""Kinds of HEIF, the container of HEIC and AVIF."""

_SIGNATURES = (
    (rb"\xff\xd8\xff", JPEG),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", GIF),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP"),
    (rb"RIFF.{4}WEBP", "WebP"),
    (rb"II[*+]\0|MM\0[*+]", TIFF),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"P[1-7]\s", "PNM"),
)

_DAMAGE = (LookupError, OverflowError, TypeError, ValueError, struct.error)

_DEFLATE_RATIO = 1032
"""Largest ratio by which the compression of PNG can shrink data."""

_MOST_PAGES = 1000
"""Pages are not counted any further."""

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers that are followed by the size."""

_HUFFMAN = (0xC0, 0xC1, 0xC2)
"""Those of JPEGs that take one bit at least for each block."""


def kind(content: bytes) -> str | None:
    """Returns the format of a picture, such as `JPEG`; None if it is none that is supported."""
    if content[4:8] == b"ftyp":
        brands = _brands(content)
        if not brands.intersection(HEIF_BRANDS):
            return None
        return AVIF if brands & {"avif", "avis"} else HEIC
    return next((name for pattern, name in _SIGNATURES if re.match(pattern, content, re.DOTALL)), None)


def size(content: bytes) -> tuple[int, int] | None:
    """Returns width and height of a picture in pixels, as it is stored; None if its header is damaged."""
    found = kind(content)
    try:
        return _SIZES[found](content) if found else None
    except _DAMAGE:
        return None


def pages(content: bytes) -> int:
    """Returns the number of pictures in a file: pages of a TIFF, or frames of an animation.

    Of HEIF sequences it is 2, and of others at most 1,000.
    """
    found = kind(content)
    try:
        if found == GIF:
            return sum(1 for _ in islice(_gif_frames(content), _MOST_PAGES))
        if found == TIFF:
            return sum(1 for _ in islice(_tiff_directories(content), _MOST_PAGES))
        if found == "PNG":
            control = content.find(b"acTL", 0, content.find(b"IDAT"))
            return struct.unpack_from(">I", content, control + 4)[0] if control > 0 else 1
        if found == "WebP":
            return max(1, content.count(b"ANMF"))
        if found in (HEIC, AVIF):
            return 2 if _brands(content) & {"avis", "hevc", "hevx", "msf1"} else 1
    except _DAMAGE:
        pass
    return 1


def is_plausible(content: bytes) -> bool:
    """Returns False for a JPEG or PNG that is too short for its size, and for a PNG that is damaged.

    A decoder would take memory and time for the whole size, and then give up, or fill it with gray.
    """
    found = kind(content)
    try:
        if found == JPEG:
            marker, width, height = _jpeg_frame(content)
            return marker not in _HUFFMAN or width * height <= 512 * len(content)  # a bit for each of 8 × 8 pixels
        if found == "PNG":
            width, height, depth, colors = struct.unpack_from(">IIBB", content, 16)
            channels = {2: 3, 4: 2, 6: 4}.get(colors, 1)
            return width * height * depth * channels <= 8 * _DEFLATE_RATIO * len(content) and _png_is_sound(content)
    except _DAMAGE:
        return False
    return True


def _png_is_sound(content: bytes) -> bool:
    """Returns whether all chunks of a PNG are there, and those of the picture have the right checksums."""
    view, place = memoryview(content), 8
    while True:
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        (checksum,) = struct.unpack_from(">I", content, end)
        if name in (b"IHDR", b"PLTE", b"IDAT") and zlib.crc32(view[place + 4 : end]) != checksum:
            return False
        if name == b"IEND":
            return True
        place = end + 4


def heif_turns(content: bytes) -> list[tuple[str, int]]:
    """Returns how an AVIF or HEIC is turned, in order: ("irot", quarter turns to the left) and ("imir", axis)."""
    try:
        return [(name, value) for name, value in _heif_properties(content) if name in ("irot", "imir")]
    except _DAMAGE:
        return []


def _brands(content: bytes) -> set[str]:
    end = min(int.from_bytes(content[:4], "big"), 256)
    names = [content[8:12], *(content[place : place + 4] for place in range(16, end, 4))]
    return {name.decode("latin-1").strip("\0 ") for name in names}


def _jpeg_size(content: bytes) -> tuple[int, int]:
    return _jpeg_frame(content)[1:]


def _jpeg_frame(content: bytes) -> tuple[int, int, int]:
    """Returns the marker before the size of a JPEG, and its width and height."""
    place = 2
    while True:
        place = content.index(b"\xff", place)  # there may be fill bytes, and other bytes by mistake
        marker = content[place + 1]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return marker, width, height
        place += 1 if marker in (0, 0xFF) else 2 + struct.unpack_from(">H", content, place + 2)[0]


def _bmp_size(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH" if content[14] == 12 else "<ii", content, 18)
    return abs(width), abs(height)


def _webp_size(content: bytes) -> tuple[int, int]:
    chunk = content[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg2000_size(content: bytes) -> tuple[int, int]:
    if content.startswith(b"\xff\x4f"):
        right, bottom, left, top = struct.unpack_from(">4I", content, 8)
        return right - left, bottom - top
    height, width = struct.unpack_from(">II", content, content.index(b"ihdr") + 4)
    return width, height


def pnm_maximum(content: bytes) -> int:
    """Returns the value that stands for white in a binary PGM or PPM; 255 for all other content."""
    head = re.sub(rb"#[^\n]*\n", b"\n", content[:4096]).split(maxsplit=4)
    return int(head[3]) if len(head) > 3 and head[0] in (b"P5", b"P6") and head[3].isdigit() else 255


def _pnm_size(content: bytes) -> tuple[int, int]:
    head = re.sub(rb"#[^\n]*\n", b"\n", content[:4096])
    if head.startswith(b"P7"):
        return tuple(int(re.search(name + rb"\s+(\d+)", head)[1]) for name in (b"WIDTH", b"HEIGHT"))  # type: ignore
    width, height = head.split(maxsplit=3)[1:3]
    return int(width), int(height)


def _tiff_directories(content: bytes) -> Iterator[dict[int, int]]:
    """Yields the directory of each page: the numbers that it stores for tags, without arrays."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", content, 2)[0] == 43
    count_form, entry_form, link_form = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    place = struct.unpack_from(order + link_form, content, 8 if big else 4)[0]
    seen = set()
    while place and place not in seen:
        seen.add(place)
        count = struct.unpack_from(order + count_form, content, place)[0]
        place += struct.calcsize(count_form)
        width = struct.calcsize(order + entry_form)
        values = {}
        for entry in range(place, place + count * width, width):
            tag, form, number, _ = struct.unpack_from(order + entry_form, content, entry)
            value_at = entry + width - (8 if big else 4)
            if number == 1 and form in (3, 4, 16):
                values[tag] = struct.unpack_from(order + {3: "H", 4: "I", 16: "Q"}[form], content, value_at)[0]
        yield values
        place = struct.unpack_from(order + link_form, content, place + count * width)[0]


def _tiff_size(content: bytes) -> tuple[int, int]:
    first = next(_tiff_directories(content), {})
    return first.get(256, 0), first.get(257, 0)


def _gif_frames(content: bytes) -> Iterator[int]:
    """Yields where each frame of a GIF begins."""
    place = 13 + _color_table(content[10])
    while content[place] != 0x3B:
        if content[place] == 0x2C:
            yield place
            place += 11 + _color_table(content[place + 9])
        else:
            place += 2
        while content[place]:
            place += 1 + content[place]
        place += 1


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Yields name, begin and end of the content of each box of an ISO media file."""
    while start + 8 <= end:
        length, head = int.from_bytes(content[start : start + 4], "big"), 8
        if length == 1:
            length, head = int.from_bytes(content[start + 8 : start + 16], "big"), 16
        length = length or end - start
        if length < head:
            raise ValueError
        yield content[start + 4 : start + 8].decode("latin-1"), start + head, min(start + length, end)
        start += length


def _heif_properties(content: bytes, *, every: bool = False) -> list[tuple[str, int]]:
    """Returns the size (as width << 32 | height), rotation and mirror axis of the main picture, or of all items."""
    top = {name: (start, end) for name, start, end in _boxes(content, 0, len(content))}
    meta = {name: (start, end) for name, start, end in _boxes(content, top["meta"][0] + 4, top["meta"][1])}
    parts = {name: (start, end) for name, start, end in _boxes(content, *meta["iprp"])}
    values = []
    for name, start, _ in _boxes(content, *parts["ipco"]):
        if name == "ispe":
            values.append((name, struct.unpack_from(">Q", content, start + 4)[0]))
        else:
            values.append((name, content[start] & (1 if name == "imir" else 3)))
    if every:
        return values
    start = meta["pitm"][0]
    main = struct.unpack_from(">I" if content[start] else ">H", content, start + 4)[0]
    start = parts["ipma"][0]
    version, wide = content[start], content[start + 3] & 1
    count = struct.unpack_from(">I", content, start + 4)[0]
    place = start + 8
    for _ in range(count):
        item = struct.unpack_from(">I" if version else ">H", content, place)[0]
        place += 4 if version else 2
        number = content[place]
        indices = struct.unpack_from(f">{number}{'H' if wide else 'B'}", content, place + 1)
        place += 1 + number * (1 + wide)
        if item == main:
            return [values[(index & (0x7FFF if wide else 0x7F)) - 1] for index in indices]
    return []


def _heif_size(content: bytes) -> tuple[int, int]:
    # A picture of tiles is as large as its largest item.
    packed = [value for name, value in _heif_properties(content, every=True) if name == "ispe"]
    return max(((value >> 32, value & 0xFFFFFFFF) for value in packed), key=lambda pair: pair[0] * pair[1])


_SIZES = {
    JPEG: _jpeg_size,
    "PNG": lambda content: struct.unpack_from(">II", content, 16),
    GIF: lambda content: struct.unpack_from("<HH", content, 6),
    "BMP": _bmp_size,
    "WebP": _webp_size,
    TIFF: _tiff_size,
    "JPEG 2000": _jpeg2000_size,
    "PNM": _pnm_size,
    AVIF: _heif_size,
    HEIC: _heif_size,
}
