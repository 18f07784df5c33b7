"""Tables that are written in two ways: aligned, for a terminal, and as Markdown, for a file."""

from collections.abc import Sequence
from dataclasses import dataclass

from fer_tf.text import markdown, printable


class Markdown(str):
    """A cell that is Markdown already."""


@dataclass(frozen=True)
class Table:
    """A table of text. Cells show as they are in both ways, whatever is in them, unless they are `Markdown`.

    Raises:
        ValueError: if a row has more or fewer cells than the header.
    """

    header: Sequence[str]
    """Names of the columns, all of them empty for a table without a header."""
    rows: Sequence[Sequence[str]]
    align: str = ""
    """For each column `l` or `r`; empty aligns the first column left and the others right."""

    def __post_init__(self):
        for row in (*self.rows, self.align or self.header):
            if len(row) != len(self.header):
                raise ValueError(f"expected {len(self.header)} columns. Received: {row!r}")

    def to_text(self) -> str:
        """Returns the table with aligned columns, for a terminal."""
        lines = [list(map(printable, line)) for line in (self.header, *self.rows)[not any(self.header) :]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        if any(self.header):
            lines.insert(1, ["-" * width for width in widths])
        adjust = {"l": str.ljust, "r": str.rjust}
        columns = list(zip(self._align(), widths, strict=True))
        return "\n".join(
            "  ".join(adjust[side](cell, width) for cell, (side, width) in zip(line, columns, strict=True)).rstrip()
            for line in lines
        )

    def to_markdown(self) -> str:
        """Returns the table in the pipe syntax of GitHub's Markdown."""
        ruler = "".join("--:|" if side == "r" else "---|" for side in self._align())
        return "\n".join([_piped(self.header), f"|{ruler}", *map(_piped, self.rows)])

    def _align(self) -> str:
        return self.align or "l" + "r" * (len(self.header) - 1)


def to_text(blocks: Sequence[str | Table]) -> str:
    """Returns paragraphs and tables for a terminal, with an empty line between them."""
    return "\n\n".join(block if isinstance(block, str) else block.to_text() for block in blocks)


def to_markdown(blocks: Sequence[str | Table]) -> str:
    """Returns paragraphs and tables as Markdown, with an empty line between them."""
    return "\n\n".join(block if isinstance(block, str) else block.to_markdown() for block in blocks)


def between(interval: list[float], form: str) -> str:
    """Returns an interval in words, its ends formatted as `form` says."""
    low, high = interval
    return f"{low:{form}} to {high:{form}}"


def _piped(cells: Sequence[str]) -> str:
    shown = (cell if isinstance(cell, Markdown) else markdown(cell) for cell in cells)
    escaped = (cell.replace("|", r"\|") for cell in shown)
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in escaped)
