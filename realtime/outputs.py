"""Where outputs go: the names of recordings, and the check that no output replaces another file of the run."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fer_tf.errors import UserError
from fer_tf.images import HEIC_SUFFIXES, READABLE_SUFFIXES
from fer_tf.realtime.record import IMAGE_SUFFIXES, VIDEO_SUFFIX
from fer_tf.realtime.sources import VIDEO_SUFFIXES, is_camera
from fer_tf.text import address_name

Named = tuple[str, Path | str | None]
"""An option and the file that it names, if any."""


def recordings(output: Path | None, sources: Sequence[str]) -> list[Path | None]:
    """Returns where the labeled frames of each source go.

    Args:
        output: A file, or a folder that gets a file for each source; None records nothing.
        sources: Single sources, as `fer_tf.realtime.sources.expand_sources` returns them.

    Raises:
        UserError: if `output` is a file of an unknown format, or a file for several sources.
    """
    if output is None:
        return [None] * len(sources)
    if output.suffix and not output.is_dir():
        if output.suffix.lower() not in (VIDEO_SUFFIX, *IMAGE_SUFFIXES):
            endings = ", ".join((VIDEO_SUFFIX, *IMAGE_SUFFIXES))
            raise UserError(f"{output}: a recording must end in {endings}, or be a folder, without a suffix")
        if len(sources) > 1:
            raise UserError(f"{output}: {len(sources)} sources need a folder for --output, a name without a suffix")
        return [output]
    return [output / name for name in distinct_names(map(_recording_name, sources))]


def _recording_name(source: str) -> tuple[str, str]:
    """Returns stem and suffix of the file for the labeled frames of a source."""
    address = "://" in source
    shown = address_name(source).partition("://")[2]
    stem = re.sub(r"\W+", "-", shown).strip("-") if address else Path(source).stem
    suffix = Path(source).suffix.lower()
    if address or suffix in VIDEO_SUFFIXES or suffix not in (*READABLE_SUFFIXES, *HEIC_SUFFIXES):
        suffix = VIDEO_SUFFIX
    elif suffix not in IMAGE_SUFFIXES:
        suffix = IMAGE_SUFFIXES[0]
    return f"camera-{stem}" if is_camera(source) else stem, suffix


def distinct_names(wanted: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yields a file name for each stem and suffix; a number sets apart names that differ at most in case."""
    taken = set()
    for stem, suffix in wanted:
        name, number = f"{stem}{suffix}", 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken.add(name.lower())
        yield name


def check_overwriting(inputs: Iterable[Named], outputs: Iterable[Named]) -> None:
    """Checks that no output would replace an input or another output.

    Args:
        inputs: Options and the files that they read; links are followed.
        outputs: Options and the files that they write.

    Raises:
        UserError: if an output is another file of the run, or would lie in one as if that were a folder.
    """
    seen = {_identity(path): option for option, path in inputs if path}
    written = [(option, path) for option, path in outputs if path]
    for option, path in written:
        identity = _identity(path)
        if identity in seen:
            raise UserError(f"{option} and {seen[identity]} are the same file ({path}); choose another {option}")
        seen[identity] = option
    files = {Path(path).resolve(): option for option, path in written}
    for file, option in files.items():
        if inside := next((folder for folder in file.parents if folder in files), None):
            raise UserError(f"{option} {file} would lie in {files[inside]} {inside}, which is a file; choose another")


def _identity(path: Path | str) -> object:
    """Returns what all names of a file have in common."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
