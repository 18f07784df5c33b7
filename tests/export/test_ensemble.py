import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("scipy")

from fer_tf.card import METADATA_KEY  # noqa: E402
from fer_tf.export import ensemble  # noqa: E402
from fer_tf.fer2013 import Fer2013, Split  # noqa: E402
from fer_tf.files import sha256  # noqa: E402
from fer_tf.recognizer import Recognizer  # noqa: E402
from fer_tf.weights import DEFAULT_MODEL  # noqa: E402


@pytest.fixture
def members(make_model_file, tmp_path):
    """Two model files that say different things."""
    one, other = make_model_file(tmp_path / "one.onnx"), make_model_file(tmp_path / "other.onnx")
    model = onnx.load(other)
    slopes = next(tensor for tensor in model.graph.initializer if tensor.name == "slopes")
    slopes.CopyFrom(onnx.numpy_helper.from_array(np.linspace(0.02, -0.01, 7, dtype=np.float32), "slopes"))
    onnx.save(model, other)
    return one, other


@pytest.fixture
def public(monkeypatch, tmp_path) -> Split:
    random = np.random.default_rng(0)
    images = (random.integers(0, 256, (300, 1, 1)) + np.zeros((300, 48, 48))).astype(np.uint8)
    split = Split(images, random.integers(0, 7, 300), np.arange(300).astype(str))
    data = Fer2013(tmp_path, split, split, split)
    monkeypatch.setattr(ensemble.fer2013, "find", lambda path: path)
    monkeypatch.setattr(ensemble.fer2013, "load", lambda path, classes: data)
    return split


def test_it_averages_and_is_calibrated(members, public, tmp_path, capsys):
    from scipy.special import softmax

    from fer_tf.metrics import fit_temperature

    joined = tmp_path / "joined.onnx"
    assert ensemble.main([*map(str, members), "-o", str(joined)]) == 0
    recognizer = Recognizer(joined)
    mean = np.mean([Recognizer(path)(public.images) for path in members], axis=0)
    temperature = recognizer.card.temperature
    assert temperature == pytest.approx(fit_temperature(np.log(mean), public.labels))
    expected = softmax(np.log(mean) / temperature, axis=1)
    for batch in (1, 300):
        np.testing.assert_allclose(recognizer(public.images[:batch]), expected[:batch], atol=1e-6)
    accuracy = (expected.argmax(axis=1) == public.labels).mean()
    assert recognizer.card.metrics["accuracy"] == pytest.approx(accuracy)
    assert f"{accuracy:.2%} on PublicTest" in capsys.readouterr().out
    assert json.loads(recognizer.card.to_json())["source_file"] == "one.onnx, other.onnx"
    assert recognizer.card.name == "joined"  # what the live loop and its tables call it


def test_mirroring_makes_it_blind_to_mirroring(public, tmp_path):
    """With BaseCNN, which answers a mirrored face otherwise."""
    from fer_tf import weights

    rows, columns = np.mgrid[:48, :48] / 48
    faces = np.stack([128 + 60 * np.sin(number * columns + rows) for number in range(1, 6)]).astype(np.uint8)
    mirrored = np.ascontiguousarray(faces[:, :, ::-1])
    path, joined = weights.DEFAULT_MODEL.with_name("base_cnn-stack_sharpen.onnx"), tmp_path / "joined.onnx"
    assert ensemble.main([str(path), "--mirror", "-o", str(joined)]) == 0
    recognizer, alone = Recognizer(joined), Recognizer(path)
    assert np.abs(alone(faces) - alone(mirrored)).max() > 0.01
    np.testing.assert_allclose(recognizer(faces), recognizer(mirrored), atol=1e-6)
    powers = ((alone(faces) + alone(mirrored)) / 2) ** (1 / recognizer.card.temperature)
    np.testing.assert_allclose(recognizer(faces), powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def test_what_is_blind_to_mirroring_anyway_is_not_mirrored(public, tmp_path, capsys):
    from fer_tf import weights

    single = weights.DEFAULT_MODEL.with_name("mirror_resnet-original.onnx")
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    mirrored = np.ascontiguousarray(faces[:, :, ::-1])
    for files in ([single], [single, single.with_name("mirror_resnet-original-pair.onnx")]):
        assert all(Recognizer(path).card.is_mirror_equivariant for path in files)
        np.testing.assert_allclose(*(Recognizer(files[-1])(images) for images in (faces, mirrored)), atol=1e-5)
        assert ensemble.main([*map(str, files), "--mirror", "-o", str(tmp_path / "joined.onnx")]) == 2
        assert "leave --mirror away" in capsys.readouterr().err
    assert ensemble.main([str(single), "-o", str(tmp_path / "joined.onnx")]) == 2
    assert "--mirror" not in capsys.readouterr().err
    assert not Recognizer(single.with_name("base_cnn-stack_sharpen.onnx")).card.is_mirror_equivariant


def test_ensembles_can_be_joined_again(members, public, tmp_path):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    assert ensemble.main([*map(str, members), "-o", str(first)]) == 0
    assert ensemble.main([str(first), str(members[0]), "--mirror", "-o", str(second)]) == 0
    assert Recognizer(second)(public.images[:4]).shape == (4, 7)


@pytest.mark.usefixtures("public")
def test_a_member_may_be_named(members, tmp_path, capsys):
    output = tmp_path / "joined.onnx"
    assert ensemble.main([DEFAULT_MODEL.stem, str(DEFAULT_MODEL), "-o", str(output)]) == 2
    assert "named twice" in capsys.readouterr().err
    assert ensemble.main([DEFAULT_MODEL.stem, str(members[0]), "-o", str(output)]) == 0
    sources = [member["sha256"] for member in Recognizer(output).card.training["members"]]
    assert sources == [sha256(DEFAULT_MODEL), sha256(members[0])]


def test_wrong_input_is_one_line_and_writes_nothing(members, public, tmp_path, capsys):
    one, other = map(str, members)
    output = tmp_path / "joined.onnx"
    for arguments, complaint in (
        ([one], "is alone"),
        ([one, one], "named twice"),
        ([one, str(tmp_path / "none.onnx")], "no such model file"),
    ):
        assert ensemble.main([*arguments, "-o", str(output)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert complaint in line
        assert not output.exists()
    before = members[1].read_bytes()
    assert ensemble.main([one, other, "-o", other]) == 2
    assert "is what the new file is made from" in capsys.readouterr().err
    output.write_text("something else")
    assert ensemble.main([one, other, "-o", str(output)]) == 2
    assert "was not made from one.onnx, other.onnx" in capsys.readouterr().err
    assert ensemble.main([one, other, "-o", str(output), "--force"]) == 0
    assert ensemble.main([one, other, "-o", str(output)]) == 0
    assert members[1].read_bytes() == before


@pytest.mark.parametrize("options", [([], ["--mirror"]), (["--mirror"], [])], ids=["plain first", "mirrored first"])
def test_a_mirrored_file_and_a_plain_one_do_not_replace_each_other(options, members, public, tmp_path, capsys):
    first, second = ([*map(str, members), *option, "-o", str(tmp_path / "joined.onnx")] for option in options)
    assert ensemble.main(first) == 0
    before = (tmp_path / "joined.onnx").read_bytes()
    assert ensemble.main(second) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "joined.onnx").read_bytes() == before
    assert ensemble.main([*second, "--force"]) == 0
    assert (tmp_path / "joined.onnx").read_bytes() != before


def test_networks_that_can_share_convolutions_do(tmp_path):
    """Two networks by parity; what joins them must not show that they are one network now."""
    keras = pytest.importorskip("keras")
    pytest.importorskip("tf2onnx")
    from fer_tf import weights
    from fer_tf.export.convert import convert
    from fer_tf.models import create_model
    from fer_tf.preprocessing.preprocessor import create_preprocessor

    card = Recognizer(weights.DEFAULT_MODEL.with_name("mirror_resnet-original.onnx")).card
    faces = np.random.default_rng(0).integers(0, 256, (8, 48, 48), np.uint8)
    paths = [tmp_path / "0.onnx", tmp_path / "1.onnx"]
    for seed, path in enumerate(paths):
        keras.utils.set_random_seed(seed)
        network = create_model("mirror_resnet", "original", widths=(32, 32, 64), blocks=(1, 1))
        random = np.random.default_rng(seed)
        for variable in network.variables:
            if len(variable.shape) == 1:
                variable.assign(random.uniform(0.5, 1.5, variable.shape))
        convert(network, create_preprocessor("original", "mirror_resnet"), card, path)
    joined = ensemble.join([onnx.load(path) for path in paths], 0.8)
    onnx.helper.set_model_props(joined, {METADATA_KEY: card.to_json()})
    onnx.save(joined, tmp_path / "joined.onnx")
    powers = np.mean([Recognizer(path)(faces) for path in paths], axis=0) ** (1 / 0.8)
    found = Recognizer(tmp_path / "joined.onnx")(faces)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    kernels = [tensor for tensor in joined.graph.initializer if tensor.name.endswith("conv1.even.middle/kernel")]
    assert [list(tensor.dims) for tensor in kernels] == [[2 * 16, 16, 3, 1], [2 * 32, 32, 3, 1]]
