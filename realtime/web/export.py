"""Writes the page as a static site."""

from collections.abc import Mapping
from pathlib import Path

from fer_tf.errors import UserError
from fer_tf.files import check_writable, named_errors, written_aside

_ONLINE, _OFFLINE = '<html lang="en">', '<html lang="en" data-offline>'
"""With the latter, the page installs its service worker: it then works offline, and has threads on any host."""


def write_site(files: Mapping[str, Path], folder: Path) -> int:
    """Writes the files of the page to a folder, which is new, empty, or holds an earlier site.

    Args:
        files: Files by their addresses.
        folder: Where they go.

    Returns:
        How many files there are.

    Raises:
        UserError: if the folder holds other files, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; --export expects a folder")
    others = (path for path in sorted(folder.rglob("*")) if path.is_file())
    for path in others:
        if path.relative_to(folder).as_posix() not in files:
            raise UserError(f"{path}: is not part of the site; choose a new or an empty folder")
    for name, source in files.items():
        content = source.read_bytes()
        if name == "index.html":
            content = content.replace(_ONLINE.encode(), _OFFLINE.encode(), 1)
        check_writable(folder / name)
        with named_errors(folder / name), written_aside(folder / name) as temporary:
            temporary.write_bytes(content)
    return len(files)
