"""Fetches the page's runtime out of npm's onnxruntime-web: `python -m export.web_runtime PACKAGE -o DIR`."""

import gzip
import hashlib
import importlib.util
import tarfile
from pathlib import Path

from fer_tf.command import Parser, command
from fer_tf.errors import UserError
from fer_tf.files import sha256, written_aside

VERSION = "1.30.0"
"""Version of onnxruntime-web that the page runs."""

_PACKAGE_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_HOW = f"npm pack onnxruntime-web@{VERSION}"

FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 by name: the build for CPUs, without that for graphics cards, which has twice the size."""

LICENSES = {"LICENSE": "LICENSE.txt", "ThirdPartyNotices.txt": "ThirdPartyNotices.txt"}
"""License texts in Python's onnxruntime, and what they are called beside the files. npm's package has none."""


@command
def main(argv: list[str] | None = None) -> None:
    """Writes the files."""
    parser = Parser(
        "export.web_runtime",
        description="Write the files of onnxruntime-web that the page needs, with the license texts of Python's "
        f"onnxruntime. Get the package by: {_HOW}",
    )
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="onnxruntime-web-….tgz")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="realtime/web/page/vendor")
    arguments = parser.parse_args(argv)
    for path in write_runtime(arguments.package, arguments.output):
        print(f"{path}: {path.stat().st_size:,} bytes")


def write_runtime(package: Path, folder: Path) -> list[Path]:
    """Writes the page's runtime.

    WebAssembly is packed by gzip.

    Args:
        package: npm's package of the pinned version.
        folder: Where the files go.

    Returns:
        The files.

    Raises:
        UserError: if it is another package, or if onnxruntime is installed without its license texts.
    """
    if not package.is_file():
        raise UserError(f"{package}: no such package; get it by: {_HOW}")
    if sha256(package) != _PACKAGE_SHA256:
        raise UserError(f"{package}: is not the pinned onnxruntime-web {VERSION}; get it by: {_HOW}")
    contents = {}
    with tarfile.open(package) as archive:
        for name, digest in FILES.items():
            member = archive.extractfile(f"package/dist/{name}")
            content = member.read() if member else b""
            if hashlib.sha256(content).hexdigest() != digest:
                raise UserError(f"{package}: its {name} is not the pinned one; get the package by: {_HOW}")
            if name.endswith(".wasm"):
                name, content = f"{name}.gz", gzip.compress(content, mtime=0)
            contents[name] = content
    spec = importlib.util.find_spec("onnxruntime")
    for name, target in LICENSES.items():
        path = Path(spec.origin).with_name(name) if spec and spec.origin else Path(name)
        if not path.is_file():
            raise UserError(f"{path}: this license text is missing; run: pip install --force-reinstall onnxruntime")
        contents[target] = path.read_bytes()
    for name, content in contents.items():
        with written_aside(folder / name) as temporary:
            temporary.write_bytes(content)
    return [folder / name for name in contents]


if __name__ == "__main__":
    raise SystemExit(main())
