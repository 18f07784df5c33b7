"""The decoded copy of a data set, which is faster to read than the images themselves."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fer_tf.fer2013.sources import files_below
from fer_tf.fer2013.splits import SPLITS, Fer2013, Split
from fer_tf.files import written_aside

_VERSION = 5
_FIELDS = ("images", "labels", "names")


class Cache:
    """The decoded copy of one source, valid while sizes and modification times of the source stay the same.

    It is of one meaning of the classes, and lies in `$FER_TF_CACHE` or the user's cache directory.
    """

    def __init__(self, source: Path, classes: Sequence[str] = ()):
        import platformdirs

        self._source = source
        self._key = json.dumps([_VERSION, str(source), _state(source), list(classes)])
        name = hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
        folder = os.environ.get("FER_TF_CACHE") or platformdirs.user_cache_dir("fer-tf")
        self._path = Path(folder) / f"{name}.npz"

    def read(self) -> Fer2013 | None:
        """Returns the copy; None if there is none, it is not readable, or the source has changed."""
        try:
            with open(self._path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                if str(arrays["key"]) != self._key:
                    return None
                splits = {name: Split(*(arrays[f"{name}_{field}"] for field in _FIELDS)) for name in SPLITS}
                notes, choosing = json.loads(str(arrays["notes"]))
                return Fer2013(self._source, **splits, notes=tuple(notes), choosing=choosing)
        except Exception:  # whatever is wrong with it, the source is there to be read again
            return None

    def write(self, data: Fer2013) -> None:
        """Keeps the copy. A cache directory that cannot be written to is reported on stderr, and is no error."""
        arrays = {f"{name}_{field}": getattr(getattr(data, name), field) for name in SPLITS for field in _FIELDS}
        try:
            with written_aside(self._path) as temporary:
                np.savez(temporary, key=self._key, notes=json.dumps([data.notes, data.choosing]), **arrays)
        except OSError as error:
            print(f"note: no decoded copy kept in {self._path.parent} ({error.strerror})", file=sys.stderr)


def _state(source: Path) -> str:
    """Returns a digest that changes when a file, or any file in a folder, is changed, moved or renamed."""
    files = files_below(source) if source.is_dir() else [source]
    stats = ((str(file), file.stat()) for file in files)
    return hashlib.sha256(repr([(name, s.st_size, s.st_mtime_ns) for name, s in stats]).encode()).hexdigest()
