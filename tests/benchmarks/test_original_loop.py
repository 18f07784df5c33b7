import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from benchmarks import checkpoints, original_loop  # noqa: E402
from fer_tf.pytorch.checkpoint import read_state_dict  # noqa: E402
from fer_tf.pytorch.forward import torch_logits  # noqa: E402
from fer_tf.realtime.demo import demo_clip  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = [folder / "one.pth", folder / "two.pth"]
    checkpoints.write_checkpoint(paths[0], 0)
    shutil.copy(*paths)
    return paths


def test_the_network_is_the_one_that_is_imported(files):
    """Its forward pass against the one by which imports are proven, which shares no code with it."""
    face = np.random.default_rng(0).integers(0, 256, (224, 224), np.uint8)
    tensor = original_loop.to_tensor(face)
    assert tensor.shape == (1, 3, 224, 224)
    with torch.no_grad():
        found = original_loop.load(files[0])(tensor).numpy()
    expected = torch_logits(read_state_dict(files[0]), tensor.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.std() > 0.1


def test_sharpening_wraps():
    image = np.full((9, 9), 100, np.uint8)
    image[4, 4] = 250
    blurred = cv2.GaussianBlur(image, (3, 3), 1).astype(int)
    np.testing.assert_array_equal(original_loop.sharpen(image), (image + 2 * (image - blurred)) % 256)


def test_it_answers_with_seconds_and_faces(files, tmp_path):
    frames = np.stack(list(itertools.islice(demo_clip()[0], 0, 101, 100)))  # of one face and of two
    np.save(tmp_path / "frames.npy", frames)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.original_loop", str(tmp_path / "frames.npy"), *map(str, files)],
        cwd=ROOT,
        input="1\n3\n",
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["faces"] for answer in answers] == [1, 4]
    assert all(answer["seconds"] > 0 and answer["cpu_seconds"] > 0 for answer in answers)


def test_both_labels_stand_over_the_box(files):
    frame = next(demo_clip()[0])
    before = frame.copy()
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    assert original_loop.analyze(frame, cascade, [original_loop.load(path) for path in files]) == 1
    rows = np.flatnonzero((frame != before).any(axis=(1, 2)))
    top = cascade.detectMultiScale(cv2.cvtColor(before, cv2.COLOR_BGR2GRAY), 1.3, 5)[0][1]
    assert rows.min() < top - 40
