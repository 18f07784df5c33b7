import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
Image = pytest.importorskip("PIL.Image")

from fer_tf.export import from_pth  # noqa: E402
from fer_tf.export.convert import proof_faces  # noqa: E402
from fer_tf.models import create_model  # noqa: E402
from fer_tf.recognizer import Recognizer, predict  # noqa: E402
from fer_tf.train.figures import evaluate, evaluation_split  # noqa: E402
from fer_tf.train.warm_start import find_start  # noqa: E402

SHARED = Path(__file__).parents[3] / "shared"
CHECKPOINT = SHARED / "reference/BaseCNN.pth"


def original_tensor(face: np.ndarray, filtered: np.ndarray | None, *, size: int) -> np.ndarray:
    """What the first project made of a face: three channels, the last one wrapping; Pillow's resize, the scaling."""
    planes = [face] * 3 if filtered is None else [face, filtered, filtered - face + np.uint8(128)]
    image = Image.fromarray(np.dstack(planes))
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32)
    return pixels.transpose(2, 0, 1) / 127.5 - 1


def softmax(torch, logits):
    return torch.softmax(logits, dim=1).numpy()


@pytest.fixture(scope="module")
def faces(reference) -> dict[str, np.ndarray]:
    """Real faces and the first project's own filter outputs for them."""
    return {name: reference[name][:8] for name in ("images", "sharpen", "hist_median")}


@pytest.mark.parametrize(
    ("name", "filtered", "size", "width"),
    [
        ("Resnet50_Original", None, 64, 64),
        ("Resnet50_Stack_Ori_Sharpen", "sharpen", 224, 8),
        ("resnet50-stack-ori-hist-median", "hist_median", 96, 8),
    ],
)
def test_resnet50_gives_what_the_original_pipeline_gave(
    name, filtered, size, width, faces, torch, resnet50_of, decide, tmp_path, monkeypatch, capsys
):
    """One of the original's width; the others, whose images are larger, are narrow."""
    monkeypatch.setattr("fer_tf.models.resnet50.WIDTH", width)
    resnet50 = resnet50_of(width)
    pairs = zip(faces["images"], faces[filtered] if filtered else [None] * 8, strict=True)
    tensors = torch.tensor(np.stack([original_tensor(*pair, size=size) for pair in pairs]))
    decide(resnet50, tensors)
    with torch.inference_mode():
        expected = softmax(torch, resnet50(tensors))
    assert expected.max(axis=1).std() > 0.01
    path = tmp_path / f"{name}.pth"
    torch.save(resnet50.state_dict(), path)
    assert from_pth.main([str(path), *(["--image-size", str(size)] if size != 224 else [])]) == 0
    assert "differ by at most" in capsys.readouterr().out
    recognizer = Recognizer(path.with_suffix(".onnx"))
    assert np.abs(recognizer(faces["images"]) - expected).max() < 1e-4
    assert recognizer.card.framework == "torch"
    assert recognizer.card.arithmetic == "original"
    assert recognizer.card.temperature == 1
    assert recognizer.card.training == {"image_size": size, "resize": "bilinear as Pillow's, in whole levels"}


@pytest.mark.parametrize(("dataset", "channels"), [("original", 1), ("stack_sharpen", 2), ("hist_median", 1)])
def test_base_cnn_gives_what_torch_gives(dataset, channels, faces, torch, base_cnn_of, tmp_path):
    network = base_cnn_of(channels)
    torch.save({"epoch": 3, "model_state_dict": prefixed(network, "module._orig_mod.")}, tmp_path / "mine.pt")
    assert from_pth.main([str(tmp_path / "mine.pt"), "--dataset", dataset, "-o", str(tmp_path / "m.onnx")]) == 0
    filtered = faces.get(dataset.removeprefix("stack_"), faces["images"])
    if channels == 2:
        tensors = np.stack([faces["images"], filtered], axis=1) / np.float32(255)
    else:
        tensors = filtered[:, None] / np.float32(127.5) - 1
    with torch.inference_mode():
        expected = softmax(torch, network.model(torch.tensor(tensors.astype(np.float32))))
    assert np.abs(Recognizer(tmp_path / "m.onnx")(faces["images"]) - expected).max() < 1e-5


def prefixed(network, prefix: str) -> dict:
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="needs the checkpoint at ../shared/reference/BaseCNN.pth")
def test_a_real_checkpoint_keeps_its_accuracy(fer2013_path, tmp_path):
    """59.21 % and 59.74 % in PyTorch."""
    from fer_tf import fer2013

    output = tmp_path / "m.onnx"
    assert from_pth.main([str(CHECKPOINT), "-o", str(output), "--temperature-data", str(fer2013_path)]) == 0
    recognizer = Recognizer(output)
    data = fer2013.load(fer2013_path)
    probabilities = predict(recognizer, evaluation_split(data, "all").images)
    report = evaluate(probabilities, data, temperature=recognizer.card.temperature, splits="all")
    assert report["public"]["accuracy"] == pytest.approx(0.5921, abs=1e-3)
    assert report["private"]["accuracy"] == pytest.approx(0.5974, abs=1e-3)
    assert report["all"]["accuracy"] == pytest.approx(0.5947, abs=1e-3)
    assert recognizer.card.temperature > 1
    assert report["public"]["ece_after"] < report["public"]["ece_before"] / 2
    assert recognizer.card.metrics["accuracy"] == pytest.approx(report["public"]["accuracy"])


@pytest.fixture(scope="module")
def good(torch, base_cnn_of, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pth") / "BaseCNN.pth"
    torch.save(base_cnn_of(1).state_dict(), path)
    return path


def test_a_file_made_from_something_else_is_kept_without_force(good, torch, base_cnn_of, tmp_path, capsys):
    path = tmp_path / "BaseCNN.pth"
    shutil.copy(good, path)
    assert from_pth.main([str(path)]) == 0
    assert from_pth.main([str(path)]) == 0, "made from the same checkpoint"
    first = (tmp_path / "BaseCNN.onnx").read_bytes()
    state = base_cnn_of(1).state_dict()
    state["model.16.bias"] += 1
    torch.save(state, path)
    capsys.readouterr()
    assert from_pth.main([str(path)]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "BaseCNN.onnx").read_bytes() == first
    assert from_pth.main([str(path), "--force"]) == 0
    assert (tmp_path / "BaseCNN.onnx").read_bytes() != first


ALPHABETICAL = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
CSV = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.fixture(scope="module")
def labeled(torch, base_cnn_of, decide, tmp_path_factory):
    """A BaseCNN, images, its answers to them in its own order, and a table that says they are right by the CSV's."""
    folder, network = tmp_path_factory.mktemp("labeled"), base_cnn_of(1)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (200, 6, 6), np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    tensors = torch.tensor(images[:, None] / np.float32(127.5) - 1)
    decide(network.model, tensors)
    with torch.inference_mode():
        answers = network.model(tensors).argmax(dim=1).numpy()
    assert len(set(answers.tolist())) == 7
    torch.save(network.state_dict(), folder / "BaseCNN.pth")
    rows = [f"{n},{' '.join(map(str, image.ravel()))},PublicTest" for n, image in zip(answers, images, strict=True)]
    (folder / "data.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    return folder, images, answers


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ([], ALPHABETICAL),
        (["alphabetical"], ALPHABETICAL),
        (["csv"], CSV),
        (CSV[::-1], CSV[::-1]),
        ([",".join(CSV)], CSV),
    ],
)
def test_answers_are_read_in_the_order_of_the_labels(labels, order, labeled, tmp_path, capsys):
    folder, images, answers = labeled
    options = ["-o", str(tmp_path / "m.onnx"), *(["--labels", *labels] if labels else [])]
    assert from_pth.main([str(folder / "BaseCNN.pth"), *options]) == 0
    printed = capsys.readouterr().out
    assert f"its answers are, in order, {', '.join(order)}" in printed
    assert ("as assumed" in printed) == (not labels)
    found = Recognizer(tmp_path / "m.onnx")(images).argmax(axis=1)
    assert [ALPHABETICAL[n] for n in found] == [order[n] for n in answers]


def test_another_order_that_is_clearly_better_stops_the_import(labeled, tmp_path, capsys):
    folder, _, answers = labeled
    options = [str(folder / "BaseCNN.pth"), "-o", str(tmp_path / "m.onnx")]
    options += ["--temperature-data", str(folder / "data.csv")]
    assert from_pth.main(options) == 2
    share = (answers < 4).mean()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"only {share:.2%} correct on 200 images (PublicTest)" in line
    assert line.endswith("100.00% in that of csv; give --labels csv")
    assert not (tmp_path / "m.onnx").exists()
    assert from_pth.main([*options, "--labels", "csv"]) == 0
    assert "100.00% correct on 200 images (PublicTest)" in capsys.readouterr().out
    assert Recognizer(tmp_path / "m.onnx").card.metrics["accuracy"] == 1


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/fer-tf-was-run"),))


def changed(change):
    def make(torch, state):
        change(torch, state)
        return state

    return make


def drop(name):
    return changed(lambda torch, state: state.pop(name))


def put(name, value):
    return changed(lambda torch, state: state.update({name: value(torch)}))


WRONG = {
    "missing tensor": (drop("model.10.running_mean"), "model.10.running_mean is missing; expected shape (128,)"),
    "missing dense": (drop("model.13.weight"), "model.13.weight is missing"),
    "missing first": (drop("model.0.weight"), "model.0.weight is missing"),
    "missing last": (drop("model.16.weight"), "model.16.weight is missing"),
    "extra tensor": (
        put("model.17.weight", lambda torch: torch.ones(3)),
        "1 tensors have no place in base_cnn: model.17.weight (3,)",
    ),
    "a number for a layer": (put("model.16.weight", lambda torch: torch.tensor(1.0)), "(classes, features), found ()"),
    "a flat kernel": (put("model.0.weight", lambda torch: torch.ones(32)), "(32, channels, 3, 3), found (32,)"),
    "sparse": (put("model.13.bias", lambda torch: torch.ones(256).to_sparse()), "model.13.bias is nested, sparse"),
    "meta": (put("model.13.bias", lambda torch: torch.empty(256, device="meta")), "expected plain numbers"),
    "complex": (put("model.13.bias", lambda torch: torch.ones(256) * 1j), "expected plain numbers"),
    "another shape": (put("model.13.bias", lambda torch: torch.ones(255)), "must be of shape (256,), found (255,)"),
    "another kernel": (put("model.4.weight", lambda torch: torch.ones(64, 32, 5, 5)), "found (64, 32, 5, 5)"),
    "three channels": (put("model.0.weight", lambda torch: torch.ones(32, 3, 3, 3)), "is a base_cnn of 3 channels"),
    "eight classes": (put("model.16.weight", lambda torch: torch.ones(8, 256)), "for 8 classes; expected 7"),
    "NaN": (put("model.16.bias", lambda torch: torch.full((7,), float("nan"))), "NaN or infinite"),
    "infinite": (put("model.2.running_var", lambda torch: torch.full((32,), float("inf"))), "NaN or infinite"),
    "another network": (lambda torch, state: {"features.0.weight": torch.ones(8, 3, 3, 3)}, "neither a BaseCNN"),
    "a list": (lambda torch, state: [torch.ones(3)], "expected a state_dict"),
    "a tensor": (lambda torch, state: torch.ones(3), "expected a state_dict"),
    "no tensors": (lambda torch, state: {"model.0.weight": 5}, "expected a state_dict"),
    "nothing": (lambda torch, state: {}, "expected a state_dict"),
    "a class": (lambda torch, state: {"model": Evil()}, "wants to run getattr"),
    "a whole network": (lambda torch, state: torch.nn.Linear(2, 2), "wants to run torch.nn.modules.linear.Linear"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_checkpoint_is_one_clear_line(name, torch, good, tmp_path, capfd):
    make, expected = WRONG[name]
    content = make(torch, torch.load(good, weights_only=True))
    torch.save(content, tmp_path / "BaseCNN.pth")
    assert_refused([str(tmp_path / "BaseCNN.pth")], expected, tmp_path, capfd)
    assert not Path("/tmp/fer-tf-was-run").exists()


BYTES = {
    "cut off": (lambda content: content[: len(content) // 2], "damaged or cut off"),
    "empty": (lambda content: b"", "damaged or cut off"),
    "text": (lambda content: b"hello", "damaged or cut off"),
    "damaged in the middle": (lambda content: content[:1000] + bytes(2000) + content[3000:], "a damaged checkpoint"),
    "a bare pickle": (lambda content: pickle.dumps({"model.0.weight": Evil()}), "wants to run pathlib"),
    "an old pickle": (lambda content: pickle.dumps({"model.0.weight": Evil()}, 2), "wants to run getattr"),
    "a sound pickle of a new protocol": (lambda content: pickle.dumps({"model.0.weight": 1}, 4), "save it anew"),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_damaged_file_is_one_clear_line(name, good, tmp_path, capfd):
    make, expected = BYTES[name]
    (tmp_path / "BaseCNN.pth").write_bytes(make(good.read_bytes()))
    assert_refused([str(tmp_path / "BaseCNN.pth")], expected, tmp_path, capfd)
    assert not Path("/tmp/fer-tf-was-run").exists()


def test_another_pickle_protocol_is_told_from_damage(torch, good, tmp_path, capfd):
    path = tmp_path / "BaseCNN.pth"
    torch.save(torch.load(good, weights_only=True), path, pickle_protocol=4)
    assert_refused([str(path)], "save it anew", tmp_path, capfd)
    torch.save({"first": Path, "model": Evil()}, path, pickle_protocol=4)
    assert_refused([str(path)], "wants to run pathlib", tmp_path, capfd)
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    assert_refused([str(path)], "TorchScript", tmp_path, capfd)
    assert not Path("/tmp/fer-tf-was-run").exists()


def test_a_file_that_differs_from_torch_is_not_written(good, tmp_path, monkeypatch, capfd):
    real = from_pth.torch_logits

    def other(state, images):
        return real(state, images) + np.float32(0.01) * np.arange(7, dtype=np.float32)

    monkeypatch.setattr(from_pth, "torch_logits", other)
    assert from_pth.main([str(good), "-o", str(tmp_path / "m.onnx")]) == 2
    assert "differs from PyTorch by" in capfd.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


OPTIONS = {
    "no such file": (["none.pth"], "no such file"),
    "a folder": (["{tmp}", "--dataset", "original"], "a folder; expected a PyTorch checkpoint"),
    "unknown name": (["{tmp}/mine.pth"], "--dataset"),
    "unknown data set": (["{good}", "--dataset", "blurred"], "invalid choice: 'blurred'"),
    "a stack for one channel": (["{good}", "--dataset", "stack_sharpen"], "takes 1 channels"),
    "a stack for one channel, by its name": (
        ["{tmp}/mine.pth", "--dataset", "stack_canny"],
        "expected --dataset original",
    ),
    "canny": (["{good}", "--dataset", "canny"], "not implemented"),
    "another size": (["{good}", "--image-size", "64"], "48 pixels only"),
    "no data for the temperature": (["{good}", "--temperature-data", "none.zip"], "none.zip"),
    "no PublicTest": (["{good}", "--temperature-data", "{tmp}/train-only.csv"], "1 different images of happy"),
    "unknown labels": (["{good}", "--labels", "happy", "sad"], "--labels 'happy sad': expected angry, disgust"),
    "another suffix": (["{good}", "-o", "{tmp}/m.pt"], ".onnx"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_option_is_one_clear_line(name, good, tmp_path, capfd):
    arguments, expected = OPTIONS[name]
    shutil.copy(good, tmp_path / "mine.pth")
    pixels = " ".join("7" * 48 * 48)
    (tmp_path / "train-only.csv").write_text(f"emotion,pixels,Usage\n3,{pixels},Training\n")
    assert_refused([a.format(tmp=tmp_path, good=good) for a in arguments], expected, tmp_path, capfd)


def assert_refused(arguments, expected, folder, capfd):
    before = sorted(folder.iterdir())
    assert from_pth.main(arguments) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: ")
    assert expected in errors[0]
    assert sorted(folder.iterdir()) == before


def test_training_starts_from_a_resnet50_of_other_classes(torch, resnet50_of, tmp_path, monkeypatch, capsys):
    """As who has ImageNet's weights would begin."""
    monkeypatch.setattr("fer_tf.models.resnet50.WIDTH", 8)
    state = dict(resnet50_of(8).state_dict()) | {"fc.weight": torch.zeros(1000, 256), "fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "imagenet.pth")
    model = create_model("resnet50", "stack_sharpen")
    find_start(str(tmp_path / "imagenet.pth")).load_into(model, ())
    assert "its last layer is for 1000 classes and was left out" in capsys.readouterr().out
    kernel = model.get_layer("layer4.2.conv2").kernel.numpy()
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), state["layer4.2.conv2.weight"])


def test_the_faces_of_the_proof_are_many_enough():
    assert len(proof_faces()) >= 64
