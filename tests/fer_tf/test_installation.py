import json
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer_tf import installation
from fer_tf.installation import program, remedy

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = {"pillow_heif": "pillow-heif", "skimage": "scikit-image", "sklearn": "scikit-learn"}
"""What the packages of a module are called where the name differs."""


@pytest.fixture(autouse=True)
def old_python(monkeypatch):
    """A Python that TensorFlow has wheels for, whatever runs the tests."""
    monkeypatch.setattr(installation.sys, "version_info", (3, 12, 1))


@pytest.fixture
def installed(monkeypatch):
    """A function that pretends that a wheel was installed, with this in its `direct_url.json`."""

    def install(origin: dict | None) -> None:
        scripts = [metadata.EntryPoint(name, value, "console_scripts") for name, value in PROJECT["scripts"].items()]
        files = {"direct_url.json": origin and json.dumps(origin)}
        distribution = SimpleNamespace(entry_points=metadata.EntryPoints(scripts), read_text=files.get)
        monkeypatch.setattr(installation, "in_checkout", lambda: False)
        monkeypatch.setattr(installation.metadata, "distribution", {"fer-tf": distribution}.__getitem__)

    return install


@pytest.fixture
def copied(monkeypatch):
    """Pretends that the package was copied somewhere, and nothing was installed."""

    def fail(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "in_checkout", lambda: False)
    monkeypatch.setattr(installation.metadata, "distribution", fail)


def test_commands_in_a_checkout():
    assert program("train.run") == "python -m train.run"
    assert program("fer_tf.fer2013") == "python -m fer_tf.fer2013"


def test_commands_of_a_wheel(installed):
    installed(None)
    assert program("train.run") == "fer-train"
    assert program("export.from_pth") == "fer-import"
    assert program("fer_tf.fer2013") == "fer-data"
    assert program("train.robustness") == "python -m fer_tf.train.robustness"


@pytest.mark.usefixtures("copied")
def test_commands_of_a_copy():
    assert program("train.run") == "python -m fer_tf.train.run"
    assert program("fer_tf.gallery") == "python -m fer_tf.gallery"


def test_an_extra_in_a_checkout():
    assert remedy("torch") == f'run: pip install -e "{ROOT}[pth]"'


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"url": "file:///home/me/fer", "dir_info": {"editable": True}}, '-e "/home/me/fer[train]"'),
        ({"url": "file:///home/me/my%20fer%2525", "dir_info": {}}, '"/home/me/my fer%25[train]"'),
        ({"url": "file:///tmp/fer_tf-0.2.0.whl", "archive_info": {}}, '"/tmp/fer_tf-0.2.0.whl[train]"'),
        ({"url": "https://x.org/fer_tf.whl", "archive_info": {}}, '"fer-tf[train] @ https://x.org/fer_tf.whl"'),
        (
            {"url": "https://x.org/fer.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}},
            '"fer-tf[train] @ git+https://x.org/fer.git@abc123"',
        ),
        (None, '"fer-tf[train]"'),
    ],
    ids=["editable folder", "folder", "wheel", "wheel on the web", "git", "index"],
)
@pytest.mark.skipif(installation.sys.platform == "win32", reason="the paths are POSIX's")
def test_an_extra_comes_from_where_the_rest_came(origin, expected, installed):
    installed(origin)
    assert remedy("keras.layers") == f"run: pip install {expected}"


@pytest.mark.usefixtures("copied")
def test_a_copy_names_no_index():
    assert remedy("keras") == "install fer-tf with its extra 'train'"


def test_a_module_of_no_extra_has_no_remedy():
    assert remedy("cv2") is None
    assert remedy("") is None


def test_tensorflow_is_not_promised_where_it_has_no_wheels(installed, monkeypatch):
    installed(None)
    monkeypatch.setattr(installation.sys, "version_info", (3, 14, 0))
    message = "training and export need TensorFlow, which has no wheels for Python 3.14; use Python 3.11 to 3.13"
    for module in ("keras", "tf2onnx", "torch"):
        assert remedy(module) == message
    assert remedy("skimage") == 'run: pip install "fer-tf[demo]"'


def test_each_module_is_in_the_extra_that_is_named():
    for module, extra in installation._EXTRA_OF_MODULE.items():
        package = PACKAGES.get(module, module)
        assert any(line.startswith(package) for line in PROJECT["optional-dependencies"][extra]), module
