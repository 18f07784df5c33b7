"""What the names and numbers of other data sets stand for."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fer_tf.classes import ALIASES, CLASSES, ORDERS
from fer_tf.errors import UserError

LEFT_OUT = "-"
"""Stands for a class whose images are left out."""

HELP = (
    "what folders or labels of the data stand for, such as 0=angry 1=disgust, with contempt=- to leave images out; "
    f"or an order of numbers: {', '.join(ORDERS)} (default: by name, or by which numbers there are)"
)

NO_MAJORITY = "no majority"
"""Stands for the label of an image on which annotators agree too little."""

_OTHERS = (
    "contempt",
    "contemptuous",
    "none",
    "uncertain",
    "unknown",
    "nf",
    "no-face",
    "noface",
    "non-face",
    "nonface",
    NO_MAJORITY,
)
"""Names in other data sets of what is none of our classes."""

_EXPECTED = f"expected NAME=CLASS, with {', '.join(CLASSES)} or {LEFT_OUT}, or one of {', '.join(ORDERS)}"


class Labels:
    """Says what the words of a data set stand for: names of folders, labels in a list.

    Args:
        given: The user's own mapping, which comes first: `0=angry`, `contempt=-`, or the name of an order of numbers.

    Raises:
        UserError: if the mapping cannot be read.
    """

    def __init__(self, given: Sequence[str] = ()):
        self.notes: list[str] = []
        self._own: dict[str, str] = {}
        for part in given:
            if part.lower() in ORDERS:
                self._own |= _numbers_of(part.lower())
                continue
            word, equals, name = part.rpartition("=")
            name = LEFT_OUT if name == LEFT_OUT else _plain(name)
            if not (equals and word) or name not in (*CLASSES, LEFT_OUT):
                raise UserError(f"--classes {part!r}: {_EXPECTED}")
            self._own[_tidy(word)] = name
        self._numbers: dict[str, str] = {}

    def find(self, word: str) -> str | None:
        """Returns the class that a word stands for, or `LEFT_OUT`; None if nothing says what it is."""
        word = _tidy(word)
        found = self._own.get(word) or self._numbers.get(word)
        if found is None:
            plain = _plain(word)
            found = self._own.get(plain) or (plain if plain in CLASSES else LEFT_OUT if plain in _OTHERS else None)
        return found

    def numbered(self, word: str, order: str) -> str | None:
        """Returns what `find` does for a label of a list whose numbers are in one of `fer_tf.classes.ORDERS`."""
        return self.find(word) or _numbers_of(order).get(_tidy(word))

    def settle_numbers(self, path: Path, words: Iterable[str]) -> None:
        """Decides what numbers stand for, by which ones there are, and notes it.

        Args:
            path: Where the data set is; its name may tell which one it is.
            words: Names of folders, or labels.

        Raises:
            UserError: if the numbers may be those of several data sets.
        """
        tidy = {_tidy(word) for word in words}
        numbers = {int(word) for word in tidy if re.fullmatch(r"\d{1,3}", word) and word not in self._own}
        if not numbers:
            return
        order = _order_of(path, numbers)
        if order is None:
            found = ", ".join(map(str, sorted(numbers)[:12]))
            raise UserError(
                f"{path}: numbers {found} stand for the classes, and data sets number them differently; say which is "
                f"meant by --classes with {', '.join(ORDERS)}, or by 0=angry 1=disgust …"
            )
        self._numbers = _numbers_of(order)
        self._numbers |= {str(number): LEFT_OUT for number in numbers if number >= len(ORDERS[order])}
        told = ", ".join(f"{number} {name}" for number, name in enumerate(ORDERS[order]) if name)
        self.notes.append(f"the classes are read by the numbers of {order} ({told}); --classes names others")


def _order_of(path: Path, numbers: set[int]) -> str | None:
    """Returns the order that a set of numbers belongs to, None if there are several."""
    name = re.sub(r"[^a-z]", "", path.name.lower())
    hints = {"affectnet": "affectnet", "expw": "expw", "raf": "rafdb", "ferplus": "ferplus"}
    for hint, order in hints.items():
        places = range(1 if order == "rafdb" else 0, 11 if order == "affectnet" else len(ORDERS[order]))
        if hint in name and numbers <= set(places):
            return order
    if numbers == set(range(1, 8)):
        return "rafdb"
    if set(range(8)) <= numbers <= set(range(11)):
        return "affectnet"
    return None


def _numbers_of(order: str) -> dict[str, str]:
    names = enumerate(ORDERS[order])
    return {str(number): name if name in CLASSES else LEFT_OUT for number, name in names if name}


def _tidy(word: str) -> str:
    """Returns a word in lower case, and a whole number without its `.0`."""
    word = word.strip().lower()
    return re.sub(r"^0+(?=\d)", "", word.removesuffix(".0")) if re.fullmatch(r"\d+(\.0)?", word) else word


def _plain(word: str) -> str:
    """Returns a class's own name, without a number before it: `3_happiness` is `happy`."""
    word = re.sub(r"^\d+[\s._-]+(?=[a-z])", "", word.strip().lower())
    return ALIASES.get(word, word)
