import gzip
import hashlib
import tarfile
from pathlib import Path

import pytest

from fer_tf.errors import UserError
from fer_tf.export import web_runtime

VENDOR = Path(__file__).parents[2] / "realtime/web/page/vendor"


def test_the_files_that_ship_are_the_pinned_ones():
    shipped = {}
    for path in VENDOR.iterdir():
        content = path.read_bytes()
        packed = path.suffix == ".gz"
        shipped[path.stem if packed else path.name] = gzip.decompress(content) if packed else content
    assert shipped.keys() == web_runtime.FILES.keys() | set(web_runtime.LICENSES.values())
    assert {name: hashlib.sha256(shipped[name]).hexdigest() for name in web_runtime.FILES} == web_runtime.FILES
    assert f"ONNX Runtime Web v{web_runtime.VERSION}".encode() in shipped["ort.wasm.min.mjs"]
    assert b"MIT License" in shipped["LICENSE.txt"]


def pack(path, contents):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            file = path.with_name(name)
            file.write_bytes(content)
            archive.add(file, f"package/dist/{name}")
    return path


@pytest.fixture
def pinned(monkeypatch, tmp_path):
    """A package of small files that are pinned in place of the real ones."""
    contents = {name: f"of {name}".encode() * 50 for name in web_runtime.FILES}
    package = pack(tmp_path / "package.tgz", contents)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(web_runtime, "FILES", digests)
    monkeypatch.setattr(web_runtime, "_PACKAGE_SHA256", hashlib.sha256(package.read_bytes()).hexdigest())
    return package, contents


def test_a_package_is_unpacked_with_the_licenses(pinned, tmp_path):
    package, contents = pinned
    written = web_runtime.write_runtime(package, tmp_path / "vendor")
    names = {path.name for path in written}
    assert names == {path.name for path in VENDOR.iterdir()}
    wasm = next(path for path in written if path.name.endswith(".wasm.gz"))
    assert gzip.decompress(wasm.read_bytes()) == contents[wasm.stem]
    assert wasm.stat().st_size < 200
    assert web_runtime.write_runtime(package, tmp_path / "vendor") == written


def test_another_package_is_refused(pinned, tmp_path, monkeypatch):
    _, contents = pinned
    other = pack(tmp_path / "other.tgz", contents | {"ort.wasm.min.mjs": b"something else"})
    with pytest.raises(UserError, match=r"is not the pinned onnxruntime-web .*npm pack onnxruntime-web@"):
        web_runtime.write_runtime(other, tmp_path / "vendor")
    monkeypatch.setattr(web_runtime, "_PACKAGE_SHA256", hashlib.sha256(other.read_bytes()).hexdigest())
    with pytest.raises(UserError, match=r"its ort\.wasm\.min\.mjs is not the pinned one"):
        web_runtime.write_runtime(other, tmp_path / "vendor")
    with pytest.raises(UserError, match="no such package"):
        web_runtime.write_runtime(tmp_path / "none.tgz", tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_the_licenses_are_those_of_the_installed_onnxruntime():
    import onnxruntime

    installed = Path(onnxruntime.__file__).parent
    assert (VENDOR / "LICENSE.txt").read_bytes() == (installed / "LICENSE").read_bytes()
