"""FER-2013 in each form that users have. `python -m fer_tf.fer2013 [PATH]` prints an audit of it.

Forms: the Kaggle image tree (`train/<class>/…`, `test/<class>/…`), as a folder or inside its zip or tar, which is read
in place; the challenge's CSV (`fer2013.csv`, `icml_face_data.csv`), alone, in a folder, a zip or a tar; other data sets
as they are published (RAF-DB, AffectNet, ExpW, CK+48, FER+, JAFFE); and a user's own folder of class folders.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from fer_tf.errors import UserError
from fer_tf.fer2013.audit import blanks, copies
from fer_tf.fer2013.cache import Cache
from fer_tf.fer2013.labels import Labels
from fer_tf.fer2013.readers import read
from fer_tf.fer2013.splits import PUBLIC_TEST, SPLITS, Fer2013, Split, arrange
from fer_tf.quiet import silence_opencv

__all__ = ["DEFAULT_PATHS", "PUBLIC_TEST", "SPLITS", "Fer2013", "Split", "blanks", "copies", "find", "load"]

silence_opencv()  # broken images are reported once, by us

DEFAULT_PATHS = ("data/fer2013.zip", "../shared/data/fer2013.zip")
"""Where `find` looks if nothing else says where the data is."""

_EXPECTED = "expected FER-2013 as zip, folder or CSV"


def find(path: str | os.PathLike | None = None) -> Path:
    """Returns where the data is: `path`, else `$FER2013`, else the first of `DEFAULT_PATHS` that exists.

    Raises:
        UserError: if nothing is there.
    """
    for given, source in ((path, ""), (os.environ.get("FER2013"), "$FER2013 ")):
        if given:
            if not Path(given).exists():
                raise UserError(f"{source}{given}: no such file or folder; {_EXPECTED}")
            return Path(given)
    for default in DEFAULT_PATHS:
        if Path(default).exists():
            return Path(default)
    raise UserError(
        f"FER-2013 not found: no path was given, $FER2013 is not set, and there is no {' or '.join(DEFAULT_PATHS)}; "
        f"download it from kaggle.com/datasets/msambare/fer2013 and save it as {DEFAULT_PATHS[0]}, or set $FER2013 "
        "to its path"
    )


def load(path: str | os.PathLike, *, classes: Sequence[str] | None = None, cache: bool = True) -> Fer2013:
    """Reads a data set, and keeps a decoded copy in `$FER_TF_CACHE` or the user's cache directory for the next time.

    The order of the arrays depends on labels and pixels alone, so equal images in a folder, a zip or a CSV give equal
    arrays. Broken images are named on stderr, skipped and counted.

    Args:
        path: A folder, a zip, a tar or a CSV.
        classes: What names or numbers of classes stand for: `0=angry`, `contempt=-` to leave images out, or the name of
            an order of `fer_tf.classes.ORDERS`. Others are known by name, or by which numbers there are.
        cache: Whether to read and write the decoded copy.

    Raises:
        UserError: if there is no data set there, more than 1 % of its images are broken, it has too few to hold some
            out, or nothing tells what its classes are.
    """
    path = Path(path).absolute()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; {_EXPECTED}")
    classes = classes or ()
    labels = Labels(classes)
    copy = Cache(path, classes) if cache else None
    data = copy.read() if copy else None
    if data is None:
        data = arrange(path, read(path, labels))
        if copy:
            copy.write(data)
    return data
